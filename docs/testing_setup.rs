// What every example of docs/testing.md begins with: the two functions its first example shows.

use gatepass::test_server::TestUser;
use gatepass::{AllowHttpOnLoopback, Client, MemoryStorage, Session, SignInOptions};
use std::error::Error;
use std::sync::Arc;

fn client(server: &TestServer) -> gatepass::Result<Client> {
    Client::builder(server.issuer(), server.client_id())
        .scopes(["openid", "profile", "offline_access"])
        .api(server.issuer())
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .storage(Arc::new(MemoryStorage::default()))
        .build()
}

async fn sign_in(server: &TestServer, client: &Client, user: &TestUser) -> Result<Session, Box<dyn Error>> {
    let pending = client.begin_sign_in(SignInOptions::default()).await?;
    let browser = server.browser();
    let redirect = browser.sign_in(pending.authorization_url(), user).await?;
    browser.deliver(&redirect).await?;
    Ok(pending.wait().await?)
}
