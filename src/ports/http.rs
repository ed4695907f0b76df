//! HTTP: one request out, one answer back, at most once.

use std::fmt::Debug;
use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode};
use async_trait::async_trait;
use url::Url;
use zeroize::Zeroizing;

use crate::error::Delivery;

/// A request as the core wants it sent.
///
/// ```
/// use gatepass::HttpRequest;
/// use http::{Method, header};
///
/// let mut request = HttpRequest::new(Method::POST, "https://login.example.com/token?hint=ada".parse()?);
/// request.headers.insert(header::ACCEPT, "application/json".parse()?);
/// request.body.extend_from_slice(b"grant_type=refresh_token");
/// request.timeout = std::time::Duration::from_secs(10);
/// // Neither the query nor the body is printed.
/// let printed = format!("{request:?}");
/// assert!(printed.contains("login.example.com") && !printed.contains("ada") && !printed.contains("grant_type"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Where to. The scheme is https, or http to a loopback address that the app allowed by name.
    pub url: Url,
    /// The headers. Values that hold a secret are marked sensitive, so that they do not print.
    pub headers: HeaderMap,
    /// The body, empty where there is none. It may hold a secret.
    pub body: Zeroizing<Vec<u8>>,
    /// How long the whole exchange may take, from the call to the last byte of the answer.
    pub timeout: Duration,
    /// The longest answer body to accept, in bytes after any decoding. Longer is
    /// [`HttpFailureReason::BodyTooLarge`], noticed while streaming.
    pub max_response_bytes: usize,
    /// The longest time a pooled connection may have been idle before it carries this request.
    pub max_connection_idle: Option<Duration>,
}

impl HttpRequest {
    /// A request without headers and body, with the default limits: 30 s, 1 MiB.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Zeroizing::new(Vec::new()),
            timeout: Duration::from_secs(30),
            max_response_bytes: 1 << 20,
            max_connection_idle: None,
        }
    }
}

impl Debug for HttpRequest {
    /// Method, scheme, host and path only: queries and bodies hold codes and tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
///
/// ```
/// use gatepass::HttpResponse;
/// use http::{HeaderMap, StatusCode, header};
///
/// let mut headers = HeaderMap::new();
/// headers.append(header::CONTENT_TYPE, "application/json".parse()?);
/// let response = HttpResponse::new(StatusCode::OK, headers, br#"{"access_token":"3f"}"#.to_vec());
/// assert!(!format!("{response:?}").contains("access_token"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, duplicates kept, in the order they came.
    pub headers: HeaderMap,
    /// The body. Overwritten when dropped: it may hold tokens.
    pub body: Zeroizing<Vec<u8>>,
}

impl HttpResponse {
    /// An answer from its parts.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self {
            status,
            headers,
            body: Zeroizing::new(body),
        }
    }
}

impl Debug for HttpResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why no complete answer was read.
///
/// ```
/// use std::sync::Arc;
/// use gatepass::{Client, Delivery, ErrorKind, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};
///
/// /// For a test: a device that is offline.
/// #[derive(Debug)]
/// struct Offline;
///
/// #[async_trait::async_trait]
/// impl HttpTransport for Offline {
///     async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFailure> {
///         Err(HttpFailure::new(Delivery::NotSent, HttpFailureReason::NameNotResolved, "flight mode"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> gatepass::Result<()> {
/// let client = Client::builder("https://login.example.com", "my-app").http_transport(Arc::new(Offline)).build()?;
/// let error = client.authorization_server().await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Network(Delivery::NotSent));
/// assert_eq!(error.code(), "name_not_resolved");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpFailure {
    /// Whether the request can have reached the server. Unknown counts as [`Delivery::UnknownOutcome`].
    pub delivery: Delivery,
    /// What failed.
    pub reason: HttpFailureReason,
    /// A text for people, without secrets (a proxy's password is one) and without the query of a URL.
    pub detail: String,
}

impl HttpFailure {
    /// A failure from its parts.
    #[must_use]
    pub fn new(delivery: Delivery, reason: HttpFailureReason, detail: impl Into<String>) -> Self {
        Self {
            delivery,
            reason,
            detail: detail.into(),
        }
    }
}

/// What failed in an exchange.
///
/// ```
/// use gatepass::HttpFailureReason;
/// use std::io;
///
/// fn reason(error: &io::Error) -> HttpFailureReason {
///     match error.kind() {
///         io::ErrorKind::ConnectionRefused => HttpFailureReason::Connect,
///         io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => HttpFailureReason::ConnectionLost,
///         io::ErrorKind::TimedOut => HttpFailureReason::Timeout,
///         _ => HttpFailureReason::Other,
///     }
/// }
/// assert_eq!(reason(&io::ErrorKind::TimedOut.into()).code(), "timeout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpFailureReason {
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

impl HttpFailureReason {
    /// The stable code that an [`Error`](crate::Error) of this cause carries.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NameNotResolved => "name_not_resolved",
            Self::Connect => "connect_failed",
            Self::Proxy => "proxy_failed",
            Self::TlsCertificate => "tls_certificate",
            Self::Tls => "tls_handshake",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::BodyTooLarge => "body_too_large",
            Self::InvalidAnswer => "invalid_http",
            Self::InvalidRequest => "invalid_request",
            Self::Other => "transport_failed",
        }
    }
}

/// The HTTP port.
///
/// # Contract
/// - **Sends a request at most once.** No retry of any kind, by any layer below: a code or a refresh token that
///   is sent twice can end the session at the server.
/// - Says [`Delivery::NotSent`] only where the server cannot have acted on the request: no byte of its body has left
///   (without a body, none at all), or HTTP/2 says that it was not processed (RFC 9113 §6.8, §8.7). All else is
///   [`Delivery::UnknownOutcome`].
/// - Follows no redirect, keeps no cookies, caches nothing. A status other than 2xx is an answer, not a failure;
///   an informational one (103) is neither.
/// - Keeps duplicate headers. Cuts the body at `max_response_bytes` while it streams, and a header block before it
///   fills the memory. Gives a body with a `Content-Encoding` as it came, or decodes it and counts what comes out.
/// - Keeps to `timeout` by itself, from the call to the last byte of the body.
/// - Honours `max_connection_idle`: a pooled connection that died while idle is the classic cause of a request
///   whose outcome nobody knows.
/// - Checks the server's certificate and name (RFC 6749 §10.9) with TLS 1.2 or newer (RFC 9325 §3.1.1).
/// - Dropping the future may abort the exchange. The core never drops one that carries a code or a refresh
///   token.
///
/// The feature `conformance` has all of this as a suite for a transport of your own.
///
/// ```
/// use gatepass::{Delivery, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};
///
/// /// A transport over the client that an app has already, here named `exchange`.
/// #[derive(Debug)]
/// struct MyTransport;
/// # async fn exchange(_: HttpRequest) -> Result<(u16, Vec<u8>), bool> { Ok((200, Vec::new())) }
///
/// #[async_trait::async_trait]
/// impl HttpTransport for MyTransport {
///     async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
///         match exchange(request).await {
///             Ok((status, body)) => {
///                 let status = http::StatusCode::from_u16(status).map_err(|_| {
///                     HttpFailure::new(Delivery::UnknownOutcome, HttpFailureReason::InvalidAnswer, "a strange status")
///                 })?;
///                 Ok(HttpResponse::new(status, http::HeaderMap::new(), body))
///             }
///             Err(was_connected) => Err(match was_connected {
///                 false => HttpFailure::new(Delivery::NotSent, HttpFailureReason::Connect, "no connection"),
///                 true => HttpFailure::new(Delivery::UnknownOutcome, HttpFailureReason::ConnectionLost, "it broke"),
///             }),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait HttpTransport: Send + Sync + Debug {
    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpFailure`] if no whole answer came, which says whether the server can have acted on the request.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure>;
}

#[cfg(any(test, feature = "conformance"))]
pub(crate) mod conformance;
#[cfg(test)]
mod tests;
