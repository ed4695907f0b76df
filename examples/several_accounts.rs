//! Two users signed in side by side, told apart by their sessions.
//!
//! ```sh
//! cargo run --example several_accounts --features test-server         # at a test server in this process
//! cargo run --example several_accounts --features test-server -- ISSUER CLIENT_ID API_URL
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use std::sync::Arc;

use gatepass::{Client, MemoryStorage, Prompt, SignInOptions, SignOut, StoredSession};
use support::{Diary, Failure, Place, origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let place = Place::from_arguments(3)?;
    let storage = Arc::new(MemoryStorage::default());
    let diary = Arc::new(Diary::default());
    let builder = Client::builder(place.issuer(), place.client_id())
        .scopes(["openid", "profile", "email", "offline_access"])
        .api(origin(&place.api_url())?)
        .storage(storage.clone())
        .event_sink(diary.clone())
        .several_accounts();
    let client = place.prepare(builder).build()?;

    client.sign_in(SignInOptions::default()).await?;
    // A browser that knows a user would sign the same one in again: ask which.
    let second = SignInOptions::default().prompt([Prompt::SelectAccount]);
    client.sign_in(second).await?;

    for session in client.sessions().await? {
        let me = session.http().get(place.api_url()).send().await?;
        println!("{}: {}", session.id(), me.text());
    }

    // A list of accounts for a screen, whichever client they belong to. It blocks, so not on this thread.
    let accounts = tokio::task::spawn_blocking(move || StoredSession::all(&*storage)).await??;
    for account in &accounts {
        println!("{}: {:?} at {}", account.id, account.display_name, account.issuer);
    }

    if let Some(latest) = client.session().await? {
        println!("signing {} out; the other stays", latest.id());
        latest.sign_out(SignOut::Revoke).await?;
    }
    println!("{} signed in", client.sessions().await?.len());
    client.drain().await;
    println!("what happened: {:#?}", diary.read());
    Ok(())
}
