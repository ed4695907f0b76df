//! Faults on demand: which requests go wrong, and how.
//!
//! `http::exchange` asks here what is due for a request, once it is read whole.

use super::canned::{CannedAnswer, header_field};
use super::gate::Gate;
use super::http::{Response, Wire};
use super::recorder::RecordedRequest;
use super::{State, apis, authorize, metadata, par, resource, revocation, sign_out, token};
use hyper::header::{self, HeaderName};
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Where a fault strikes.
///
/// ```
/// use gatepass::test_server::{CannedAnswer, Endpoint, TestServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// // Everything is down, or the keys alone.
/// let outage = server.fault(Endpoint::Any).every().answer(CannedAnswer::status(503))?;
/// outage.lift();
/// let no_keys = server.fault(Endpoint::JwkSet).every().drop_before_processing()?;
/// # assert_eq!(no_keys.fired(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Every one of them, and paths that do not exist: a server that is down. What [`TestBrowser`](super::TestBrowser)
    /// asks for at the server is hit as well.
    Any,
    /// Both places of the metadata (OpenID Connect Discovery §4, RFC 8414 §3).
    Metadata,
    /// The keys (`jwks_uri`).
    JwkSet,
    /// The pushed authorization request endpoint (RFC 9126).
    PushedAuthorization,
    /// The authorization endpoint, which browsers visit.
    Authorization,
    /// Where the sign-in page sends what the user typed.
    SignInPage,
    /// The token endpoint: codes and refreshes. [`FaultPoint::matching`] tells them apart.
    Token,
    /// UserInfo (OpenID Connect Core §5.3).
    Userinfo,
    /// The protected APIs, all of them.
    Api,
    /// The revocation endpoint (RFC 7009).
    Revocation,
    /// The end session endpoint and its confirmation (RP-Initiated Logout).
    EndSession,
}

impl Endpoint {
    fn is_at(self, path: &str) -> bool {
        match self {
            Endpoint::Any => true,
            Endpoint::Metadata => [metadata::OPENID_PATH, metadata::OAUTH_PATH].contains(&path),
            Endpoint::JwkSet => path == metadata::JWKS_PATH,
            Endpoint::PushedAuthorization => path == par::PATH,
            Endpoint::Authorization => path == authorize::PATH,
            Endpoint::SignInPage => path == authorize::SIGN_IN_PATH,
            Endpoint::Token => path == token::PATH,
            Endpoint::Userinfo => path == resource::USERINFO_PATH,
            Endpoint::Api => path.starts_with(apis::PREFIX),
            Endpoint::Revocation => path == revocation::PATH,
            Endpoint::EndSession => [sign_out::PATH, sign_out::CONFIRM_PATH].contains(&path),
        }
    }
}

/// Why a fault cannot be planned.
///
/// ```
/// use gatepass::test_server::{Endpoint, FaultError, TestServer};
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::start()?;
/// // The first request is number 1.
/// let outcome = server.fault(Endpoint::Token).nth(0).drop_before_processing();
/// assert_eq!(outcome.unwrap_err(), FaultError::NeverFires);
/// // This server was not built to be pushed to.
/// let outcome = server.fault(Endpoint::PushedAuthorization).every().drop_before_processing();
/// assert!(matches!(outcome, Err(FaultError::NoSuchEndpoint(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The first request is number 1, and the next none are none.
    #[error("this plan would never fire: count from 1")]
    NeverFires,
    /// The server has no such endpoint, because its builder was not asked for one.
    #[error("this server has no endpoint {0:?}")]
    NoSuchEndpoint(Endpoint),
    /// A delay of no time.
    #[error("this fault would change nothing")]
    ChangesNothing,
    /// Not a status of an answer, or not one of a redirect.
    #[error("{0} is not a status that fits")]
    BadStatus(u16),
    /// The name or the value of this header field cannot be sent, or is not for a fault to set.
    #[error("the header field {0} cannot be sent")]
    BadHeader(String),
}

type Predicate = Arc<dyn Fn(&RecordedRequest) -> bool + Send + Sync>;

/// The endpoint a fault is planned for; say next which of its requests.
///
/// Made by [`TestServer::fault`](super::TestServer::fault).
///
/// ```
/// use gatepass::test_server::{Endpoint, TestServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// // Where: the token endpoint. Which: the next two refreshes.
/// let broken = server
///     .fault(Endpoint::Token)
///     .matching(|request| request.form_value("grant_type") == Some("refresh_token"))
///     .next(2)
///     .content_type("text/html")?;
/// # assert_eq!(broken.fired(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "say which requests, and what happens to them"]
pub struct FaultPoint {
    state: Arc<State>,
    endpoint: Endpoint,
    predicate: Option<Predicate>,
}

/// Which requests a fault is planned for; say next what happens to them.
///
/// Several plans may meet in one request. They take effect in the order they were made: one that drops the connection
/// before processing, or answers instead, leaves nothing for later plans about processing, and those do not fire. Every
/// plan counts every request it is about, fired or not.
///
/// ```
/// use gatepass::test_server::{Endpoint, TestServer};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let slow = server.fault(Endpoint::Token).every().delay_answer(Duration::from_secs(20))?;
/// let cut = server.fault(Endpoint::JwkSet).nth(1).truncate_body()?;
/// let odd = server.fault(Endpoint::Metadata).every().duplicate_member("issuer")?;
/// # assert_eq!(slow.fired() + cut.fired() + odd.fired(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "say what happens to these requests"]
pub struct FaultPlan {
    point: FaultPoint,
    which: Which,
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Nth(u64),
    Next(u64),
    Every,
}

impl FaultPoint {
    pub(super) fn new(state: Arc<State>, endpoint: Endpoint) -> Self {
        Self {
            state,
            endpoint,
            predicate: None,
        }
    }

    /// Only requests this says yes to, for instance refreshes. It must not wait, nor panic: the request would get no
    /// answer then.
    ///
    /// ```
    /// # use gatepass::test_server::{Endpoint, TestServer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = TestServer::start()?;
    /// let lost = server
    ///     .fault(Endpoint::Token)
    ///     .matching(|request| request.form_value("grant_type") == Some("refresh_token"))
    ///     .nth(1)
    ///     .drop_after_processing()?;
    /// # assert_eq!(lost.fired(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn matching(mut self, predicate: impl Fn(&RecordedRequest) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(match self.predicate.take() {
            None => Arc::new(predicate),
            Some(first) => Arc::new(move |request: &RecordedRequest| first(request) && predicate(request)),
        });
        self
    }

    /// The n-th request from now on, and no other. The first is number 1.
    pub fn nth(self, n: u64) -> FaultPlan {
        self.which(Which::Nth(n))
    }

    /// This many requests, from the next one on.
    pub fn next(self, count: u64) -> FaultPlan {
        self.which(Which::Next(count))
    }

    /// Every request, until the fault is lifted.
    pub fn every(self) -> FaultPlan {
        self.which(Which::Every)
    }

    fn which(self, which: Which) -> FaultPlan {
        FaultPlan { point: self, which }
    }
}

impl FaultPlan {
    /// Closes the connection once the request is read, and does nothing with it.
    ///
    /// # Errors
    /// When the plan could never fire; so say all of these.
    pub fn drop_before_processing(self) -> Result<PlannedFault, FaultError> {
        self.plan(Effect::DropBefore)
    }

    /// Does what the request asks for, and closes the connection instead of answering: the classic lost rotation.
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn drop_after_processing(self) -> Result<PlannedFault, FaultError> {
        self.plan(Effect::DropAfter)
    }

    /// Lets this much time pass, by the server's clock, before the request is looked at.
    ///
    /// # Errors
    /// When the plan could never fire, or the delay is none.
    pub fn delay(self, by: Duration) -> Result<PlannedFault, FaultError> {
        check_delay(by)?;
        self.plan(Effect::DelayBefore(by))
    }

    /// Does what the request asks for, and lets this much time pass, by the server's clock, before it answers.
    ///
    /// # Errors
    /// When the plan could never fire, or the delay is none.
    pub fn delay_answer(self, by: Duration) -> Result<PlannedFault, FaultError> {
        check_delay(by)?;
        self.plan(Effect::DelayAfter(by))
    }

    /// Holds the request unprocessed until the test lets it go. Better than a delay, which is a race.
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn hold(self) -> Result<Gate, FaultError> {
        let open = Arc::new(Semaphore::new(0));
        let fault = self.plan(Effect::HoldBefore(Arc::clone(&open)))?;
        Ok(Gate::new(fault, open))
    }

    /// Does what the request asks for, and holds the answer until the test lets it go.
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn hold_answer(self) -> Result<Gate, FaultError> {
        let open = Arc::new(Semaphore::new(0));
        let fault = self.plan(Effect::HoldAfter(Arc::clone(&open)))?;
        Ok(Gate::new(fault, open))
    }

    /// Answers with this, and does nothing of what the request asks for.
    ///
    /// # Errors
    /// When the plan could never fire, or the answer cannot be sent.
    pub fn answer(self, answer: CannedAnswer) -> Result<PlannedFault, FaultError> {
        let answer = answer.check()?;
        self.plan(Effect::AnswerInstead(answer))
    }

    /// Does what the request asks for, and answers with this instead of the outcome.
    ///
    /// # Errors
    /// When the plan could never fire, or the answer cannot be sent.
    pub fn answer_after_processing(self, answer: CannedAnswer) -> Result<PlannedFault, FaultError> {
        let answer = answer.check()?;
        self.plan(Effect::AnswerAfter(answer))
    }

    /// Sends half of the answer's body, of the length promised, and closes the connection. Answers without a body are left
    /// alone.
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn truncate_body(self) -> Result<PlannedFault, FaultError> {
        self.plan(Effect::Truncate)
    }

    /// Gives the answer this media type, for instance `text/plain`.
    ///
    /// # Errors
    /// When the plan could never fire, or the media type cannot be sent.
    pub fn content_type(self, media_type: &str) -> Result<PlannedFault, FaultError> {
        let (_, media_type) = header_field("content-type", media_type)?;
        self.plan(Effect::ContentType(media_type))
    }

    /// Names a member of a JSON answer twice, with the same value. Answers without it are left alone.
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn duplicate_member(self, name: &str) -> Result<PlannedFault, FaultError> {
        self.plan(Effect::DuplicateMember(name.to_owned()))
    }

    /// Puts another body into the answer, made from the server's own by `change`: for what no [`Mistake`](super::Mistake)
    /// does. Status and header fields stay. It must not wait, nor panic: the request would get no answer then.
    ///
    /// ```
    /// # use gatepass::test_server::{Endpoint, TestServer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = TestServer::start()?;
    /// let blank = server.fault(Endpoint::Token).next(1).change_body(|_| b"{ }".to_vec())?;
    /// # assert_eq!(blank.fired(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the plan could never fire.
    pub fn change_body(
        self,
        change: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<PlannedFault, FaultError> {
        self.plan(Effect::ChangeBody(Change(Box::new(change))))
    }

    /// Adds a header field to the answer, besides one of that name.
    ///
    /// # Errors
    /// When the plan could never fire, or the field cannot be sent.
    pub fn header(self, name: &str, value: &str) -> Result<PlannedFault, FaultError> {
        let (name, value) = header_field(name, value)?;
        self.plan(Effect::Header(name, value))
    }

    fn plan(self, effect: Effect) -> Result<PlannedFault, FaultError> {
        let FaultPlan { point, which } = self;
        if matches!(which, Which::Nth(0) | Which::Next(0)) {
            return Err(FaultError::NeverFires);
        }
        if point.endpoint == Endpoint::PushedAuthorization && point.state.par == super::Par::Off {
            return Err(FaultError::NoSuchEndpoint(point.endpoint));
        }
        let planned = Arc::new(Planned {
            endpoint: point.endpoint,
            predicate: point.predicate,
            which,
            effect,
            seen: AtomicU64::new(0),
            fired: watch::Sender::new(0),
            lifted: AtomicBool::new(false),
        });
        point.state.faults.add(Arc::clone(&planned));
        Ok(PlannedFault { planned })
    }
}

fn check_delay(by: Duration) -> Result<(), FaultError> {
    // The clock counts milliseconds.
    if by < Duration::from_millis(1) {
        return Err(FaultError::ChangesNothing);
    }
    Ok(())
}

/// A fault that was planned. It stays planned when this is dropped; clones are the same fault.
///
/// ```
/// use gatepass::test_server::{CannedAnswer, Endpoint, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let outage = server.fault(Endpoint::Metadata).every().answer(CannedAnswer::status(503))?;
/// let url = format!("{}/.well-known/openid-configuration", server.issuer());
/// assert_eq!(server.browser().deliver(&url).await?, 503);
/// // The test has met what it is about; then the server is well again.
/// outage.until_fired(1).await;
/// outage.lift();
/// assert_eq!(server.browser().deliver(&url).await?, 200);
/// assert_eq!(outage.fired(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PlannedFault {
    planned: Arc<Planned>,
}

impl PlannedFault {
    /// How often it has happened.
    pub fn fired(&self) -> u64 {
        *self.planned.fired.borrow()
    }

    /// Waits until it has happened this often. If it never does, neither does this end.
    pub async fn until_fired(&self, times: u64) {
        let mut fired = self.planned.fired.subscribe();
        // The sender is held by this very handle.
        drop(fired.wait_for(|fired| *fired >= times).await);
    }

    /// Takes it back: no later request is affected, and requests held by it go on.
    pub fn lift(&self) {
        self.planned.lift();
    }
}

impl fmt::Debug for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedFault")
            .field("endpoint", &self.planned.endpoint)
            .field("which", &self.planned.which)
            .field("effect", &self.planned.effect)
            .field("fired", &self.fired())
            .finish_non_exhaustive()
    }
}

type ChangeBody = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// What makes one body from another.
struct Change(Box<ChangeBody>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

#[derive(Debug)]
enum Effect {
    DropBefore,
    DropAfter,
    DelayBefore(Duration),
    DelayAfter(Duration),
    HoldBefore(Arc<Semaphore>),
    HoldAfter(Arc<Semaphore>),
    AnswerInstead(CannedAnswer),
    AnswerAfter(CannedAnswer),
    Truncate,
    ContentType(String),
    DuplicateMember(String),
    ChangeBody(Change),
    Header(HeaderName, String),
}

struct Planned {
    endpoint: Endpoint,
    predicate: Option<Predicate>,
    which: Which,
    effect: Effect,
    seen: AtomicU64,
    fired: watch::Sender<u64>,
    lifted: AtomicBool,
}

impl Planned {
    fn is_about(&self, request: &RecordedRequest) -> bool {
        self.endpoint.is_at(request.path())
            && self.predicate.as_ref().is_none_or(|predicate| predicate(request))
    }

    /// Counts a request the plan is about, and says whether it is one to strike.
    fn is_due(&self) -> bool {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        match self.which {
            Which::Nth(n) => number == n,
            Which::Next(count) => number <= count,
            Which::Every => true,
        }
    }

    /// Whether it can be forgotten. A gate stays known until it is opened, as requests may stand before it.
    fn is_over(&self) -> bool {
        let seen = self.seen.load(Ordering::SeqCst);
        let holds = matches!(self.effect, Effect::HoldBefore(_) | Effect::HoldAfter(_));
        self.lifted.load(Ordering::SeqCst)
            || match self.which {
                Which::Nth(n) | Which::Next(n) => seen >= n && !holds,
                Which::Every => false,
            }
    }

    fn fire(&self) {
        self.fired.send_modify(|fired| *fired += 1);
    }

    fn lift(&self) {
        self.lifted.store(true, Ordering::SeqCst);
        if let Effect::HoldBefore(open) | Effect::HoldAfter(open) = &self.effect {
            open.close();
        }
    }
}

/// The plans of one server.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<Arc<Planned>>>);

impl Faults {
    fn plans(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Planned>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, planned: Arc<Planned>) {
        self.plans().push(planned);
    }

    pub(super) fn lift_all(&self) {
        for planned in self.plans().drain(..) {
            planned.lift();
        }
    }

    /// What is due for a request. Predicates are the test's code, and run with nothing locked.
    pub(super) fn due(&self, recorded: impl FnOnce() -> Option<RecordedRequest>) -> Due {
        let plans = {
            let mut plans = self.plans();
            plans.retain(|planned| !planned.is_over());
            plans.clone()
        };
        let mut due = Due(plans);
        if !due.0.is_empty() {
            let recorded = recorded();
            due.0.retain(|planned| {
                let about = recorded.as_ref().is_some_and(|request| planned.is_about(request));
                about && planned.is_due()
            });
        }
        due
    }
}

/// What becomes of a request before it is processed.
pub(super) enum Before {
    Process,
    Answer(Response),
    Drop,
}

/// The plans that strike one request, in the order they were made.
pub(super) struct Due(Vec<Arc<Planned>>);

impl Due {
    pub(super) async fn before(&self, state: &State) -> Before {
        for planned in &self.0 {
            match &planned.effect {
                Effect::DelayBefore(by) => {
                    let deadline = deadline(state, *by);
                    planned.fire();
                    state.clock.sleep_until(deadline).await;
                }
                Effect::HoldBefore(open) => {
                    planned.fire();
                    pass(open).await;
                }
                Effect::DropBefore => {
                    planned.fire();
                    return Before::Drop;
                }
                Effect::AnswerInstead(answer) => {
                    planned.fire();
                    return Before::Answer(answer.response(state.now()));
                }
                _ => {}
            }
        }
        Before::Process
    }

    /// `None` when the answer is lost.
    pub(super) async fn after(
        &self,
        state: &State,
        mut response: Response,
        processed: bool,
    ) -> Option<Response> {
        for planned in &self.0 {
            match &planned.effect {
                Effect::DelayAfter(by) => {
                    let deadline = deadline(state, *by);
                    planned.fire();
                    state.clock.sleep_until(deadline).await;
                }
                Effect::HoldAfter(open) => {
                    planned.fire();
                    pass(open).await;
                }
                Effect::DropAfter if processed => {
                    planned.fire();
                    return None;
                }
                Effect::AnswerAfter(answer) if processed => {
                    planned.fire();
                    response = answer.response(state.now());
                }
                Effect::Truncate if !response.body.is_empty() => {
                    planned.fire();
                    response.wire = Wire::Truncated;
                }
                Effect::ContentType(media_type) => {
                    planned.fire();
                    response.headers.retain(|(name, _)| name != header::CONTENT_TYPE);
                    response = response.with(header::CONTENT_TYPE, media_type);
                }
                Effect::DuplicateMember(name) => {
                    if let Some(body) = with_duplicate(&response.body, name) {
                        planned.fire();
                        response.body = body;
                    }
                }
                Effect::ChangeBody(Change(change)) => {
                    response.body = change(&response.body);
                    planned.fire();
                }
                Effect::Header(name, value) => {
                    planned.fire();
                    response = response.with(name.clone(), value);
                }
                _ => {}
            }
        }
        Some(response)
    }
}

/// Settled before the fault counts as fired: a test that sees it fire may move the clock at once.
fn deadline(state: &State, by: Duration) -> u64 {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    state.clock.boot_millis().saturating_add(by)
}

/// Waits for a place in an open gate; a closed semaphore is a gate that stands open.
async fn pass(open: &Semaphore) {
    if let Ok(permit) = open.acquire().await {
        permit.forget();
    }
}

/// A JSON object that names a member of it twice.
fn with_duplicate(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let parsed: Value = serde_json::from_slice(body).ok()?;
    let value = parsed.as_object()?.get(name)?;
    let rest = body.strip_prefix(b"{")?;
    let mut twice = format!("{{{}:{value},", Value::from(name)).into_bytes();
    twice.extend_from_slice(rest);
    Some(twice)
}
