//! A user who is signed in, at a server that is about to misbehave.

use std::sync::{Arc, Mutex, OnceLock};

use gatepass::test_server::{Endpoint, FaultPoint, RecordedRequest, TestServerBuilder};
use gatepass::{
    Client, Error, ErrorKind, PendingSignIn, Result, SecureStorage as _, Session, SessionState,
    SignInOptions, Stage,
};
use serde_json::{Map, Value};

use crate::support::{TestBed, token_requests};

/// The redirect that comes back by a URL, not through a listener.
pub(crate) const REDIRECT: &str = "com.example.app:/callback";

pub(crate) struct SignedIn {
    pub(crate) bed: TestBed,
    pub(crate) client: Client,
    pub(crate) session: Session,
}

impl SignedIn {
    pub(crate) async fn new() -> Self {
        Self::at(REDIRECT, |server| server).await
    }

    pub(crate) async fn at(
        redirect: &str,
        adjust: impl FnOnce(TestServerBuilder) -> TestServerBuilder,
    ) -> Self {
        let bed = TestBed::with(|server| adjust(server.redirect_uri(redirect)));
        let client = bed.client_with(|app| app.redirect(redirect));
        let (_, redirect) = begin(&bed, &client).await;
        let session = client.resume_sign_in(&redirect).await.unwrap();
        Self { bed, client, session }
    }

    /// A new sign-in over the session, and the redirect that would end it well.
    pub(crate) async fn begin(&self) -> (PendingSignIn, String) {
        begin(&self.bed, &self.client).await
    }

    /// A new sign-in over the session, through a server that does its worst.
    pub(crate) async fn sign_in(&self) -> Result<Session> {
        let pending = self.client.begin_sign_in(SignInOptions::default()).await?;
        let redirect = self.bed.browser_sign_in(pending.authorization_url()).await;
        self.client.resume_sign_in(&redirect).await
    }

    pub(crate) fn token_requests(&self) -> usize {
        token_requests(&self.bed.server).len()
    }

    /// The session as it is stored now.
    pub(crate) async fn session_now(&self) -> Session {
        self.client.session().await.unwrap().unwrap()
    }

    /// Refreshes at the token endpoint.
    pub(crate) fn refreshes_from_now(&self) -> FaultPoint {
        self.bed.server.fault(Endpoint::Token).matching(is_refresh)
    }

    /// The refresh token in storage.
    pub(crate) fn stored(&self) -> String {
        let keys = self.bed.storage.list("session.").unwrap();
        let [key] = &keys[..] else {
            panic!("one session is stored: {keys:?}")
        };
        let record = self.bed.storage.load(key).unwrap().unwrap();
        let record: Value = serde_json::from_slice(&record.bytes).unwrap();
        record["refresh_token"].as_str().unwrap().to_owned()
    }

    /// The session is signed in with this refresh token, and still good for another.
    pub(crate) async fn lives_with(&self, refresh_token: &str, case: &str) {
        assert_eq!(self.stored(), refresh_token, "{case}: the stored refresh token");
        assert_eq!(self.client.state().get(), SessionState::SignedIn, "{case}");
        self.bed.server.lift_faults();
        self.bed.server.behave();
        let refreshed = self.session_now().await.refresh().await;
        assert!(refreshed.is_ok(), "{case}: {refreshed:?}");
        assert_ne!(self.stored(), refresh_token, "{case}: the server rotates");
    }
}

pub(crate) async fn begin(bed: &TestBed, client: &Client) -> (PendingSignIn, String) {
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    (pending, redirect)
}

pub(crate) fn is_refresh(request: &RecordedRequest) -> bool {
    request.form_value("grant_type") == Some("refresh_token")
}

/// The error says what happened, and where.
pub(crate) fn told(error: &Error, code: &str, kind: ErrorKind, stage: Stage, case: &str) {
    assert_eq!(
        (error.code(), error.kind(), error.stage()),
        (code, kind, stage),
        "{case}: {error:?}"
    );
    assert!(!error.to_string().is_empty(), "{case}");
    if matches!(kind, ErrorKind::Protocol) {
        assert!(error.clause().is_some(), "{case}: {error:?}");
    }
}

/// An edit of a JSON answer.
pub(crate) fn json(
    edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static {
    move |body| {
        let mut answer: Map<String, Value> = serde_json::from_slice(body).unwrap();
        edit(&mut answer);
        serde_json::to_vec(&answer).unwrap()
    }
}

/// One member of a JSON answer, written out as the test says; `None` takes it away.
pub(crate) fn member(
    name: &'static str,
    text: Option<&str>,
) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static {
    let text = text.map(str::to_owned);
    move |body| {
        let mut answer: Map<String, Value> = serde_json::from_slice(body).unwrap();
        answer.remove(name);
        let rest = serde_json::to_string(&answer).unwrap();
        match &text {
            Some(text) => format!("{{\"{name}\":{text},{}", rest.strip_prefix('{').unwrap()),
            None => rest,
        }
        .into_bytes()
    }
}

/// What this test program has logged since then, whichever test it comes from. Begins to listen if nobody has yet.
pub(crate) fn logged(since: usize) -> String {
    static LOG: OnceLock<Arc<Mutex<String>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::<Mutex<String>>::default();
        let listener = Listener(Arc::clone(&log));
        tracing::subscriber::set_global_default(listener).unwrap();
        log
    });
    log.lock().unwrap()[since..].to_owned()
}

struct Listener(Arc<Mutex<String>>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("gatepass")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                log.push_str(&format!("{field}={value:?}\n"));
            },
        );
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
