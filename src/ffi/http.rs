//! HTTP by the platform: the foreign trait, and the port it stands in for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use async_trait::async_trait;
use tracing::debug;

use crate::error::Delivery;
use crate::ports::{HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};

/// A transport that does not answer this long after its own deadline never will: a Kotlin `Error`, for one, kills
/// the coroutine without a word to Rust.
#[cfg(not(test))]
const GRACE: Duration = Duration::from_secs(5);
#[cfg(test)]
const GRACE: Duration = Duration::from_millis(50);

/// One request out, one answer back.
///
/// - Sends a request **at most once**: no retry, by any layer below.
/// - Throws `not_sent` only where no byte of the request can have left; all else is `unknown_outcome`, and so is an
///   exception of any other type.
/// - Follows no redirect, keeps no cookies, caches nothing. A status other than 2xx is an answer.
/// - Keeps duplicate headers. Cuts the body at `max_response_bytes` while it streams. Keeps to `timeout_millis`
///   from the call to the last byte. Honours `max_connection_idle_millis`.
/// - May be cancelled; the core never cancels a request that carries a code or a refresh token.
#[uniffi::export(foreign)]
#[async_trait]
pub(crate) trait FfiHttpTransport: Send + Sync {
    /// Sends one request and reads the whole answer.
    async fn send(&self, request: FfiHttpRequest) -> Result<FfiHttpResponse, FfiHttpFailure>;
}

/// A request to be sent exactly as it is.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiHttpRequest {
    /// The method, in capitals.
    pub(crate) method: String,
    /// Where to.
    pub(crate) url: String,
    /// The headers, in order. They may hold a secret.
    pub(crate) headers: Vec<FfiHeader>,
    /// The body, empty where there is none. It may hold a secret.
    pub(crate) body: Vec<u8>,
    /// How long the whole exchange may take.
    pub(crate) timeout_millis: u64,
    /// The longest answer to accept, after any decoding.
    pub(crate) max_response_bytes: u64,
    /// The longest time a pooled connection may have been idle before it carries this request.
    pub(crate) max_connection_idle_millis: Option<u64>,
}

/// One header line.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiHeader {
    /// Its name, in any case.
    pub(crate) name: String,
    /// Its value. It may be a secret.
    pub(crate) value: String,
}

/// An answer, whatever its status.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiHttpResponse {
    /// The status.
    pub(crate) status: u16,
    /// The headers, duplicates kept.
    pub(crate) headers: Vec<FfiHeader>,
    /// The body. It may hold tokens.
    pub(crate) body: Vec<u8>,
}

/// Why no complete answer was read. It holds no text: what a platform says may quote the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Error)]
pub(crate) enum FfiHttpFailure {
    /// What the transport knows of it.
    Failed {
        /// Whether the request can have reached the server.
        delivery: FfiDelivery,
        /// What failed.
        reason: FfiHttpFailureReason,
    },
    /// The transport threw what it should not have. Counts as `unknown_outcome`.
    Unexpected,
}

/// Whether a failed request can have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiDelivery {
    /// Certainly not: no byte of it left.
    NotSent,
    /// Perhaps, or nobody knows.
    UnknownOutcome,
}

/// What failed in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiHttpFailureReason {
    /// The name of the server did not resolve.
    NameNotResolved,
    /// No connection could be made.
    Connect,
    /// The proxy could not be reached, or opened no connection to the server.
    Proxy,
    /// The server's certificate is not trusted, not valid now, or for another host.
    TlsCertificate,
    /// The TLS handshake failed for another reason.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The connection broke.
    ConnectionLost,
    /// The answer was longer than allowed.
    BodyTooLarge,
    /// What came is not HTTP.
    InvalidAnswer,
    /// The transport refused to send the request as given.
    InvalidRequest,
    /// Anything else.
    Other,
}

/// The port, by way of the foreign trait.
pub(super) struct ForeignHttp(pub(super) Arc<dyn FfiHttpTransport>);

#[async_trait]
impl HttpTransport for ForeignHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let deadline = request.timeout.saturating_add(GRACE);
        let limit = request.max_response_bytes;
        let answer = match tokio::time::timeout(deadline, self.0.send(lower(&request)?)).await {
            Ok(answer) => answer.map_err(HttpFailure::from)?,
            Err(_) => {
                return Err(unknown(
                    HttpFailureReason::Timeout,
                    "the platform's HTTP did not keep to its deadline",
                ));
            }
        };
        lift(answer, limit)
    }
}

impl fmt::Debug for ForeignHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignHttp")
    }
}

fn unknown(reason: HttpFailureReason, detail: &str) -> HttpFailure {
    HttpFailure::new(Delivery::UnknownOutcome, reason, detail)
}

fn lower(request: &HttpRequest) -> Result<FfiHttpRequest, HttpFailure> {
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().map_err(|_| {
                HttpFailure::new(
                    Delivery::NotSent,
                    HttpFailureReason::InvalidRequest,
                    format!("the value of the header {name} is not ASCII"),
                )
            })?;
            Ok(FfiHeader {
                name: name.as_str().to_owned(),
                value: value.to_owned(),
            })
        })
        .collect::<Result<_, HttpFailure>>()?;
    Ok(FfiHttpRequest {
        method: request.method.as_str().to_owned(),
        url: request.url.as_str().to_owned(),
        headers,
        body: request.body.to_vec(),
        timeout_millis: millis(request.timeout),
        max_response_bytes: u64::try_from(request.max_response_bytes).unwrap_or(u64::MAX),
        max_connection_idle_millis: request.max_connection_idle.map(millis),
    })
}

fn lift(answer: FfiHttpResponse, limit: usize) -> Result<HttpResponse, HttpFailure> {
    let status = StatusCode::from_u16(answer.status).map_err(|_| {
        unknown(
            HttpFailureReason::Other,
            "the platform's HTTP gave a status that is none",
        )
    })?;
    if answer.body.len() > limit {
        return Err(unknown(
            HttpFailureReason::BodyTooLarge,
            "the answer is longer than allowed",
        ));
    }
    let mut headers = HeaderMap::new();
    for header in &answer.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        match (name, HeaderValue::from_bytes(header.value.as_bytes())) {
            (Ok(name), Ok(value)) => {
                headers.append(name, value);
            }
            // Java's client lists the pseudo-header `:status` of HTTP/2 with the others.
            _ => debug!("the platform's HTTP gave a header that is none"),
        }
    }
    Ok(HttpResponse::new(status, headers, answer.body))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<FfiHttpFailure> for HttpFailure {
    fn from(failure: FfiHttpFailure) -> Self {
        let FfiHttpFailure::Failed { delivery, reason } = failure else {
            return unknown(
                HttpFailureReason::Other,
                "the platform's HTTP threw an exception it should not have; its text is not shown, as it may hold a secret",
            );
        };
        let delivery = match delivery {
            FfiDelivery::NotSent => Delivery::NotSent,
            FfiDelivery::UnknownOutcome => Delivery::UnknownOutcome,
        };
        let (reason, detail) = match reason {
            FfiHttpFailureReason::NameNotResolved => {
                (HttpFailureReason::NameNotResolved, "the name did not resolve")
            }
            FfiHttpFailureReason::Connect => (HttpFailureReason::Connect, "no connection could be made"),
            FfiHttpFailureReason::Proxy => (HttpFailureReason::Proxy, "the proxy opened no connection"),
            FfiHttpFailureReason::TlsCertificate => (
                HttpFailureReason::TlsCertificate,
                "the server's certificate is not trusted",
            ),
            FfiHttpFailureReason::InvalidAnswer => {
                (HttpFailureReason::InvalidAnswer, "what came is not HTTP")
            }
            FfiHttpFailureReason::Tls => (HttpFailureReason::Tls, "the TLS handshake failed"),
            FfiHttpFailureReason::Timeout => (HttpFailureReason::Timeout, "the deadline passed"),
            FfiHttpFailureReason::ConnectionLost => {
                (HttpFailureReason::ConnectionLost, "the connection broke")
            }
            FfiHttpFailureReason::BodyTooLarge => (
                HttpFailureReason::BodyTooLarge,
                "the answer is longer than allowed",
            ),
            FfiHttpFailureReason::InvalidRequest => (
                HttpFailureReason::InvalidRequest,
                "the platform refused the request",
            ),
            FfiHttpFailureReason::Other => (HttpFailureReason::Other, "the platform's HTTP failed"),
        };
        Self::new(delivery, reason, detail)
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for FfiHttpFailure {
    /// The text is dropped unread.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unexpected
    }
}

impl fmt::Display for FfiHttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for FfiHttpFailure {}

impl fmt::Display for FfiHttpRequest {
    /// As [`HttpRequest`] prints, without URL: its query may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FfiHttpRequest({}, {} headers, {} bytes)",
            self.method,
            self.headers.len(),
            self.body.len()
        )
    }
}

impl fmt::Display for FfiHttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FfiHttpResponse({}, {} headers, {} bytes)",
            self.status,
            self.headers.len(),
            self.body.len()
        )
    }
}

impl fmt::Display for FfiHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfiHeader({}, redacted)", self.name)
    }
}

super::debug_as_display!(FfiHttpRequest, FfiHttpResponse, FfiHeader);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ::http::Method;
    use url::Url;

    use super::*;

    const SECRET: &str = "hunter2-refresh-token";

    /// Answers once with what it was given, and keeps the request; without an answer it never returns.
    struct Scripted {
        answer: Option<Result<FfiHttpResponse, FfiHttpFailure>>,
        seen: Mutex<Option<FfiHttpRequest>>,
    }

    #[async_trait]
    impl FfiHttpTransport for Scripted {
        async fn send(&self, request: FfiHttpRequest) -> Result<FfiHttpResponse, FfiHttpFailure> {
            *self.seen.lock().unwrap() = Some(request);
            match &self.answer {
                Some(answer) => answer.clone(),
                None => std::future::pending().await,
            }
        }
    }

    fn request() -> HttpRequest {
        let mut request = HttpRequest::new(Method::POST, Url::parse("https://as.example/token?q=1").unwrap());
        request.headers.append("x-twice", HeaderValue::from_static("1"));
        request.headers.append("x-twice", HeaderValue::from_static("2"));
        request.body = b"code=x".to_vec().into();
        request.timeout = Duration::from_millis(10);
        request.max_response_bytes = 4;
        request.max_connection_idle = Some(Duration::from_secs(5));
        request
    }

    async fn send(
        answer: Option<Result<FfiHttpResponse, FfiHttpFailure>>,
    ) -> (Result<HttpResponse, HttpFailure>, FfiHttpRequest) {
        let scripted = Arc::new(Scripted {
            answer,
            seen: Mutex::default(),
        });
        let outcome = ForeignHttp(scripted.clone()).send(request()).await;
        let seen = scripted.seen.lock().unwrap().take().unwrap();
        (outcome, seen)
    }

    fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> FfiHttpResponse {
        let header = |(name, value): &(&str, &str)| FfiHeader {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        FfiHttpResponse {
            status,
            headers: headers.iter().map(header).collect(),
            body: body.to_vec(),
        }
    }

    #[tokio::test]
    async fn a_request_and_its_answer_cross_whole() {
        let answer = response(
            302,
            &[("Set-Cookie", "a"), (":status", "302"), ("set-cookie", "b")],
            b"body",
        );
        let (outcome, seen) = send(Some(Ok(answer))).await;
        assert_eq!(
            (&*seen.method, &*seen.url),
            ("POST", "https://as.example/token?q=1")
        );
        let headers: Vec<_> = seen.headers.iter().map(|h| (&*h.name, &*h.value)).collect();
        assert_eq!(headers, [("x-twice", "1"), ("x-twice", "2")]);
        assert_eq!(seen.body, b"code=x");
        assert_eq!((seen.timeout_millis, seen.max_response_bytes), (10, 4));
        assert_eq!(seen.max_connection_idle_millis, Some(5_000));

        let answer = outcome.unwrap();
        assert_eq!(answer.status.as_u16(), 302);
        assert_eq!(&answer.body[..], b"body");
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(
            cookies,
            ["a", "b"],
            "duplicates are kept, and no header is made up"
        );
        assert_eq!(answer.headers.len(), 2, "what is no header is passed over");
    }

    #[tokio::test]
    async fn a_failure_keeps_what_it_knows() {
        let failed = |delivery, reason| Some(Err(FfiHttpFailure::Failed { delivery, reason }));
        for (reason, core) in [
            (
                FfiHttpFailureReason::NameNotResolved,
                HttpFailureReason::NameNotResolved,
            ),
            (FfiHttpFailureReason::Connect, HttpFailureReason::Connect),
            (FfiHttpFailureReason::Proxy, HttpFailureReason::Proxy),
            (
                FfiHttpFailureReason::TlsCertificate,
                HttpFailureReason::TlsCertificate,
            ),
            (
                FfiHttpFailureReason::InvalidAnswer,
                HttpFailureReason::InvalidAnswer,
            ),
            (FfiHttpFailureReason::Tls, HttpFailureReason::Tls),
            (FfiHttpFailureReason::Timeout, HttpFailureReason::Timeout),
            (
                FfiHttpFailureReason::ConnectionLost,
                HttpFailureReason::ConnectionLost,
            ),
            (
                FfiHttpFailureReason::BodyTooLarge,
                HttpFailureReason::BodyTooLarge,
            ),
            (
                FfiHttpFailureReason::InvalidRequest,
                HttpFailureReason::InvalidRequest,
            ),
            (FfiHttpFailureReason::Other, HttpFailureReason::Other),
        ] {
            for (delivery, expected) in [
                (FfiDelivery::NotSent, Delivery::NotSent),
                (FfiDelivery::UnknownOutcome, Delivery::UnknownOutcome),
            ] {
                let failure = send(failed(delivery, reason)).await.0.unwrap_err();
                assert_eq!((failure.delivery, failure.reason), (expected, core));
                assert!(!failure.detail.is_empty());
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_the_contract_is_an_unknown_outcome() {
        let unexpected = FfiHttpFailure::from(uniffi::UnexpectedUniFFICallbackError::new(SECRET));
        for (answer, reason) in [
            (Some(Err(unexpected)), HttpFailureReason::Other),
            (Some(Ok(response(99, &[], b""))), HttpFailureReason::Other),
            (
                Some(Ok(response(200, &[], b"12345"))),
                HttpFailureReason::BodyTooLarge,
            ),
            (None, HttpFailureReason::Timeout),
        ] {
            let failure = send(answer).await.0.unwrap_err();
            assert_eq!(
                (failure.delivery, failure.reason),
                (Delivery::UnknownOutcome, reason)
            );
            assert!(!format!("{failure:?}").contains(SECRET));
        }
    }

    #[tokio::test]
    async fn a_request_that_cannot_cross_was_not_sent() {
        let scripted = Arc::new(Scripted {
            answer: None,
            seen: Mutex::default(),
        });
        let mut request = request();
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        request.headers.insert("x-name", value);
        let failure = ForeignHttp(scripted.clone()).send(request).await.unwrap_err();
        assert_eq!(failure.delivery, Delivery::NotSent);
        assert_eq!(failure.reason, HttpFailureReason::InvalidRequest);
        assert!(scripted.seen.lock().unwrap().is_none());
    }

    #[test]
    fn nothing_that_may_be_secret_prints() {
        let header = FfiHeader {
            name: "authorization".to_owned(),
            value: SECRET.to_owned(),
        };
        let request = FfiHttpRequest {
            method: "POST".to_owned(),
            url: format!("https://as.example/?code={SECRET}"),
            headers: vec![header.clone()],
            body: SECRET.as_bytes().to_vec(),
            timeout_millis: 1,
            max_response_bytes: 1,
            max_connection_idle_millis: None,
        };
        let answer = response(200, &[("x", SECRET)], SECRET.as_bytes());
        let printed = format!("{header} {header:?} {request} {request:?} {answer} {answer:?}");
        assert!(!printed.contains(SECRET), "{printed}");
    }
}
