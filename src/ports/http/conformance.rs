//! The contract of [`HttpTransport`] as a suite that any transport can be run against: servers that misbehave, and
//! what must be told of them.

mod answers;
mod failures;
mod http2;
mod once;
pub(crate) mod server;
mod tls;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, mpsc};

use self::server::Authority;
use super::{
    Delivery, Duration, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport, Method,
    StatusCode, Url, Zeroizing,
};
use crate::ports::BoxFuture;

/// Long enough to be of no concern.
const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that is meant to pass. The servers do nothing until it has.
const SHORT: Duration = Duration::from_millis(200);
/// When a check is given up. Only a transport that does not keep to its deadline comes near it.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Runs an [`HttpTransport`] against servers on 127.0.0.1 that behave and misbehave, and tells which promises of
/// the port it keeps. For the tests of an app that brings a transport of its own.
///
/// The transport must accept http to 127.0.0.1 (the core asks for it only where an app named
/// [`AllowHttpOnLoopback`](crate::AllowHttpOnLoopback)), and, to be tested over TLS, trust the suite's root
/// certificate in addition to what it trusts anyway.
///
/// ```no_run
/// # use gatepass::{HttpFailure, HttpRequest, HttpResponse, HttpTransport};
/// # #[derive(Debug)] struct MyTransport;
/// # #[async_trait::async_trait]
/// # impl HttpTransport for MyTransport {
/// #     async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> { todo!() }
/// # }
/// # impl MyTransport { fn trusting(root: &str) -> Self { Self } }
/// use gatepass::conformance::HttpSuite;
/// use std::sync::Arc;
///
/// // In the tests of your app, within whatever runtime the transport needs.
/// # async fn test() {
/// let suite = HttpSuite::new();
/// let transport = MyTransport::trusting(suite.root_pem());
/// let report = suite.run(Arc::new(transport)).await;
/// println!("{report}");
/// report.assert_kept();
/// # }
/// ```
///
/// It takes a few seconds, most of them waiting for deadlines to pass. The servers run on threads of their own, which
/// end with the process. No runtime is assumed.
#[derive(Debug)]
pub struct HttpSuite {
    authority: Authority,
    without_trust: Option<String>,
    left_out: Vec<(String, String)>,
}

impl HttpSuite {
    /// A suite with a root certificate made for it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            authority: Authority::new(),
            without_trust: None,
            left_out: Vec::new(),
        }
    }

    /// The root certificate that the transport must trust, as PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        self.authority.root_pem()
    }

    /// The root certificate that the transport must trust, as DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        self.authority.root_der()
    }

    /// For a transport that cannot be made to trust the root: what needs it is skipped, with this reason.
    #[must_use]
    pub fn without_trust(mut self, why: impl Into<String>) -> Self {
        self.without_trust = Some(why.into());
        self
    }

    /// For a transport that cannot be put to a check, because the platform under it would end the process: this promise is
    /// skipped, with this reason.
    #[must_use]
    pub fn leave_out(mut self, promise: impl Into<String>, why: impl Into<String>) -> Self {
        self.left_out.push((promise.into(), why.into()));
        self
    }

    /// Runs every check, one after the other, and tells what came of each. Safe to cancel.
    pub async fn run(&self, transport: Arc<dyn HttpTransport>) -> Report {
        let bench = Bench {
            transport,
            authority: &self.authority,
            without_trust: self.without_trust.as_deref(),
        };
        let mut findings = Vec::new();
        for (promise, check) in CHECKS {
            if let Some((_, why)) = self.left_out.iter().find(|(left_out, _)| left_out == promise) {
                findings.push(Finding {
                    promise,
                    verdict: Verdict::Skipped(why.clone()),
                });
                continue;
            }
            let verdict = match within(GIVE_UP, check(&bench)).await {
                Some(Ok(())) => Verdict::Kept,
                Some(Err(Broken::Violated(how))) => Verdict::Broken(how),
                Some(Err(Broken::Skipped(why))) => Verdict::Skipped(why),
                None => Verdict::Broken(format!("no end after {} s", GIVE_UP.as_secs())),
            };
            findings.push(Finding { promise, verdict });
        }
        Report { findings }
    }
}

impl Default for HttpSuite {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a suite.
///
/// ```
/// use std::sync::Arc;
/// use gatepass::HttpTransport;
/// use gatepass::conformance::HttpSuite;
///
/// /// In the tests of an app with a transport whose trust cannot be changed.
/// async fn keeps_the_contract(transport: Arc<dyn HttpTransport>) {
///     let report = HttpSuite::new().without_trust("the platform decides whom to trust").run(transport).await;
///     println!("{} of {} were not checked", report.skipped().count(), report.findings().len());
///     report.assert_kept();
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Every promise of the contract, in the order they were checked.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Those that were broken.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.verdict, Verdict::Broken(_)))
    }

    /// Those that could not be checked.
    pub fn skipped(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.verdict, Verdict::Skipped(_)))
    }

    /// Fails the test that calls it, with the whole report, unless every promise that was checked is kept.
    ///
    /// # Panics
    /// If one is broken.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.broken().next().is_none(), "\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { promise, verdict } in &self.findings {
            match verdict {
                Verdict::Kept => writeln!(f, "kept     {promise}")?,
                Verdict::Broken(how) => writeln!(f, "BROKEN   {promise}: {how}")?,
                Verdict::Skipped(why) => writeln!(f, "skipped  {promise}: {why}")?,
            }
        }
        Ok(())
    }
}

/// One promise, and what became of it.
///
/// ```
/// use gatepass::conformance::{Finding, Report, Verdict};
///
/// /// The broken promises, but for one that is known and accepted.
/// fn surprises(report: &Report) -> Vec<&Finding> {
///     let known = |finding: &&Finding| finding.promise == "nothing is cached";
///     report.broken().filter(|finding| !known(finding)).collect()
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// Whether it was kept.
    pub verdict: Verdict,
}

/// Whether a promise was kept.
///
/// ```
/// use gatepass::conformance::Verdict;
///
/// fn mark(verdict: &Verdict) -> &'static str {
///     match verdict {
///         Verdict::Kept => "✓",
///         Verdict::Broken(_) => "✗",
///         _ => "-",
///     }
/// }
/// assert_eq!(mark(&Verdict::Broken("the request was sent twice".to_owned())), "✗");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As the contract says.
    Kept,
    /// Not as the contract says: how.
    Broken(String),
    /// Not checked: why.
    Skipped(String),
}

type Check = for<'a> fn(&'a Bench<'a>) -> BoxFuture<'a, Outcome>;

/// The checks of a table: a promise, and the function that looks whether it is kept.
macro_rules! checks {
    ($($promise:literal => $check:path,)*) => {
        const CHECKS: &[(&str, Check)] = &[$(($promise, |bench| Box::pin($check(bench)))),*];
    };
}

checks! {
    "an answer comes as it is, duplicate headers and all" => answers::come_as_they_are,
    "a status other than 2xx is an answer" => answers::of_any_status,
    "no redirect is followed" => answers::redirects_are_answers,
    "no cookie is sent back" => answers::cookies_are_not_kept,
    "nothing is cached" => answers::nothing_is_cached,
    "informational answers are passed over" => answers::early_hints_are_no_answer,
    "an encoded body comes as it is, or decoded and within the limit" => answers::encoded_bodies,
    "a request is sent once when the connection dies on it" => once::on_a_fresh_connection,
    "a request is sent once when a pooled connection dies on it" => once::on_a_pooled_connection,
    "a pooled connection that died before costs no second request" => once::on_a_connection_that_died_idle,
    "a connection that idled too long carries no request" => once::the_idle_limit,
    "a name that does not resolve: not sent" => failures::no_such_name,
    "a refused connection: not sent" => failures::refused_connection,
    "a reset before the request was read: outcome unknown" => failures::reset_before_reading,
    "a reset after the request was read: outcome unknown" => failures::reset_after_reading,
    "an answer that is none, or not whole: outcome unknown" => failures::answers_that_are_none,
    "the body is cut while it streams" => failures::endless_body,
    "the limit of the body is exact" => failures::exact_limit,
    "headers without end are cut" => failures::endless_headers,
    "the deadline covers the wait for the answer and its body" => failures::deadline,
    "the deadline ends informational answers without end" => failures::deadline_of_early_hints,
    "TLS 1.2 and 1.3 with HTTP/1.1" => tls::answers,
    "the server's name is sent in the handshake" => tls::server_name,
    "a certificate that is not to be trusted: not sent" => tls::bad_certificates,
    "TLS 1.1 is refused: not sent" => tls::old_version,
    "a handshake that fails or breaks off: not sent" => tls::broken_handshakes,
    "a handshake that does not end: not sent, within the deadline" => tls::silent_handshake,
    "HTTP/2: an answer comes as it is" => http2::answers,
    "HTTP/2: informational answers are passed over" => http2::early_hints,
    "HTTP/2: a refused request is sent once" => http2::refused,
    "HTTP/2: a request that GOAWAY leaves out is sent once" => http2::left_out,
    "HTTP/2: a stream or connection that breaks: outcome unknown, sent once" => http2::breaks,
    "HTTP/2: a connection closed while idle costs no second request" => http2::closed_while_idle,
    "HTTP/2: the body is cut, and the deadline holds" => http2::limits,
}

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Broken {
    Violated(String),
    Skipped(String),
}

pub(crate) type Outcome<T = ()> = Result<T, Broken>;

/// What a check cannot do its work without counts against the transport as well: nothing fails in silence.
impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Violated(format!("the suite's own: {error}"))
    }
}

/// The transport under test, and what the checks share.
struct Bench<'a> {
    transport: Arc<dyn HttpTransport>,
    authority: &'a Authority,
    without_trust: Option<&'a str>,
}

impl Bench<'_> {
    /// Sends, and wants an answer.
    async fn answer(&self, request: HttpRequest) -> Outcome<HttpResponse> {
        let what = format!("{} {}", request.method, request.url.path());
        match self.transport.send(request).await {
            Ok(response) => Ok(response),
            Err(failure) => broken(format!("{what}: an answer was there, but {failure:?}")),
        }
    }

    /// Sends, and wants a failure of this delivery.
    async fn failure(&self, request: HttpRequest, delivery: Delivery, case: &str) -> Outcome<HttpFailure> {
        let failure = self.any_failure(request, case).await?;
        ensure(
            failure.delivery == delivery,
            format!("{case}: {delivery:?} is right, but {failure:?}"),
        )?;
        Ok(failure)
    }

    async fn any_failure(&self, request: HttpRequest, case: &str) -> Outcome<HttpFailure> {
        let failure = match self.transport.send(request).await {
            Ok(response) => return broken(format!("{case}: a failure, but {response:?}")),
            Err(failure) => failure,
        };
        ensure(
            !failure.detail.is_empty(),
            format!("{case}: the failure says nothing"),
        )?;
        ensure(
            !format!("{failure:?}").contains("secret"),
            format!("{case}: a secret in {failure:?}"),
        )?;
        Ok(failure)
    }

    fn needs_trust(&self) -> Outcome {
        match self.without_trust {
            Some(why) => Err(Broken::Skipped(why.to_owned())),
            None => Ok(()),
        }
    }
}

fn ensure(kept: bool, how: impl Into<String>) -> Outcome {
    if kept { Ok(()) } else { broken(how) }
}

fn broken<T>(how: impl Into<String>) -> Outcome<T> {
    Err(Broken::Violated(how.into()))
}

/// `None` once the time is over. A thread keeps it, since the transport's runtime may be any or none.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (over, is_over) = tokio::sync::oneshot::channel();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            over.send(()).unwrap_or_default();
        }
    });
    tokio::select! {
        biased;
        value = future => {
            drop(done);
            Some(value)
        }
        Ok(()) = is_over => None,
    }
}
