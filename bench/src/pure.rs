//! The functions without I/O: authorization URL, callback, token response, ID token.

use std::str::FromStr as _;

use gatepass::internals::{self, Door};
use gatepass::test_server::TestServer;
use gatepass::{AllowHttpOnLoopback, Client, Secret, SignInOptions};
use http::{HeaderMap, HeaderValue, header};
use huskarl::core::crypto::verifier::{JwsVerifier, JwsVerifierPlatform, MultiKeyVerifier};
use huskarl::core::http::{HttpClient, HttpResponse, Idempotency};
use huskarl::core::jwk::PublicJwks;
use huskarl::core::platform::MaybeSendBoxFuture;
use huskarl::core::server_metadata::AuthorizationServerMetadata;
use huskarl::grant::authorization_code::{AuthorizationCodeGrant, CompleteInput, PendingState, StartInput};
use huskarl::grant::core::RawTokenResponse;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::runtime::Runtime;

use crate::contest::{Contender, run};
use crate::fixture::{self, CLIENT_ID, ISSUER, NONCE, NOW, REDIRECT, SCOPE, STATE, VERIFIER};
use crate::verdict::Verdicts;

/// Our own functions over the fixture.
pub(crate) fn door() -> Door {
    Door::new(ISSUER, fixture::METADATA.as_bytes(), CLIENT_ID, REDIRECT, &SCOPE).expect("the fixture")
}

/// The headers of a token response.
pub(crate) fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// A transport that never gets anywhere: what is measured with it sends nothing.
#[derive(Debug)]
struct NoNetwork;

impl HttpClient for NoNetwork {
    fn execute(
        &self,
        _: http::Request<bytes::Bytes>,
        _: Idempotency,
    ) -> MaybeSendBoxFuture<'_, Result<HttpResponse, huskarl::core::Error>> {
        Box::pin(async {
            let why = std::io::Error::other("nothing is to be sent here");
            Err(huskarl::core::Error::new(huskarl::core::RetryAdvice::No, why))
        })
    }
}

async fn huskarl_verifier() -> Arc<dyn JwsVerifier> {
    let set: serde_json::Value = serde_json::from_str(fixture::JWKS).expect("the fixture");
    let keys = serde_json::from_value(set["keys"].clone()).expect("the fixture");
    let keys = PublicJwks::new(keys);
    let platform: Arc<dyn JwsVerifierPlatform> = huskarl::DefaultJwsVerifierPlatform::default().into();
    Arc::new(
        MultiKeyVerifier::from_jwks(&keys, &*platform)
            .await
            .expect("the keys"),
    )
}

async fn huskarl_grant() -> AuthorizationCodeGrant {
    let metadata: AuthorizationServerMetadata = serde_json::from_str(fixture::METADATA).expect("the fixture");
    AuthorizationCodeGrant::builder_from_metadata(&metadata)
        .expect("the metadata")
        .client_id(CLIENT_ID)
        .http_client(NoNetwork)
        .client_auth(huskarl::core::client_auth::NoAuth)
        .redirect_uri(REDIRECT)
        .build()
        .await
        .expect("a grant")
}

/// Everything of the fixture, as `discover` would have fetched it.
type OidcClient = openidconnect::core::CoreClient<
    openidconnect::EndpointSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointMaybeSet,
    openidconnect::EndpointMaybeSet,
>;

fn oidc_client() -> OidcClient {
    let metadata: openidconnect::core::CoreProviderMetadata =
        serde_json::from_str(fixture::METADATA).expect("the fixture");
    let keys = serde_json::from_str(fixture::JWKS).expect("the fixture");
    let id = openidconnect::ClientId::new(CLIENT_ID.to_owned());
    openidconnect::core::CoreClient::from_provider_metadata(metadata.set_jwks(keys), id, None)
}

/// RFC 6749 §4.1.1 with PKCE, state and nonce; randomness from the operating system where a contender has the choice.
pub(crate) fn authorization_url(runtime: &Runtime, verdicts: &mut Verdicts) {
    let door = door();
    let oauth2 = oauth2::basic::BasicClient::new(oauth2::ClientId::new(CLIENT_ID.to_owned()))
        .set_auth_uri(oauth2::AuthUrl::new(format!("{ISSUER}/authorize")).expect("a URL"))
        .set_redirect_uri(oauth2::RedirectUrl::new(REDIRECT.to_owned()).expect("a URL"));
    let oidc = oidc_client();
    let oidc = oidc.set_redirect_uri(openidconnect::RedirectUrl::new(REDIRECT.to_owned()).expect("a URL"));
    let grant = runtime.block_on(huskarl_grant());
    let server = TestServer::start().expect("the test server");
    let client = Client::builder(server.issuer(), server.client_id())
        .redirect(REDIRECT)
        .scopes(SCOPE)
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .build()
        .expect("a client");
    let row = run(
        "authorization URL with PKCE",
        2_000,
        vec![
            Contender::new("oauth2 5 (no nonce)", || {
                let (challenge, verifier) = oauth2::PkceCodeChallenge::new_random_sha256();
                let request = oauth2
                    .authorize_url(oauth2::CsrfToken::new_random)
                    .add_scopes(SCOPE.map(|scope| oauth2::Scope::new(scope.to_owned())))
                    .set_pkce_challenge(challenge);
                (request.url(), verifier)
            }),
            Contender::new("openidconnect 4", || {
                let (challenge, verifier) = openidconnect::PkceCodeChallenge::new_random_sha256();
                let request = oidc
                    .authorize_url(
                        openidconnect::core::CoreAuthenticationFlow::AuthorizationCode,
                        openidconnect::CsrfToken::new_random,
                        openidconnect::Nonce::new_random,
                    )
                    // It puts `openid` there by itself.
                    .add_scopes(
                        SCOPE
                            .into_iter()
                            .skip(1)
                            .map(|scope| openidconnect::Scope::new(scope.to_owned())),
                    )
                    .set_pkce_challenge(challenge);
                (request.url(), verifier)
            }),
            Contender::awaited("huskarl 0.11", runtime, || async {
                let scope = SCOPE.map(str::to_owned).to_vec();
                grant.start(StartInput::scope(scope)).await.expect("a URL")
            }),
            Contender::new("gatepass", || door.authorization_url().expect("a URL")),
            Contender::new("- of that all but the system call: octets given", || {
                door.authorization_url_from(&[[7; 32], [8; 32], [9; 32]])
                    .expect("a URL")
            }),
        ],
    );
    verdicts.ratio(
        "authorization URL, of oauth2's time",
        0.5,
        row.ratio("gatepass", "oauth2"),
    );
    run(
        "the same with all that a sign-in does besides",
        100,
        vec![
            Contender::new("gatepass, URL alone", || door.authorization_url().expect("a URL")),
            Contender::awaited(
                "gatepass, whole begin_sign_in (stored in memory, own thread)",
                runtime,
                || async {
                    let begun = client.begin_sign_in(SignInOptions::default()).await;
                    begun.expect("a sign-in")
                },
            ),
        ],
    );
}

/// RFC 6749 §4.1.2, RFC 9207: from the URL to a code that may be exchanged.
pub(crate) fn callback(runtime: &Runtime, verdicts: &mut Verdicts) {
    let door = door();
    let url = fixture::callback();
    let state = Secret::new(STATE.to_owned());
    let grant = runtime.block_on(huskarl_grant());
    let pending: PendingState = serde_json::from_value(serde_json::json!({
        "redirect_uri": REDIRECT, "pkce_verifier": VERIFIER, "state": STATE, "nonce": NONCE,
        "openid_requested": true,
    }))
    .expect("a pending state");
    let other_issuer = url.replace("login.example.com", "other.example.com");
    let row = run(
        "callback, parsed and checked (oauth2, openidconnect: left to the app)",
        5_000,
        vec![
            Contender::new("huskarl 0.11, parsed only: no state, no issuer", || {
                CompleteInput::from_str(&url).expect("a callback")
            }),
            Contender::awaited(
                "huskarl 0.11, parsed and checked, refused by its last check",
                runtime,
                || async {
                    let input = CompleteInput::from_str(&other_issuer).expect("a callback");
                    grant.complete(&pending, input).await.expect_err("another issuer")
                },
            ),
            Contender::new("gatepass, parsed, checked, accepted", || {
                door.check_callback(&url, &state).expect("a callback")
            }),
        ],
    );
    verdicts.ratio(
        "callback, of huskarl's time for parsing alone",
        1.0,
        row.ratio("gatepass", "huskarl 0.11, parsed only"),
    );
}

/// The floor: what serde_json takes to fill a struct, with no check at all.
#[derive(Deserialize)]
#[allow(dead_code, reason = "filled, not read")]
struct Bare {
    access_token: String,
    token_type: String,
    expires_in: u64,
    refresh_token: Option<String>,
    scope: Option<String>,
    id_token: Option<String>,
}

/// RFC 6749 §5.1, 1.2 kB.
pub(crate) fn token_response(verdicts: &mut Verdicts) {
    let body = fixture::TOKEN_RESPONSE.as_bytes();
    let headers = json_headers();
    let sent = [fixture::CODE, VERIFIER];
    let row = run(
        "token response, 1.2 kB",
        5_000,
        vec![
            Contender::new("bare serde_json into an owned struct: no check", || {
                serde_json::from_slice::<Bare>(body).expect("the fixture")
            }),
            Contender::new("oauth2 5 (drops the ID token)", || {
                serde_json::from_slice::<oauth2::basic::BasicTokenResponse>(body).expect("the fixture")
            }),
            Contender::new("openidconnect 4", || {
                let response: openidconnect::core::CoreTokenResponse =
                    serde_json::from_slice(body).expect("the fixture");
                response
            }),
            Contender::new("huskarl 0.11", || {
                let raw: RawTokenResponse = serde_json::from_slice(body).expect("the fixture");
                raw.into_token_response(None, std::time::SystemTime::now())
                    .expect("tokens")
            }),
            Contender::new("gatepass (status, type, duplicates, sizes, grammar)", || {
                internals::read_tokens(&headers, body, &sent).expect("tokens")
            }),
        ],
    );
    verdicts.ratio(
        "token response, of bare serde_json's time",
        1.2,
        row.ratio("gatepass", "bare"),
    );
}

/// OpenID Connect Core §3.1.3.7.
pub(crate) fn id_token(runtime: &Runtime, verdicts: &mut Verdicts) {
    let door = door();
    let oidc = oidc_client();
    let now = UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
    let oidc_verifier = oidc
        .id_token_verifier()
        .set_allowed_algs([
            openidconnect::core::CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            openidconnect::core::CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        ])
        .set_time_fn(move || now.into());
    let nonce = openidconnect::Nonce::new(NONCE.to_owned());
    let validator = huskarl::token::id_token::IdTokenValidator::builder()
        .verifier(runtime.block_on(huskarl_verifier()))
        .issuer(ISSUER)
        .audience(CLIENT_ID)
        .build();
    let at = jiff::Timestamp::from_second(NOW).expect("a time");
    for (name, token, at_most) in [("RS256", fixture::RS256, 0.5), ("ES256", fixture::ES256, 0.35)] {
        let own = door
            .id_token(
                token,
                fixture::JWKS.as_bytes(),
                NONCE,
                fixture::CODE,
                fixture::ACCESS_TOKEN,
                NOW,
            )
            .expect("the keys");
        let huskarl_token = huskarl::token::IdToken::from(token);
        let row = run(
            &format!("ID token {name} (oauth2: verifies none)"),
            200,
            vec![
                Contender::awaited("huskarl 0.11 (no at_hash)", runtime, || async {
                    let valid = validator.validate_at(&huskarl_token, Some(NONCE), at).await;
                    valid.expect("a good token")
                }),
                Contender::new("openidconnect 4 (no at_hash)", || {
                    let token = openidconnect::core::CoreIdToken::from_str(token).expect("a token");
                    let claims = token.into_claims(&oidc_verifier, &nonce);
                    claims.expect("a good token")
                }),
                Contender::new("gatepass", || own.verify().expect("a good token")),
            ],
        );
        verdicts.ratio(
            &format!("ID token {name}, of huskarl's time"),
            at_most,
            row.ratio("gatepass", "huskarl"),
        );
    }
}
