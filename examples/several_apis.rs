//! Two APIs that want tokens of their own, under one sign-in (RFC 8707).
//!
//! ```sh
//! cargo run --example several_apis --features test-server             # at a test server in this process
//! cargo run --example several_apis --features test-server -- ISSUER CLIENT_ID CALENDAR_URL CALENDAR_RESOURCE \
//!     ORDERS_URL ORDERS_RESOURCE
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use gatepass::{Client, SignInOptions, SignOut, Target};
use support::{Failure, Place, origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let place = Place::from_arguments(6)?;
    let calendar_url = place.argument(2, |server| server.url_of_api("calendar"));
    let calendar = Target::resource(&place.argument(3, |_| "https://calendar.example.com/".to_owned()))?;
    let orders_url = place.argument(4, |server| server.url_of_api("orders"));
    let orders = Target::resource(&place.argument(5, |_| "https://orders.example.com/".to_owned()))?;

    let builder = Client::builder(place.issuer(), place.client_id())
        .scopes(["openid", "offline_access"])
        .api_with_target(origin(&calendar_url)?, calendar.clone());
    let client = place.prepare(builder).build()?;
    // The grant must be for all of them (RFC 8707 §2.1); tokens for each are had from it later.
    let options = SignInOptions::default()
        .resource("https://calendar.example.com/")
        .resource("https://orders.example.com/");
    let session = client.sign_in(options).await?;

    // An API with an origin of its own: the session attaches the token that belongs there.
    let answer = session.http().get(&calendar_url).send().await?;
    println!("calendar: {} {}", answer.status(), answer.text());

    // Where requests are sent by something else, ask for the token by its target. It is kept and refreshed like any other.
    let token = session.access_token_for(&orders).await?;
    let client_of_yours = reqwest::Client::builder().no_proxy().build()?;
    let answer = client_of_yours
        .get(&orders_url)
        .bearer_auth(token.expose())
        .send()
        .await?;
    println!("orders: {} {}", answer.status(), answer.text().await?);

    assert!(session.peek_for(&calendar).is_some() && session.peek_for(&orders).is_some());
    println!("one refresh token, one access token for each API");
    session.sign_out(SignOut::Revoke).await?;
    client.drain().await;
    Ok(())
}
