//! Sign-ins by a loopback redirect whose process died while the browser was open (RFC 8252 §7.3).

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatepass::test_server::{CannedAnswer, Endpoint, TestBrowserError};
use gatepass::{
    BoxFuture, Client, ClientBuilder, ErrorKind, EventSink, SecureStorage as _, SessionEvent, SessionId,
    SessionState, SignInOptions, Spawner,
};
use tokio::runtime::Runtime;

use crate::support::reached::Reached;
use crate::support::{TestBed, paths, token_requests, until};

/// The threads of one process, which end when it is killed, whatever they are at.
#[derive(Debug)]
struct Threads(Mutex<Option<Runtime>>);

impl Spawner for Threads {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if let Some(runtime) = &*self.0.lock().unwrap() {
            runtime.spawn(task);
        }
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        if let Some(runtime) = &*self.0.lock().unwrap() {
            runtime.spawn_blocking(work);
        }
    }
}

/// What the event sink of one process heard.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl EventSink for Heard {
    fn event(&self, _session: Option<&SessionId>, event: SessionEvent) {
        self.0.lock().unwrap().push(match event {
            SessionEvent::SignInInterrupted { diagnostic_id } => format!("interrupted {diagnostic_id}"),
            other => format!("{other:?}"),
        });
    }
}

/// One process of the app.
struct Process {
    client: Client,
    threads: Arc<Threads>,
    heard: Arc<Heard>,
}

impl Process {
    fn start(bed: &TestBed) -> Self {
        Self::start_with(bed, |builder| builder)
    }

    fn start_with(bed: &TestBed, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let threads = Arc::new(Threads(Mutex::new(Some(runtime))));
        let heard = Arc::new(Heard::default());
        let client = bed.client_with(|builder| {
            adjust(
                builder
                    .storage(Reached::of(&bed.storage))
                    .spawner(threads.clone())
                    .event_sink(heard.clone()),
            )
        });
        Self {
            client,
            threads,
            heard,
        }
    }

    /// One whose redirect has a port that nobody else is given while it is free: the system hands out those above.
    fn start_at_a_port(bed: &TestBed) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Other programs that run these tests begin elsewhere.
        let first = 10_000 + (std::process::id() % 200) * 100;
        let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::SeqCst))
            .map(|next| u16::try_from(first).unwrap() + next);
        let port = ports
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let redirect = format!("http://127.0.0.1:{port}/callback");
        Self::start_with(bed, |builder| builder.redirect(redirect))
    }

    /// It is gone when this returns, and its ports are free.
    fn kill(self) {
        let runtime = self.threads.0.lock().unwrap().take().unwrap();
        std::thread::spawn(move || drop(runtime)).join().unwrap();
    }

    /// What a start of the app does: nobody is signed in.
    async fn looks(&self) {
        assert!(self.client.session().await.unwrap().is_none());
    }

    async fn hears(&self, events: &[String]) {
        until(|| self.heard.all().len() >= events.len()).await;
        assert_eq!(self.heard.all(), events);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A runtime cannot be dropped where one runs.
        if let Some(runtime) = self.threads.0.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

/// A sign-in that its process does not live to see the end of.
struct LeftOpen {
    id: String,
    url: String,
    /// Where the browser is sent in the end.
    redirect: String,
}

impl LeftOpen {
    async fn by(process: &Process, bed: &TestBed) -> Self {
        let pending = process
            .client
            .begin_sign_in(SignInOptions::default())
            .await
            .unwrap();
        // Not asked for while another process dies.
        bed.keys_are_stored().await;
        Self {
            id: pending.diagnostic_id().to_owned(),
            url: pending.authorization_url().to_owned(),
            redirect: pending.redirect_uri().to_owned(),
        }
    }

    async fn of_a_dead_process(bed: &TestBed) -> Self {
        let process = Process::start_at_a_port(bed);
        let open = Self::by(&process, bed).await;
        process.kill();
        assert!(!open.is_listened_for());
        open
    }

    fn port(&self) -> u16 {
        let port = self.redirect.strip_prefix("http://127.0.0.1:").unwrap();
        port.split_once('/').unwrap().0.parse().unwrap()
    }

    /// Asked by a connection that says nothing: where there was one, the port counts as in use for a minute.
    fn is_listened_for(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port())).is_ok()
    }

    /// The user finishes in the browser, which then goes to the redirect.
    async fn finish(&self, bed: &TestBed) -> Result<u16, TestBrowserError> {
        let redirect = bed.browser_sign_in(&self.url).await;
        bed.server.browser().deliver(&redirect).await
    }

    fn interrupted(&self) -> String {
        format!("interrupted {}", self.id)
    }
}

fn signed_in() -> String {
    "SignedIn".to_owned()
}

#[tokio::test]
async fn na_11_the_browser_of_a_dead_process_finishes_the_sign_in_in_the_next_one() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    assert!(open.is_listened_for());
    // Nobody is kept waiting by it.
    next.client.drain().await;

    assert_eq!(open.finish(&bed).await.unwrap(), 200);
    next.client
        .state()
        .wait_for(|state| *state == SessionState::SignedIn)
        .await;
    next.hears(&[signed_in()]).await;
    assert_eq!(token_requests(&bed.server).len(), 1);
    until(|| !open.is_listened_for()).await;
    let session = next.client.session().await.unwrap().unwrap();
    assert_eq!(
        session.claims().unwrap().subject(),
        bed.server.users()[0].subject()
    );
    session.refresh().await.unwrap();
    next.client.drain().await;
    assert!(bed.storage.list("flow.").unwrap().is_empty());
}

#[tokio::test]
async fn na_11_a_process_that_lives_keeps_its_port_and_its_sign_in() {
    let bed = TestBed::new();
    let first = Process::start(&bed);
    let pending = first
        .client
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap();
    let other = Process::start(&bed);
    other.looks().await;
    other.looks().await;
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    assert_eq!(bed.server.browser().deliver(&redirect).await.unwrap(), 200);
    pending.wait().await.unwrap();
    first.hears(&[signed_in()]).await;
    assert!(other.client.session().await.unwrap().is_some());
    assert!(other.heard.all().is_empty());
    assert_eq!(token_requests(&bed.server).len(), 1);
}

#[tokio::test]
async fn na_11_a_port_that_was_in_use_is_tried_again_at_the_next_look() {
    let bed = TestBed::new();
    let first = Process::start_at_a_port(&bed);
    let open = LeftOpen::by(&first, &bed).await;
    let next = Process::start(&bed);
    next.client.sessions().await.unwrap();
    first.kill();
    assert!(!open.is_listened_for());
    next.client.sessions().await.unwrap();
    assert!(open.is_listened_for());
    assert_eq!(open.finish(&bed).await.unwrap(), 200);
    next.hears(&[signed_in()]).await;
}

#[tokio::test]
async fn bi_99_a_sign_in_that_nobody_finishes_is_told_once_when_its_time_is_over() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    assert!(open.is_listened_for());
    bed.clock.advance(Duration::from_secs(16 * 60));
    // It is told without another look.
    next.hears(&[open.interrupted()]).await;
    assert!(!open.is_listened_for());
    assert!(bed.storage.list("flow.").unwrap().is_empty());
    let later = Process::start(&bed);
    later.looks().await;
    next.looks().await;
    assert!(later.heard.all().is_empty());
    next.hears(&[open.interrupted()]).await;
}

#[tokio::test]
async fn bi_99_the_deadline_ends_the_listening_and_a_wall_clock_that_is_set_does_not() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    bed.clock.set_unix_millis(bed.now_unix_millis() + 16 * 60 * 1000);
    next.looks().await;
    assert!(open.is_listened_for());
    assert!(next.heard.all().is_empty());
    bed.clock.advance(Duration::from_secs(16 * 60));
    next.looks().await;
    next.hears(&[open.interrupted()]).await;
    next.looks().await;
    until(|| !open.is_listened_for()).await;
    next.hears(&[open.interrupted()]).await;
}

#[tokio::test]
async fn two_processes_that_look_at_once_finish_it_once() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let (one, two) = (Process::start(&bed), Process::start(&bed));
    tokio::join!(one.looks(), two.looks());
    assert_eq!(open.finish(&bed).await.unwrap(), 200);
    until(|| !one.heard.all().is_empty() || !two.heard.all().is_empty()).await;
    assert!(one.client.session().await.unwrap().is_some());
    assert!(two.client.session().await.unwrap().is_some());
    assert_eq!([one.heard.all(), two.heard.all()].concat(), [signed_in()]);
    assert_eq!(token_requests(&bed.server).len(), 1);
    assert!(!paths(&bed.server).contains(&"/revoke".to_owned()));
}

#[tokio::test]
async fn a_redirect_that_reaches_two_processes_at_once_is_exchanged_once() {
    for _ in 0..8 {
        let bed = TestBed::new();
        let open = LeftOpen::of_a_dead_process(&bed).await;
        let (listening, given) = (Process::start(&bed), Process::start(&bed));
        listening.looks().await;
        let redirect = bed.browser_sign_in(&open.url).await;
        let browser = bed.server.browser();
        let (page, resumed) =
            tokio::join!(browser.deliver(&redirect), given.client.resume_sign_in(&redirect));
        if let Err(error) = &resumed {
            // Whichever was later may have found nothing there any more.
            let known = error.kind() == ErrorKind::AlreadyHandled || error.code() == "no_pending_sign_in";
            assert!(known, "{error:?}");
        }
        assert!(matches!(page.unwrap(), 200 | 400));
        until(|| listening.heard.all().len() + given.heard.all().len() == 1).await;
        listening.client.drain().await;
        given.client.drain().await;
        assert_eq!([listening.heard.all(), given.heard.all()].concat(), [signed_in()]);
        assert_eq!(resumed.is_ok(), given.heard.all().len() == 1);
        assert_eq!(token_requests(&bed.server).len(), 1);
        assert!(!paths(&bed.server).contains(&"/revoke".to_owned()));
    }
}

#[tokio::test]
async fn a_sign_in_that_is_begun_takes_the_place_of_one_left_open() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    assert!(open.is_listened_for());
    let pending = next.client.begin_sign_in(SignInOptions::default()).await.unwrap();
    next.hears(&[open.interrupted()]).await;
    assert!(!open.is_listened_for());
    open.finish(&bed).await.unwrap_err();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    assert_eq!(bed.server.browser().deliver(&redirect).await.unwrap(), 200);
    pending.wait().await.unwrap();
    next.hears(&[open.interrupted(), signed_in()]).await;
}

#[tokio::test]
async fn a_client_that_has_begun_a_sign_in_listens_for_none_of_before() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    let _pending = next.client.begin_sign_in(SignInOptions::default()).await.unwrap();
    next.looks().await;
    assert!(!open.is_listened_for());
}

#[tokio::test]
async fn a_port_that_is_always_the_same_is_free_for_the_next_sign_in() {
    let bed = TestBed::new();
    let first = Process::start_at_a_port(&bed);
    let open = LeftOpen::by(&first, &bed).await;
    first.kill();
    let next = Process::start_with(&bed, |builder| builder.redirect(&open.redirect));
    next.looks().await;
    assert!(open.is_listened_for());
    let pending = next.client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    assert_eq!(bed.server.browser().deliver(&redirect).await.unwrap(), 200);
    pending.wait().await.unwrap();
}

#[tokio::test]
async fn forgetting_everything_ends_the_listening() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    assert!(open.is_listened_for());
    next.client.forget_everything().await.unwrap();
    assert!(!open.is_listened_for());
    next.looks().await;
    assert!(!open.is_listened_for());
    assert!(next.heard.all().is_empty());
}

#[tokio::test]
async fn what_another_process_forgot_is_not_listened_for_after_the_next_look() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    Process::start(&bed).client.forget_everything().await.unwrap();
    assert!(open.is_listened_for());
    next.looks().await;
    until(|| !open.is_listened_for()).await;
}

#[tokio::test]
async fn the_last_client_that_is_dropped_frees_the_port() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let client = bed.client();
    assert!(client.session().await.unwrap().is_none());
    assert!(open.is_listened_for());
    drop(client);
    until(|| !open.is_listened_for()).await;
    // And the next one has it.
    let next = Process::start(&bed);
    while !open.is_listened_for() {
        next.looks().await;
    }
    assert_eq!(open.finish(&bed).await.unwrap(), 200);
    next.hears(&[signed_in()]).await;
}

#[tokio::test]
async fn whoever_only_looks_opens_no_port() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let looks = Process::start_with(&bed, ClientBuilder::without_listening_again);
    looks.looks().await;
    assert!(!open.is_listened_for());
    // Nor does a client whose redirects come another way.
    let other = Process::start_with(&bed, |builder| builder.redirect("com.example.app:/callback"));
    other.looks().await;
    assert!(!open.is_listened_for());
    assert_eq!(bed.storage.list("flow.").unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_who_declines_and_an_exchange_that_fails_are_told_once() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    let browser = bed.server.browser();
    let denied = browser.deny(&open.url).await.unwrap();
    assert_eq!(browser.deliver(&denied).await.unwrap(), 200);
    next.hears(&[open.interrupted()]).await;
    assert!(bed.storage.list("flow.").unwrap().is_empty());

    let again = LeftOpen::of_a_dead_process(&bed).await;
    next.looks().await;
    let _refused = bed
        .server
        .fault(Endpoint::Token)
        .next(1)
        .answer(CannedAnswer::status(503))
        .unwrap();
    assert_eq!(again.finish(&bed).await.unwrap(), 200);
    next.hears(&[open.interrupted(), again.interrupted()]).await;
    next.looks().await;
    next.hears(&[open.interrupted(), again.interrupted()]).await;
}

#[tokio::test]
async fn bi_30_a_stranger_at_the_port_of_before_decides_nothing() {
    let bed = TestBed::new();
    let open = LeftOpen::of_a_dead_process(&bed).await;
    let next = Process::start(&bed);
    next.looks().await;
    let forged = format!("{}?code=forged&state=guessed", open.redirect);
    assert_eq!(bed.server.browser().deliver(&forged).await.unwrap(), 400);
    assert!(open.is_listened_for());
    assert_eq!(open.finish(&bed).await.unwrap(), 200);
    next.hears(&[signed_in()]).await;
}
