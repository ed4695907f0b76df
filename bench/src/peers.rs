//! What the peers need around them to do the same work.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use huskarl::TokenError;
use huskarl::cache::TokenSource;
use huskarl::core::platform::MaybeSendBoxFuture;
use huskarl::grant::core::{RawTokenResponse, TokenResponse};

use crate::fixture;

/// Polls a future that is ready at once, as a cached token is, without the cost of a runtime.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should have been there already"),
    }
}

/// Gives huskarl's cache one token, which stays good for an hour.
pub(crate) struct FixedSource(Arc<TokenResponse>);

impl FixedSource {
    pub(crate) fn new() -> Self {
        let raw: RawTokenResponse = serde_json::from_str(fixture::TOKEN_RESPONSE).expect("the fixture");
        let tokens = raw.into_token_response(None, std::time::SystemTime::now());
        Self(Arc::new(tokens.expect("the fixture")))
    }
}

impl TokenSource for FixedSource {
    fn token(&self) -> MaybeSendBoxFuture<'_, Result<Arc<TokenResponse>, TokenError>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }
}

/// What a browser is sent away with, and what comes back with it: state, nonce and verifier stay with the app.
pub(crate) type OidcDiscovered = openidconnect::core::CoreClient<
    openidconnect::EndpointSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointMaybeSet,
    openidconnect::EndpointMaybeSet,
>;

/// The HTTP client that openidconnect's manual tells one to make.
pub(crate) fn oidc_http() -> openidconnect::reqwest::Client {
    let builder = openidconnect::reqwest::Client::builder();
    let builder = builder.redirect(openidconnect::reqwest::redirect::Policy::none());
    builder.build().expect("an HTTP client")
}

/// Metadata and keys: two requests.
pub(crate) async fn oidc_discover(
    http: &openidconnect::reqwest::Client,
    issuer: &str,
    client_id: &str,
) -> OidcDiscovered {
    let issuer = openidconnect::IssuerUrl::new(issuer.to_owned()).expect("a URL");
    let metadata = openidconnect::core::CoreProviderMetadata::discover_async(issuer, http)
        .await
        .expect("the metadata");
    let id = openidconnect::ClientId::new(client_id.to_owned());
    openidconnect::core::CoreClient::from_provider_metadata(metadata, id, None)
}

pub(crate) async fn huskarl_http() -> huskarl_reqwest::ReqwestClient {
    huskarl_reqwest::ReqwestClient::builder()
        .build()
        .await
        .expect("an HTTP client")
}

/// Metadata and keys: two requests.
pub(crate) async fn huskarl_discover(
    http: &huskarl_reqwest::ReqwestClient,
    issuer: &str,
    client_id: &str,
    redirect: &str,
) -> huskarl::grant::authorization_code::AuthorizationCodeGrant {
    let metadata = huskarl::core::server_metadata::AuthorizationServerMetadata::oidc_fetch()
        .http_client(http)
        .issuer(issuer)
        .call()
        .await
        .expect("the metadata");
    huskarl::grant::authorization_code::AuthorizationCodeGrant::builder_from_metadata(&metadata)
        .expect("the metadata")
        .client_id(client_id)
        .http_client(http.clone())
        .client_auth(huskarl::core::client_auth::NoAuth)
        .redirect_uri(redirect)
        .oidc(true)
        .build()
        .await
        .expect("a grant")
}
