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
const GRACE: Duration = Duration::from_secs(5);

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
    /// The name did not resolve, or no connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The connection broke.
    ConnectionLost,
    /// The answer was longer than allowed.
    BodyTooLarge,
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
            FfiHttpFailureReason::Connect => (HttpFailureReason::Connect, "no connection could be made"),
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
