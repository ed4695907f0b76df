//! From the redirect to the session, in the process that opened the browser and in a new one, at a server where
//! every request takes 50 ms longer. Beside it the least that anybody can do: one POST on a fresh connection.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatepass::test_server::TestServer;
use gatepass::{Client, EncryptedFileStorage, FileKey, MemoryStorage, SecureStorage, SignInOptions};
use huskarl::grant::authorization_code::{CompleteInput, StartInput};
use openidconnect::TokenResponse as _;
use tokio::runtime::Runtime;
use url::Url;

use crate::bed::{self, REDIRECT, browse, requests_of_the_app};
use crate::contest::{Contender, run};
use crate::peers;
use crate::verdict::Verdicts;

const OIDC_SCOPE: [&str; 3] = ["profile", "email", "offline_access"];

/// The most requests that a contender sent from the redirect on, in any round.
#[derive(Default)]
struct Requests(Mutex<BTreeMap<&'static str, usize>>);

impl Requests {
    fn note(&self, name: &'static str, count: usize) {
        let mut most = self.0.lock().expect("the lock");
        let most = most.entry(name).or_default();
        *most = (*most).max(count);
    }

    fn of(&self, name: &str) -> usize {
        self.0
            .lock()
            .expect("the lock")
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    fn print(&self) {
        let requests = self.0.lock().expect("the lock");
        let shown: Vec<_> = requests
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("  requests from the redirect on: {}", shown.join(", "));
    }
}

/// An authorization URL of one's own, and what its code is redeemed with.
fn by_hand(server: &TestServer) -> (String, String) {
    let (challenge, verifier) = oauth2::PkceCodeChallenge::new_random_sha256();
    let url = Url::parse_with_params(
        &format!("{}/authorize", server.issuer()),
        [
            ("response_type", "code"),
            ("client_id", server.client_id()),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile email offline_access"),
            ("state", "af0ifjsldkj"),
            ("nonce", "n-0S6_WzA2Mj"),
            ("prompt", "consent"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ],
    );
    (url.expect("a URL").into(), verifier.secret().clone())
}

fn parameter(redirect: &str, name: &str) -> String {
    let url = Url::parse(redirect).expect("a redirect");
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.expect("the parameter").1.into_owned()
}

/// One POST of a code; what comes back is read and not looked at.
async fn bare_post(http: &reqwest::Client, issuer: &str, client_id: &str, code: &str, verifier: &str) {
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("client_id", client_id),
        ("code_verifier", verifier),
    ]);
    let request = http
        .post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.bytes().await.expect("the body");
}

fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://localhost/").expect("a URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// What stands between the redirect and the session is timed, and its requests counted.
async fn timed(
    server: &TestServer,
    requests: &Requests,
    name: &'static str,
    work: impl Future<Output = ()>,
) -> Duration {
    let before = requests_of_the_app(server);
    let start = Instant::now();
    work.await;
    let took = start.elapsed();
    requests.note(name, requests_of_the_app(server) - before);
    took
}

/// One sign-in with openidconnect; with `found`, in the process that opened the browser.
async fn oidc(server: &TestServer, requests: &Requests, found: Option<&peers::OidcDiscovered>) -> Duration {
    let redirect_url = openidconnect::RedirectUrl::new(REDIRECT.to_owned()).expect("a URL");
    let discovered = match found {
        Some(found) => found.clone(),
        None => peers::oidc_discover(&peers::oidc_http(), server.issuer(), server.client_id()).await,
    };
    let client = discovered.set_redirect_uri(redirect_url.clone());
    let (challenge, verifier) = openidconnect::PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(
            openidconnect::core::CoreAuthenticationFlow::AuthorizationCode,
            openidconnect::CsrfToken::new_random,
            openidconnect::Nonce::new_random,
        )
        .add_scopes(OIDC_SCOPE.map(|scope| openidconnect::Scope::new(scope.to_owned())))
        .add_extra_param("prompt", "consent")
        .set_pkce_challenge(challenge)
        .url();
    let redirect = browse(server, url.as_str()).await;
    let known_http = found.map(|_| peers::oidc_http());
    timed(server, requests, "openidconnect", async {
        let (http, client) = match known_http {
            Some(http) => (http, client),
            None => {
                let http = peers::oidc_http();
                let found = peers::oidc_discover(&http, server.issuer(), server.client_id()).await;
                (http, found.set_redirect_uri(redirect_url))
            }
        };
        // Its user's part.
        assert_eq!(parameter(&redirect, "state"), *state.secret());
        let code = openidconnect::AuthorizationCode::new(parameter(&redirect, "code"));
        let tokens = client
            .exchange_code(code)
            .expect("a token endpoint")
            .set_pkce_verifier(verifier)
            .request_async(&http)
            .await
            .expect("tokens");
        let id_token = tokens.id_token().expect("an ID token");
        let verifier = client.id_token_verifier().set_allowed_algs([
            openidconnect::core::CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            openidconnect::core::CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        ]);
        id_token.claims(&verifier, &nonce).expect("a good ID token");
    })
    .await
}

async fn huskarl(server: &TestServer, requests: &Requests, new_process: bool) -> Duration {
    let http = peers::huskarl_http().await;
    let grant = peers::huskarl_discover(&http, server.issuer(), server.client_id(), REDIRECT).await;
    let scope = bed_scope();
    let started = grant.start(StartInput::scope(scope)).await.expect("a URL");
    let url = format!("{}&prompt=consent", started.authorization_url);
    let redirect = browse(server, &url).await;
    timed(server, requests, "huskarl", async {
        let grant = match new_process {
            true => {
                let http = peers::huskarl_http().await;
                peers::huskarl_discover(&http, server.issuer(), server.client_id(), REDIRECT).await
            }
            false => grant,
        };
        let input = CompleteInput::from_str(&redirect).expect("a callback");
        let complete = grant.complete(&started.pending_state, input).await;
        assert!(complete.expect("tokens").id_token.is_some());
    })
    .await
}

fn bed_scope() -> Vec<String> {
    ["openid", "profile", "email", "offline_access"]
        .map(str::to_owned)
        .to_vec()
}

async fn bare(server: &TestServer, requests: &Requests, new_process: bool) -> Duration {
    let (url, verifier) = by_hand(server);
    let redirect = browse(server, &url).await;
    let code = parameter(&redirect, "code");
    let known = (!new_process).then(reqwest::Client::new);
    timed(server, requests, "bare POST", async {
        let http = known.unwrap_or_default();
        bare_post(&http, server.issuer(), server.client_id(), &code, &verifier).await;
    })
    .await
}

async fn gatepass(
    server: &TestServer,
    requests: &Requests,
    name: &'static str,
    client: &Client,
    storage: Option<&Arc<dyn SecureStorage>>,
) -> Duration {
    let pending = client.begin_sign_in(SignInOptions::default()).await;
    let pending = pending.expect("a sign-in");
    let redirect = browse(server, pending.authorization_url()).await;
    timed(server, requests, name, async {
        let session = match storage {
            Some(storage) => {
                let builder = bed::builder(server).storage(Arc::clone(storage));
                let client = builder.build().expect("a client");
                client.resume_sign_in(&redirect).await
            }
            None => client.resume_sign_in(&redirect).await,
        };
        assert!(session.expect("a session").peek().is_some());
    })
    .await
}

pub(crate) fn run_all(runtime: &Runtime, verdicts: &mut Verdicts) {
    let server = bed::server(true);
    let memory: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
    let temporary = tempfile::tempdir().expect("a folder");
    // Made by the storage itself, for this user alone.
    let folder = temporary.path().join("sessions");
    let files: Arc<dyn SecureStorage> = Arc::new(open_files(&folder));
    let on_memory = bed::builder(&server)
        .storage(Arc::clone(&memory))
        .build()
        .expect("a client");
    let on_files = bed::builder(&server)
        .storage(Arc::clone(&files))
        .build()
        .expect("a client");
    // The first sign-in finds metadata and keys, which are stored; later ones are like every day.
    runtime.block_on(async {
        bed::signed_in(&on_memory, &server).await;
        bed::signed_in(&on_files, &server).await;
    });
    let discovered = runtime.block_on(async {
        peers::oidc_discover(&peers::oidc_http(), server.issuer(), server.client_id()).await
    });

    let requests = Requests::default();
    let (server, requests) = (&server, &requests);
    let row = run(
        "redirect to session, same process, 50 ms more per request",
        1,
        vec![
            Contender::timed("bare POST on a fresh connection", |_| {
                runtime.block_on(bare(server, requests, false))
            }),
            Contender::timed("openidconnect 4 (stores nothing)", |_| {
                runtime.block_on(oidc(server, requests, Some(&discovered)))
            }),
            Contender::timed("huskarl 0.11 (stores nothing)", |_| {
                runtime.block_on(huskarl(server, requests, false))
            }),
            Contender::timed("gatepass, stored in memory", |_| {
                runtime.block_on(gatepass(server, requests, "gatepass", &on_memory, None))
            }),
            Contender::timed("gatepass, stored in sealed files, every write durable", |_| {
                runtime.block_on(gatepass(server, requests, "gatepass (files)", &on_files, None))
            }),
        ],
    );
    requests.print();
    verdicts.exactly(
        "requests from the redirect to the session",
        1,
        requests.of("gatepass"),
    );
    verdicts.ratio(
        "redirect to session, of one bare POST",
        1.1,
        row.ratio("gatepass, stored in memory", "bare POST"),
    );

    let requests = Requests::default();
    let row = run(
        "redirect to session, app killed meanwhile: everything made anew, the HTTP client too",
        1,
        vec![
            Contender::timed("bare POST on a fresh connection", |_| {
                runtime.block_on(bare(server, &requests, true))
            }),
            Contender::timed("openidconnect 4 (its user keeps state, nonce, verifier)", |_| {
                runtime.block_on(oidc(server, &requests, None))
            }),
            Contender::timed("huskarl 0.11 (its user keeps the pending state)", |_| {
                runtime.block_on(huskarl(server, &requests, true))
            }),
            Contender::timed("gatepass, stored in memory", |_| {
                runtime.block_on(gatepass(server, &requests, "gatepass", &on_memory, Some(&memory)))
            }),
        ],
    );
    requests.print();
    verdicts.exactly(
        "requests from the redirect to the session, app killed meanwhile",
        1,
        requests.of("gatepass"),
    );
    verdicts.ratio(
        "redirect to session, app killed meanwhile, of one bare POST",
        1.1,
        row.ratio("gatepass, stored in memory", "bare POST"),
    );

    let requests = Requests::default();
    let (requests, path) = (&requests, &folder);
    let bare_child = |_| {
        let (url, verifier) = by_hand(server);
        let redirect = runtime.block_on(browse(server, &url));
        let code = parameter(&redirect, "code");
        let before = requests_of_the_app(server);
        let took = child(&["bare", server.issuer(), server.client_id(), &code, &verifier]);
        requests.note("bare POST", requests_of_the_app(server) - before);
        took
    };
    let own_child = |_| {
        let redirect = runtime.block_on(async {
            let pending = on_files.begin_sign_in(SignInOptions::default()).await;
            browse(server, pending.expect("a sign-in").authorization_url()).await
        });
        let before = requests_of_the_app(server);
        let path = path.to_str().expect("a path");
        let took = child(&["resume", server.issuer(), server.client_id(), path, &redirect]);
        requests.note("gatepass", requests_of_the_app(server) - before);
        took
    };
    let row = run(
        "the same in a real new process, from its first line on, over sealed files",
        1,
        vec![
            Contender::timed("bare POST on a fresh connection", bare_child),
            Contender::timed("gatepass, stored in sealed files, every write durable", own_child),
        ],
    );
    requests.print();
    println!(
        "  of that, beyond the bare POST: {}",
        crate::contest::shown(row.median("gatepass") - row.median("bare POST"))
    );
    verdicts.exactly(
        "requests from the redirect to the session, in a real new process",
        1,
        requests.of("gatepass"),
    );
}

fn open_files(folder: &Path) -> EncryptedFileStorage {
    EncryptedFileStorage::open(folder, FileKey::Bytes([7; 32])).expect("the files")
}

/// Runs this program anew for one job; it says itself how long that took.
fn child(arguments: &[&str]) -> Duration {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own)
        .arg("--child")
        .args(arguments)
        .output()
        .expect("a child");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let nanos = String::from_utf8_lossy(&output.stdout);
    Duration::from_nanos(nanos.trim().parse().expect("nanoseconds"))
}

/// The job of a child.
pub(crate) fn run_child(arguments: &[String]) {
    let start = Instant::now();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments[..] {
        ["bare", issuer, client_id, code, verifier] => {
            let http = reqwest::Client::new();
            runtime.block_on(bare_post(&http, issuer, client_id, code, verifier));
        }
        ["resume", issuer, client_id, folder, redirect] => {
            let client = Client::builder(issuer, client_id)
                .redirect(REDIRECT)
                .scopes(bed_scope())
                .allow_http_on_loopback(gatepass::AllowHttpOnLoopback)
                .storage(Arc::new(open_files(Path::new(folder))))
                .build()
                .expect("a client");
            let session = runtime.block_on(client.resume_sign_in(redirect));
            assert!(session.expect("a session").peek().is_some());
        }
        _ => unreachable!("children are started by this program alone"),
    }
    println!("{}", start.elapsed().as_nanos());
}
