//! The surface as a whole, its foreign traits implemented in Rust, against the test server.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::client::FfiClient;
use super::config::{FfiConfig, FfiExtraParameter, FfiPrompt, FfiSignInOptions, FfiTransportPolicy};
use super::error::FfiError;
use super::http::{FfiHeader, FfiHttpFailure, FfiHttpRequest, FfiHttpResponse, FfiHttpTransport};
use super::session::{FfiRevocation, FfiSession, FfiSessionState, FfiSignOut};
use super::storage::{FfiCommitOutcome, FfiSecureStorage, FfiStorageFailure, FfiStored};
use super::test_server::FfiTestServer;
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

    fn place(&self) -> Result<String, FfiStorageFailure> {
        Ok(format!("{:p}", &self.0))
    }
}

struct World {
    server: FfiTestServer,
    storage: Arc<PlatformStorage>,
    http: Arc<PlatformHttp>,
}

impl World {
    fn new() -> Self {
        Self {
            server: FfiTestServer::start().unwrap(),
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
            apis: vec![self.server.issuer()],
            transport_policy: FfiTransportPolicy::AllowHttpOnLoopback,
            sign_in_timeout_millis: None,
        }
    }

    fn client(&self) -> FfiClient {
        FfiClient::new(self.config(), self.http.clone(), self.storage.clone()).unwrap()
    }

    async fn sign_in(&self, client: &FfiClient) -> Arc<FfiSession> {
        let pending = client.begin_sign_in(FfiSignInOptions::default()).await.unwrap();
        let redirect = self
            .server
            .browser_sign_in(pending.authorization_url)
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
        assert!(session.peek().is_none() && session.snapshot().is_none());
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
        let url = Url::parse(&pending.authorization_url).unwrap();
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
            ("redirect_uri", &*pending.redirect_uri),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
        assert!(!format!("{pending} {pending:?}").contains(&value("state").unwrap()));
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
