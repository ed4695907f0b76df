//! How much heap one signed-in client holds while it does nothing.
//!
//! A program of its own, one client each: `heap NAME ISSUER CLIENT_ID`. It writes the URL for the browser to standard
//! output, reads the redirect from standard input, and ends with the bytes that are still allocated.

// A benchmark prints its figures, and stops at the first surprise.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, Write as _};
use std::str::FromStr as _;

use gatepass::{AllowHttpOnLoopback, Client, SignInOptions};
use huskarl::cache::TokenSource as _;
use openidconnect::TokenResponse as _;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const REDIRECT: &str = "com.example.app:/callback";
const SCOPE: [&str; 4] = ["openid", "profile", "email", "offline_access"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, issuer, client_id] = &arguments[..] else {
        panic!("heap NAME ISSUER CLIENT_ID");
    };
    // The runtime is the app's, not the client's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _profiler = dhat::Profiler::builder().testing().build();
    match name.as_str() {
        "http" => idle(&runtime.block_on(http(issuer))),
        "openidconnect" => idle(&runtime.block_on(oidc(issuer, client_id))),
        "huskarl" => idle(&runtime.block_on(huskarl(issuer, client_id))),
        "gatepass" => idle(&runtime.block_on(gatepass(issuer, client_id))),
        other => panic!("{other} is nobody we know"),
    }
}

/// Everything is still there when this is printed.
fn idle<T>(_signed_in: &T) {
    println!("{}", dhat::HeapStats::get().curr_bytes);
}

/// Shows the URL to whoever started this, who has the browser.
fn browse(url: &str) -> String {
    println!("{url}");
    std::io::stdout().flush().expect("standard output");
    let mut redirect = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut redirect)
        .expect("a redirect");
    redirect.trim().to_owned()
}

/// What every client has besides: an HTTP client with one connection in its pool.
async fn http(issuer: &str) -> reqwest::Client {
    let http = reqwest::Client::new();
    let url = format!("{issuer}/.well-known/openid-configuration");
    let answer = http.get(url).send().await.expect("an answer");
    answer.bytes().await.expect("the body");
    http
}

async fn gatepass(issuer: &str, client_id: &str) -> impl Sized {
    let client = Client::builder(issuer, client_id)
        .redirect(REDIRECT)
        .scopes(SCOPE)
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .build()
        .expect("a client");
    let pending = client
        .begin_sign_in(SignInOptions::default())
        .await
        .expect("a sign-in");
    let redirect = browse(pending.authorization_url());
    drop(pending);
    let session = client.resume_sign_in(&redirect).await.expect("a session");
    client.drain().await;
    (client, session)
}

async fn oidc(issuer: &str, client_id: &str) -> impl Sized {
    let http = openidconnect::reqwest::Client::builder()
        .redirect(openidconnect::reqwest::redirect::Policy::none())
        .build()
        .expect("an HTTP client");
    let issuer = openidconnect::IssuerUrl::new(issuer.to_owned()).expect("a URL");
    let metadata = openidconnect::core::CoreProviderMetadata::discover_async(issuer, &http).await;
    let client = openidconnect::core::CoreClient::from_provider_metadata(
        metadata.expect("the metadata"),
        openidconnect::ClientId::new(client_id.to_owned()),
        None,
    )
    .set_redirect_uri(openidconnect::RedirectUrl::new(REDIRECT.to_owned()).expect("a URL"));
    let (challenge, verifier) = openidconnect::PkceCodeChallenge::new_random_sha256();
    let (url, _state, nonce) = client
        .authorize_url(
            openidconnect::core::CoreAuthenticationFlow::AuthorizationCode,
            openidconnect::CsrfToken::new_random,
            openidconnect::Nonce::new_random,
        )
        .add_scopes(
            SCOPE
                .into_iter()
                .skip(1)
                .map(|scope| openidconnect::Scope::new(scope.to_owned())),
        )
        .add_extra_param("prompt", "consent")
        .set_pkce_challenge(challenge)
        .url();
    let redirect = browse(url.as_str());
    let redirect = openidconnect::url::Url::parse(&redirect).expect("a redirect");
    let code = redirect
        .query_pairs()
        .find(|(name, _)| name == "code")
        .expect("a code")
        .1;
    let tokens = client
        .exchange_code(openidconnect::AuthorizationCode::new(code.into_owned()))
        .expect("a token endpoint")
        .set_pkce_verifier(verifier)
        .request_async(&http)
        .await
        .expect("tokens");
    let verifier = client.id_token_verifier().set_allowed_algs([
        openidconnect::core::CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        openidconnect::core::CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    ]);
    let claims = tokens.id_token().expect("an ID token").claims(&verifier, &nonce);
    let claims = claims.expect("a good ID token").clone();
    drop(verifier);
    (http, client, tokens, claims)
}

async fn huskarl(issuer: &str, client_id: &str) -> impl Sized {
    let http = huskarl_reqwest::ReqwestClient::builder()
        .build()
        .await
        .expect("an HTTP client");
    let metadata = huskarl::core::server_metadata::AuthorizationServerMetadata::oidc_fetch()
        .http_client(&http)
        .issuer(issuer)
        .call()
        .await
        .expect("the metadata");
    let grant = huskarl::grant::authorization_code::AuthorizationCodeGrant::builder_from_metadata(&metadata)
        .expect("the metadata")
        .client_id(client_id)
        .http_client(http)
        .client_auth(huskarl::core::client_auth::NoAuth)
        .redirect_uri(REDIRECT)
        .oidc(true)
        .build()
        .await
        .expect("a grant");
    drop(metadata);
    let scope = SCOPE.map(str::to_owned).to_vec();
    let started = grant
        .start(huskarl::grant::authorization_code::StartInput::scope(scope))
        .await
        .expect("a URL");
    let redirect = browse(&format!("{}&prompt=consent", started.authorization_url));
    let input = huskarl::grant::authorization_code::CompleteInput::from_str(&redirect).expect("a callback");
    let complete = grant
        .complete(&started.pending_state, input)
        .await
        .expect("tokens");
    let source = huskarl::cache::GrantTokenSource::builder()
        .grant(grant)
        .grant_parameters(huskarl::cache::NoSource)
        .refresh_store(huskarl::cache::InMemoryRefreshTokenStore::default())
        .build();
    source.prime(complete.token_response).await.expect("the tokens");
    let cache = huskarl::cache::InMemoryTokenCache::builder()
        .source(source)
        .build();
    cache.token().await.expect("a token");
    (cache, complete.id_token)
}
