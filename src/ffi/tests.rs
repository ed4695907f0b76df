//! The surface as a whole, its foreign traits implemented in Rust, against the test server.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::choices::{FfiHttp, FfiStorage};
use super::client::FfiClient;
use super::config::{
    FfiApi, FfiConfig, FfiExtraParameter, FfiOnUnknownOutcome, FfiPrompt, FfiSignInOptions, FfiTarget,
    FfiTransportPolicy,
};
use super::error::FfiError;
use super::http::{FfiHeader, FfiHttpFailure, FfiHttpRequest, FfiHttpResponse, FfiHttpTransport};
use super::listener::{FfiListener, FfiListenerFailure, FfiPublication, FfiSessionEvent};
use super::session::{FfiBrowserSession, FfiRevocation, FfiSession, FfiSessionState, FfiSignOut};
use super::storage::{FfiCommitOutcome, FfiSecureStorage, FfiStorageFailure, FfiStored};
use super::test_server::FfiTestServer;
use super::user_agent::{FfiUserAgent, FfiUserAgentFailure, FfiUserAgentRequest, FfiUserAgentReturn};
use crate::adapters::memory::MemoryStorage;
use crate::adapters::reqwest::ReqwestTransport;
use crate::ports::{CommitOutcome, Generation, HttpRequest, HttpTransport, RecordKey, SecureStorage, Stored};

/// HTTP as a platform would supply it.
struct PlatformHttp(Arc<ReqwestTransport>);

#[async_trait]
impl FfiHttpTransport for PlatformHttp {
    async fn send(&self, request: FfiHttpRequest) -> Result<FfiHttpResponse, FfiHttpFailure> {
        let mut prepared =
            HttpRequest::new(request.method.parse().unwrap(), Url::parse(&request.url).unwrap());
        for header in &request.headers {
            let name: ::http::HeaderName = header.name.parse().unwrap();
            prepared.headers.append(name, header.value.parse().unwrap());
        }
        prepared.body = request.body.into();
        let answer = self
            .0
            .send(prepared)
            .await
            .map_err(|_| FfiHttpFailure::Unexpected)?;
        let header = |(name, value): (&::http::HeaderName, &::http::HeaderValue)| FfiHeader {
            name: name.to_string(),
            value: value.to_str().unwrap().to_owned(),
        };
        Ok(FfiHttpResponse {
            status: answer.status.as_u16(),
            headers: answer.headers.iter().map(header).collect(),
            body: answer.body.to_vec(),
        })
    }
}

/// Storage as a platform would supply it.
#[derive(Default)]
struct PlatformStorage(MemoryStorage);

fn key(name: &str) -> RecordKey {
    RecordKey::new(name).unwrap()
}

fn stored(stored: Stored) -> FfiStored {
    FfiStored {
        bytes: stored.bytes.to_vec(),
        generation: stored.generation.0,
    }
}

fn outcome(outcome: CommitOutcome) -> FfiCommitOutcome {
    match outcome {
        CommitOutcome::Committed(generation) => FfiCommitOutcome::Committed {
            generation: generation.0,
        },
        CommitOutcome::Conflict(current) => FfiCommitOutcome::Conflict {
            current: current.map(stored),
        },
    }
}

impl FfiSecureStorage for PlatformStorage {
    fn load(&self, name: String) -> Result<Option<FfiStored>, FfiStorageFailure> {
        Ok(self.0.load(&key(&name)).unwrap().map(stored))
    }

    fn commit(
        &self,
        name: String,
        expected: u64,
        bytes: Vec<u8>,
    ) -> Result<FfiCommitOutcome, FfiStorageFailure> {
        Ok(outcome(
            self.0.commit(&key(&name), Generation(expected), &bytes).unwrap(),
        ))
    }

    fn remove(&self, name: String, expected: u64) -> Result<FfiCommitOutcome, FfiStorageFailure> {
        Ok(outcome(self.0.remove(&key(&name), Generation(expected)).unwrap()))
    }

    fn list(&self, prefix: String) -> Result<Vec<String>, FfiStorageFailure> {
        let keys = self.0.list(&prefix).unwrap();
        Ok(keys.iter().map(|key| key.as_str().to_owned()).collect())
    }

    fn reserve(&self, name: String, bytes: u64) -> Result<(), FfiStorageFailure> {
        self.0
            .reserve(&key(&name), usize::try_from(bytes).unwrap())
            .unwrap();
        Ok(())
    }

    fn device(&self) -> Result<Option<String>, FfiStorageFailure> {
        Ok(None)
    }

    fn place(&self) -> Result<String, FfiStorageFailure> {
        Ok(format!("{:p}", &self.0))
    }
}

struct World {
    server: Arc<FfiTestServer>,
    storage: Arc<PlatformStorage>,
    http: Arc<PlatformHttp>,
}

impl World {
    fn new() -> Self {
        Self {
            server: Arc::new(FfiTestServer::start().unwrap()),
            storage: Arc::default(),
            http: Arc::new(PlatformHttp(Arc::new(ReqwestTransport::new().unwrap()))),
        }
    }

    fn config(&self) -> FfiConfig {
        FfiConfig {
            issuer: self.server.issuer(),
            client_id: self.server.client_id(),
            redirect: "https://app.example.com/callback".to_owned(),
            scopes: vec![
                "openid".to_owned(),
                "profile".to_owned(),
                "offline_access".to_owned(),
            ],
            apis: vec![FfiApi {
                origin: self.server.issuer(),
                target: None,
            }],
            transport_policy: FfiTransportPolicy::AllowHttpOnLoopback,
            sign_in_timeout_millis: None,
            post_logout_redirect: None,
            several_accounts: false,
            without_listening_again: false,
            on_unknown_outcome: None,
        }
    }

    fn client(&self) -> FfiClient {
        self.client_with(self.config(), None)
    }

    fn client_with(&self, config: FfiConfig, listener: Option<Arc<dyn FfiListener>>) -> FfiClient {
        let http = FfiHttp::Platform {
            transport: self.http.clone(),
        };
        let storage = FfiStorage::Platform {
            storage: self.storage.clone(),
        };
        FfiClient::new(config, http, storage, listener, None).unwrap()
    }

    async fn sign_in(&self, client: &FfiClient) -> Arc<FfiSession> {
        let pending = client.begin_sign_in(FfiSignInOptions::default()).await.unwrap();
        let redirect = self
            .server
            .browser_sign_in(pending.authorization_url())
            .await
            .unwrap();
        client.resume_sign_in(redirect).await.unwrap()
    }
}

/// Waits with no runtime of any kind, as Kotlin and Swift do: they poll on their own threads.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut work = std::pin::pin!(work);
    loop {
        match work.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn the_whole_life_of_a_session_needs_no_runtime_of_the_caller() {
    block_on(async {
        let world = World::new();
        let client = world.client();
        assert_eq!(client.state(), FfiSessionState::Loading);
        let session = world.sign_in(&client).await;
        assert_eq!(client.state(), FfiSessionState::SignedIn);
        let first = session.access_token().await.unwrap();
        session.refresh().await.unwrap();
        assert_ne!(session.access_token().await.unwrap(), first);
        assert!(session.userinfo_json().await.unwrap().contains("\"sub\""));
        let snapshot = session.snapshot().unwrap();
        assert!(!format!("{snapshot} {snapshot:?}").contains(&snapshot.token));
        assert_eq!(world.server.request_count("/token".to_owned()), 2);

        let signed_out = session.sign_out(FfiSignOut::Revoke).await.unwrap();
        assert!(matches!(signed_out.revocation, FfiRevocation::Done));
        assert!(session.snapshot().is_none());
        let FfiError::Failed { details } = session.access_token().await.unwrap_err();
        assert_eq!(details.kind, "session_ended");
        assert!(client.session().await.unwrap().is_none());
    });
}

#[test]
fn the_options_of_a_sign_in_reach_the_authorization_url() {
    block_on(async {
        let world = World::new();
        let options = FfiSignInOptions {
            scope: Some(vec!["openid".to_owned(), "profile".to_owned()]),
            claims_json: Some(r#"{"id_token":{"email":null}}"#.to_owned()),
            prompt: vec![FfiPrompt::Login, FfiPrompt::Consent],
            login_hint: Some("ada".to_owned()),
            max_age_seconds: Some(60),
            acr_values: vec!["gold".to_owned()],
            ui_locales: vec!["fr-CA".to_owned(), "fr".to_owned()],
            resources: vec!["https://api.example.com/".to_owned()],
            audience: Some("api".to_owned()),
            extra: vec![FfiExtraParameter {
                name: "tenant".to_owned(),
                value: "blue".to_owned(),
            }],
        };
        let pending = world.client().begin_sign_in(options).await.unwrap();
        let url = Url::parse(&pending.authorization_url()).unwrap();
        let value = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.into_owned())
        };
        for (name, expected) in [
            ("prompt", "login consent"),
            ("login_hint", "ada"),
            ("max_age", "60"),
            ("acr_values", "gold"),
            ("ui_locales", "fr-CA fr"),
            ("resource", "https://api.example.com/"),
            ("audience", "api"),
            ("tenant", "blue"),
            ("redirect_uri", &*pending.redirect_uri()),
            ("scope", "openid profile"),
            ("claims", r#"{"id_token":{"email":null}}"#),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
    });
}

/// Starts several clients at once over one storage, each on a thread, as an app does that makes its client twice.
#[test]
fn two_clients_over_one_storage_that_refresh_at_once_keep_the_session() {
    for _ in 0..20 {
        let world = World::new();
        let first = world.client();
        block_on(async { world.sign_in(&first).await });
        let clients: Vec<_> = (0..4).map(|_| world.client()).collect();
        let start = std::sync::Barrier::new(clients.len());
        std::thread::scope(|scope| {
            let start = &start;
            let threads: Vec<_> = clients
                .iter()
                .map(|client| {
                    scope.spawn(move || {
                        block_on(async {
                            let session = client.session().await.unwrap().unwrap();
                            start.wait();
                            session.refresh().await
                        })
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
        let session = block_on(first.session()).unwrap().unwrap();
        block_on(session.access_token()).unwrap();
    }
}

/// Keeps what it is told, as a façade does.
#[derive(Default)]
struct Copy(std::sync::Mutex<Told>);

#[derive(Default)]
struct Told {
    publications: Vec<FfiPublication>,
    events: Vec<FfiSessionEvent>,
}

impl Copy {
    fn token(&self) -> Option<String> {
        let told = self.0.lock().unwrap();
        let latest = told.publications.iter().max_by_key(|told| told.order)?;
        latest
            .session
            .as_ref()?
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.token.clone())
    }
}

impl FfiListener for Copy {
    fn published(&self, publication: FfiPublication) -> Result<(), FfiListenerFailure> {
        self.0.lock().unwrap().publications.push(publication);
        Ok(())
    }

    fn event(&self, _: Option<String>, event: FfiSessionEvent) -> Result<(), FfiListenerFailure> {
        self.0.lock().unwrap().events.push(event);
        Err(FfiListenerFailure::Unexpected)
    }
}

/// DESIGN §5: durable, then snapshot, then waiters, then events; cleared before sign-out returns.
#[test]
fn a_copy_is_told_before_whoever_waits() {
    block_on(async {
        let world = World::new();
        let copy = Arc::new(Copy::default());
        let client = world.client_with(world.config(), Some(copy.clone()));
        let session = world.sign_in(&client).await;
        assert_eq!(copy.token(), Some(session.access_token().await.unwrap()));
        for _ in 0..3 {
            session.refresh().await.unwrap();
            let snapshot = session.snapshot().unwrap();
            assert_eq!(copy.token(), Some(snapshot.token));
            assert!(snapshot.fresh_for_millis < snapshot.usable_for_millis);
            let unix = snapshot.taken_at_unix_millis + snapshot.usable_for_millis.unwrap() as i64;
            assert_eq!(snapshot.usable_until_unix_millis, Some(unix));
        }
        session.sign_out(FfiSignOut::Local).await.unwrap();
        assert_eq!(copy.token(), None);
        let told = copy.0.lock().unwrap();
        let states: Vec<_> = told.publications.iter().map(|told| told.state.clone()).collect();
        assert_eq!(states.first(), Some(&FfiSessionState::SignedIn));
        assert_eq!(states.last(), Some(&FfiSessionState::SignedOut));
        let epoch = session.info().epoch;
        let of_session = told.publications.iter().filter_map(|told| told.session.as_ref());
        assert!(
            of_session
                .filter(|session| session.snapshot.is_some())
                .all(|session| session.epoch == epoch)
        );
        assert!(
            told.events
                .iter()
                .any(|event| matches!(event, FfiSessionEvent::Refreshed { .. }))
        );
    });
}

#[test]
fn the_whole_configuration_reaches_the_client() {
    block_on(async {
        let world = World::new();
        let other = world.server.url_of_api("other".to_owned());
        let config = FfiConfig {
            apis: vec![
                FfiApi {
                    origin: world.server.issuer(),
                    target: None,
                },
                FfiApi {
                    origin: "https://API.example.com".to_owned(),
                    target: Some(FfiTarget {
                        resources: vec![other.clone()],
                        scope: Some(vec!["profile".to_owned()]),
                    }),
                },
            ],
            sign_in_timeout_millis: Some(60_000),
            post_logout_redirect: Some("https://app.example.com/signed-out".to_owned()),
            several_accounts: true,
            without_listening_again: true,
            on_unknown_outcome: Some(FfiOnUnknownOutcome::RetryOnce),
            ..world.config()
        };
        let client = world.client_with(config.clone(), None);
        let apis = client.apis();
        assert_eq!((apis[0].takes_own_token, apis[1].takes_own_token), (true, false));
        assert_eq!(
            (&*apis[1].scheme, &*apis[1].host, apis[1].port),
            ("https", "api.example.com", 443)
        );
        assert!(
            client
                .server_metadata_json()
                .await
                .unwrap()
                .contains("token_endpoint")
        );

        let first = world.sign_in(&client).await;
        let pending = client.begin_sign_in(FfiSignInOptions::default()).await.unwrap();
        let redirect = world
            .server
            .sign_in_as(1, pending.authorization_url())
            .await
            .unwrap();
        let second = client.resume_sign_in(redirect).await.unwrap();
        let ids: Vec<_> = client
            .sessions()
            .await
            .unwrap()
            .iter()
            .map(|s| s.info().id)
            .collect();
        assert_eq!(ids, [second.info().id, first.info().id]);
        assert!(second.info().claims_json.unwrap().contains("\"sub\""));
        assert!(second.can_refresh().await.unwrap() && second.expires_in_millis().is_some());
        client.catch_up().await.unwrap();

        // The token of the sign-in to one origin, one of its own to another, none elsewhere.
        let own = second.authorize(world.server.api_url()).await.unwrap().unwrap();
        assert_eq!(own, second.access_token().await.unwrap());
        let target = FfiTarget {
            resources: vec![other],
            scope: Some(vec!["profile".to_owned()]),
        };
        let theirs = second
            .authorize("https://api.example.com/x".to_owned())
            .await
            .unwrap()
            .unwrap();
        assert_ne!(theirs, own);
        assert_eq!(second.access_token_for(target.clone()).await.unwrap(), theirs);
        assert_eq!(second.peek_for(target).unwrap(), Some(theirs));
        assert_eq!(
            second
                .authorize("https://elsewhere.example.com/".to_owned())
                .await
                .unwrap(),
            None
        );

        // A refusal of the token is met with a newer one, another refusal is not.
        let url = world.server.api_url();
        let again = |token: &str, challenge: &str| {
            second.reauthorize(url.clone(), token.to_owned(), 401, vec![challenge.to_owned()])
        };
        let newer = again(&own, "Bearer error=\"invalid_token\"")
            .await
            .unwrap()
            .unwrap();
        assert_ne!(newer, own);
        assert_eq!(again(&own, "Bearer").await.unwrap(), Some(newer.clone()));
        assert_eq!(
            again(&newer, "Bearer error=\"insufficient_scope\"")
                .await
                .unwrap(),
            None
        );

        let signed_out = second.sign_out(FfiSignOut::Revoke).await.unwrap();
        assert!(matches!(signed_out.browser_session, FfiBrowserSession::NotAsked));
        client.forget_everything().await.unwrap();
        client.drain().await;
        assert!(client.sessions().await.unwrap().is_empty());
    });
}

/// Hands the redirect back, as an authentication session does, and visits the end-session page.
struct Browser(Arc<FfiTestServer>);

#[async_trait]
impl FfiUserAgent for Browser {
    async fn show(&self, request: FfiUserAgentRequest) -> Result<FfiUserAgentReturn, FfiUserAgentFailure> {
        assert!(!format!("{request} {request:?}").contains("state="));
        if request.url.contains("response_type") {
            let url = self.0.browser_sign_in(request.url).await.unwrap();
            return Ok(FfiUserAgentReturn::Redirected { url });
        }
        let url = self.0.browser_sign_out(request.url).await.unwrap().unwrap();
        Ok(FfiUserAgentReturn::Redirected { url })
    }
}

/// Never comes back.
struct Closed(FfiUserAgentFailure);

#[async_trait]
impl FfiUserAgent for Closed {
    async fn show(&self, _: FfiUserAgentRequest) -> Result<FfiUserAgentReturn, FfiUserAgentFailure> {
        match &self.0 {
            FfiUserAgentFailure::Failed => Ok(FfiUserAgentReturn::Opened),
            failure => Err(failure.clone()),
        }
    }
}

#[test]
fn the_platforms_browser_signs_in_and_out() {
    block_on(async {
        let world = World::new();
        let client = |user_agent: Arc<dyn FfiUserAgent>| {
            let http = FfiHttp::Platform {
                transport: world.http.clone(),
            };
            let config = FfiConfig {
                post_logout_redirect: Some("https://app.example.com/signed-out".to_owned()),
                ..world.config()
            };
            FfiClient::new(config, http, FfiStorage::Memory, None, Some(user_agent)).unwrap()
        };
        let browser = client(Arc::new(Browser(world.server.clone())));
        let session = browser.sign_in(FfiSignInOptions::default()).await.unwrap();
        let signed_out = session.sign_out(FfiSignOut::EndSession).await.unwrap();
        assert!(matches!(signed_out.browser_session, FfiBrowserSession::Ended));

        let text = || "write this".to_owned();
        for (failure, kind) in [
            (FfiUserAgentFailure::Cancelled, "cancelled"),
            (FfiUserAgentFailure::NoBrowser, "no_browser"),
            (FfiUserAgentFailure::Refused, "configuration"),
            (FfiUserAgentFailure::Unexpected, "interrupted"),
            (
                FfiUserAgentFailure::AssociationMissing { advice: text() },
                "association_missing",
            ),
            (
                FfiUserAgentFailure::Configuration { advice: text() },
                "configuration",
            ),
        ] {
            let outcome = client(Arc::new(Closed(failure.clone())))
                .sign_in(FfiSignInOptions::default())
                .await;
            let Err(FfiError::Failed { details }) = outcome else {
                panic!("signed in by {failure:?}");
            };
            assert_eq!(details.kind, kind);
            let advised = format!("{failure:?}").contains("advice");
            assert_eq!(
                details.message.contains("write this"),
                advised,
                "{}",
                details.message
            );
        }
        // Opened, and nobody comes back: the app calls it off.
        let waits = client(Arc::new(Closed(FfiUserAgentFailure::Failed)));
        let pending = waits.begin_sign_in(FfiSignInOptions::default()).await.unwrap();
        waits.cancel_sign_in();
        let Err(FfiError::Failed { details }) = pending.await_end().await else {
            panic!("signed in");
        };
        assert_eq!(details.kind, "cancelled");
    });
}
