//! A desktop program that keeps its user signed in: sign-in with the system's browser, the session in the keychain, an API
//! call, a second start, sign-out.
//!
//! ```sh
//! cargo run --example sign_in --features test-server                  # at a test server in this process
//! cargo run --example sign_in --features test-server -- ISSUER CLIENT_ID API_URL
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use std::sync::Arc;

use gatepass::{Client, KeychainStorage, MemoryStorage, SecureStorage, SessionState, SignInOptions, SignOut};
use support::{Failure, Place, origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let place = Place::from_arguments(3)?;
    let storage: Arc<dyn SecureStorage> = match place.test_server() {
        None => Arc::new(KeychainStorage::new("com.example.gatepass-sign-in")?),
        // The users of the test server are gone when this program ends, so their sessions need not stay.
        Some(_) => Arc::new(MemoryStorage::default()),
    };

    println!("First start of the program:");
    start(&place, &storage).await?;
    println!("Second start, with what the first one stored:");
    start(&place, &storage).await?;

    let client = client(&place, &storage)?;
    if let Some(session) = client.session().await? {
        let signed_out = session.sign_out(SignOut::Revoke).await?;
        println!(
            "Signed out; revocation at the server: {:?}",
            signed_out.revocation
        );
    }
    assert_eq!(client.state().get(), SessionState::SignedOut);
    client.drain().await;
    Ok(())
}

fn client(place: &Place, storage: &Arc<dyn SecureStorage>) -> Result<Client, Failure> {
    let builder = Client::builder(place.issuer(), place.client_id())
        .redirect("http://127.0.0.1/callback")
        .scopes(["openid", "profile", "offline_access"])
        .api(origin(&place.api_url())?)
        .storage(Arc::clone(storage));
    Ok(place.prepare(builder).build()?)
}

/// What the program does each time it starts.
async fn start(place: &Place, storage: &Arc<dyn SecureStorage>) -> Result<(), Failure> {
    let client = client(place, storage)?;
    let session = match client.session().await? {
        Some(session) => {
            println!("  somebody is signed in already");
            session
        }
        None => client.sign_in(SignInOptions::default()).await?,
    };
    if let Some(claims) = session.claims() {
        let name = claims.get("name").and_then(|name| name.as_str());
        println!("  signed in as {}", name.unwrap_or(claims.subject()));
    }
    let answer = session.http().get(place.api_url()).send().await?;
    println!("  the API says {}: {}", answer.status(), answer.text());
    Ok(())
}
