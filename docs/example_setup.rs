// What the examples of a session begin with: somebody is signed in at the test server, whose API is at `api`.
// In a build without that server they are compiled, and not run.

use gatepass::{Client, Session};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[cfg(all(feature = "test-server", feature = "http", feature = "loopback"))]
fn signed_in(example: impl AsyncFnOnce(Client, Session, &str) -> Outcome) -> Outcome {
    use gatepass::test_server::TestServer;
    use gatepass::{AllowHttpOnLoopback, SignInOptions};

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let server = TestServer::start()?;
        let client = Client::builder(server.issuer(), server.client_id())
            .scopes(["openid", "profile", "offline_access"])
            .api(server.issuer())
            .allow_http_on_loopback(AllowHttpOnLoopback)
            .build()?;
        let pending = client.begin_sign_in(SignInOptions::default()).await?;
        let browser = server.browser();
        let redirect = browser.sign_in(pending.authorization_url(), &server.users()[0]).await?;
        browser.deliver(&redirect).await?;
        example(client, pending.wait().await?, &server.api_url()).await
    })
}

#[cfg(not(all(feature = "test-server", feature = "http", feature = "loopback")))]
fn signed_in(_: impl AsyncFnOnce(Client, Session, &str) -> Outcome) -> Outcome {
    Ok(())
}
