//! A program on a machine without desktop and keychain: sessions in encrypted files, and the browser somewhere else.
//!
//! ```sh
//! cargo run --example headless_linux --features test-server,encrypted-file       # at a test server in this process
//! SESSIONS_PASSPHRASE=… cargo run --example headless_linux --features test-server,encrypted-file -- \
//!     ISSUER CLIENT_ID API_URL DIRECTORY
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use gatepass::{Client, EncryptedFileStorage, FileKey, PendingSignIn, Secret, Session, SignInOptions};
use support::{Failure, Place, origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let place = Place::from_arguments(4)?;
    let temporary = tempfile::tempdir()?;
    let directory = place.argument(3, |_| temporary.path().join("sessions").display().to_string());
    let passphrase = match place.test_server() {
        Some(_) => "correct horse battery staple".to_owned(),
        None => std::env::var("SESSIONS_PASSPHRASE")?,
    };

    for start in ["first", "second"] {
        println!("The {start} start:");
        // Reads the disk and computes a key from the passphrase: some 100 ms on a thread that may block.
        let (directory, key) = (
            PathBuf::from(&directory),
            FileKey::Passphrase(Secret::new(passphrase.clone())),
        );
        let storage =
            tokio::task::spawn_blocking(move || EncryptedFileStorage::open(directory, key)).await??;
        let builder = Client::builder(place.issuer(), place.client_id())
            .scopes(["openid", "profile", "offline_access"])
            .api(origin(&place.api_url())?)
            .storage(Arc::new(storage));
        let client = place.prepare(builder).build()?;
        let session = match client.session().await? {
            Some(session) => session,
            None => sign_in(&client, &place).await?,
        };
        let answer = session.http().get(place.api_url()).send().await?;
        println!("  the API says {}: {}", answer.status(), answer.text());
        client.drain().await;
    }

    let wrong = FileKey::Passphrase(Secret::new("not the passphrase".to_owned()));
    let refused = tokio::task::spawn_blocking(move || EncryptedFileStorage::open(directory, wrong)).await?;
    if let Err(error) = refused {
        println!("With another passphrase: {} ({error})", error.code());
    }
    Ok(())
}

/// Shows the URL, and takes the redirect back by hand: the browser is on another machine, whose 127.0.0.1 is not ours. Its
/// page will not load; what counts is the URL in its address bar.
async fn sign_in(client: &Client, place: &Place) -> Result<Session, Failure> {
    let pending = client.begin_sign_in(SignInOptions::default()).await?;
    let redirect = match place.test_server() {
        Some(server) => {
            let user = server.users().first().ok_or("nobody is there")?;
            server
                .browser()
                .sign_in(pending.authorization_url(), user)
                .await?
        }
        None => ask(&pending).await?,
    };
    Ok(client.resume_sign_in(redirect.trim()).await?)
}

async fn ask(pending: &PendingSignIn) -> Result<String, Failure> {
    println!("Sign in at:\n\n  {}\n", pending.authorization_url());
    println!(
        "Then paste here the address that the browser ended at ({}?…):",
        pending.redirect_uri()
    );
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    Ok(line.await??)
}
