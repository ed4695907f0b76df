//! API calls by an HTTP client of your own, with the session's token: `authorize` before, `reauthorize` after.
//!
//! ```sh
//! cargo run --example with_reqwest --features test-server             # at a test server in this process
//! cargo run --example with_reqwest --features test-server -- ISSUER CLIENT_ID API_URL
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use gatepass::{Authorized, Client, Session, SignInOptions, SignOut};
use support::{Failure, Place, origin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let place = Place::from_arguments(3)?;
    let builder = Client::builder(place.issuer(), place.client_id())
        .scopes(["openid", "profile", "offline_access"])
        .api(origin(&place.api_url())?);
    let client = place.prepare(builder).build()?;
    let session = client.sign_in(SignInOptions::default()).await?;
    // A token must not follow a redirect to another origin (RFC 6750 §5.3), so none is followed.
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = if place.test_server().is_some() {
        http.no_proxy()
    } else {
        http
    };
    let http = http.build()?;

    println!("first call: {}", call(&session, &http, &place.api_url()).await?);
    if let Some(server) = place.test_server() {
        println!("the server takes its access tokens back");
        server.revoke_access_tokens();
    }
    println!("second call: {}", call(&session, &http, &place.api_url()).await?);

    let mut elsewhere = http::Request::get("https://elsewhere.example.com/").body(())?;
    assert_eq!(session.authorize(&mut elsewhere).await?, Authorized::OtherOrigin);
    println!("an origin that is not listed gets no token");
    session.sign_out(SignOut::Revoke).await?;
    client.drain().await;
    Ok(())
}

/// Sends with the token; if the API refuses it, once more with a newer one.
async fn call(session: &Session, http: &reqwest::Client, url: &str) -> Result<http::StatusCode, Failure> {
    let mut request = http::Request::get(url).body(Vec::new())?;
    let _ = session.authorize(&mut request).await?;
    let answer = http.execute(request.clone().try_into()?).await?;
    let answer: http::Response<reqwest::Body> = answer.into();
    if session.reauthorize(&mut request, &answer).await? {
        println!("  the API refused the token; sending again with a newer one");
        return Ok(http.execute(request.try_into()?).await?.status());
    }
    Ok(answer.status())
}
