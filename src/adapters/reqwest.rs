//! HTTP by reqwest and rustls, held to the port's contract.

mod failure;

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use url::{Host, Url};
use zeroize::Zeroizing;

use self::failure::Progress;
use crate::error::{Delivery, Error, Result};
use crate::ports::{HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};
use crate::secret::SecretBuffer;

/// No clock has room for every `Duration`.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 9110 leaves it open; eight seconds is long for a phone and short for a user, and it is over before the
/// deadline of a refresh, so that the failure says that there was no connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// The pool drops connections that idle longer, so that no grant meets a dead one. A request that asks for less
/// gets a connection of its own: a pool has one limit for all.
const MAX_IDLE: Duration = Duration::from_secs(5);

/// A deadline that is noticed later than this was slept through.
const WOKEN_LATE: Duration = Duration::from_millis(200);
/// How long what lies in the socket may take to be read after such a sleep.
const THAW: Duration = Duration::from_secs(2);

/// The default transport of a Rust program.
///
/// - TLS 1.2 or newer, by rustls and the platform's roots: those an enterprise installed count, on Linux also
///   those named by `SSL_CERT_FILE`. There is no switch that trusts more.
/// - The system's proxy, on Linux that of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; never for this machine
///   itself.
/// - HTTP/2 where the server offers it, else HTTP/1.1.
/// - No decompression: it asks for `identity` (RFC 9110 §12.5.3), and a body that is encoded all the same is
///   given as it came, with its `Content-Encoding`.
/// - Header blocks of at most 100 fields and 400 KiB (HTTP/1.1) or 16 KiB (HTTP/2).
///
/// A [`Client`](crate::Client) makes its own. This is for whoever fetches something by the same rules:
///
/// ```no_run
/// use gatepass::{HttpRequest, HttpTransport as _, ReqwestTransport};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "https://app.example.com/.well-known/assetlinks.json".parse()?;
/// let request = HttpRequest::new(http::Method::GET, url);
/// let response = ReqwestTransport::toward(&request.url)?.send(request).await.map_err(|failure| failure.detail)?;
/// assert_eq!(response.status, 200);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ReqwestTransport {
    /// To other machines, by the proxy where there is one.
    elsewhere: Connections,
    /// To this machine: a proxy would look for the server on its own.
    here: Connections,
    /// Trusted besides the platform's roots.
    #[cfg(test)]
    roots: Vec<reqwest::Certificate>,
}

/// Made when first needed: each reads the platform's roots.
#[derive(Debug, Default)]
struct Connections {
    pooled: OnceLock<reqwest::Client>,
    unpooled: OnceLock<reqwest::Client>,
}

impl ReqwestTransport {
    /// To wherever this server is, and from then on to any other. Reads the platform's root certificates, which takes
    /// milliseconds.
    ///
    /// # Errors
    /// `http_unavailable`, of the kind Configuration: there are no root certificates.
    pub fn toward(server: &Url) -> Result<Self> {
        let transport = Self::default();
        // At once, so that a machine without root certificates is known before the first sign-in; and only the one that
        // will be needed, as it takes milliseconds of a start.
        let here = is_this_machine(server);
        let client = transport
            .build(here, MAX_IDLE)
            .map_err(|why| Error::configuration("http_unavailable", "RFC 6749 §1.6", why))?;
        let connections = if here {
            &transport.here
        } else {
            &transport.elsewhere
        };
        drop(connections.pooled.set(client));
        Ok(transport)
    }

    /// To a server on another machine.
    #[cfg(test)]
    pub(crate) fn new() -> Result<Self> {
        Self::toward(&Url::parse("https://login.example.com").unwrap())
    }

    /// For tests: trusts one root more.
    #[cfg(test)]
    fn trusting(root_pem: &str) -> Self {
        Self {
            roots: vec![reqwest::Certificate::from_pem(root_pem.as_bytes()).unwrap()],
            ..Self::default()
        }
    }

    fn build(&self, here: bool, max_idle: Duration) -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // reqwest would resend a request that HTTP/2 says was not processed; the core decides about resends.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(max_idle)
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .user_agent(concat!("gatepass/", env!("CARGO_PKG_VERSION")));
        if max_idle.is_zero() {
            builder = builder.pool_max_idle_per_host(0);
        }
        if here {
            builder = builder.no_proxy();
        }
        #[cfg(test)]
        if !self.roots.is_empty() {
            builder = builder.tls_certs_merge(self.roots.iter().cloned());
        }
        builder
            .build()
            .map_err(|error| format!("the HTTP client could not be made: {}", failure::causes(&error)))
    }

    fn client(&self, request: &HttpRequest) -> Result<&reqwest::Client, HttpFailure> {
        let here = is_this_machine(&request.url);
        let connections = if here { &self.here } else { &self.elsewhere };
        let (client, max_idle) = match request.max_connection_idle {
            Some(limit) if limit < MAX_IDLE => (&connections.unpooled, Duration::ZERO),
            _ => (&connections.pooled, MAX_IDLE),
        };
        if client.get().is_none() {
            let made = self
                .build(here, max_idle)
                .map_err(|why| HttpFailure::new(Delivery::NotSent, HttpFailureReason::Other, why))?;
            // Another thread may have been faster; one of the two is kept.
            drop(client.set(made));
        }
        client
            .get()
            .ok_or_else(|| HttpFailure::new(Delivery::NotSent, HttpFailureReason::Other, "no HTTP client"))
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        refuse_plain_http(&request.url)?;
        let client = self.client(&request)?;
        let limit = request.max_response_bytes;
        let HttpRequest {
            method,
            url,
            mut headers,
            body,
            timeout,
            ..
        } = request;
        headers
            .entry(ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("identity"));
        let (body, begun) = RequestBody::new(body);
        let request = client
            .request(method, url)
            .headers(headers)
            .body(reqwest::Body::wrap(body));
        let timeout = timeout.min(LONGEST_WAIT);
        let deadline = Instant::now() + timeout;
        let mut exchange = std::pin::pin!(exchange(request, &begun, limit));
        if let Ok(outcome) = tokio::time::timeout(timeout, exchange.as_mut()).await {
            return outcome;
        }
        // The timer may have run out while this process was frozen, as phones and shells do with those in the background.
        // Then the answer lies in the socket, unread; it is not dropped for a timer that ran out in the same sleep.
        let grace = if deadline.elapsed() > WOKEN_LATE {
            THAW
        } else {
            WOKEN_LATE
        };
        match tokio::time::timeout(grace, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failure::timed_out(begun.progress())),
        }
    }
}

/// One request and its answer, for as long as that takes.
async fn exchange(
    request: reqwest::RequestBuilder,
    begun: &Begun,
    limit: usize,
) -> Result<HttpResponse, HttpFailure> {
    let sent = request.send().await;
    let mut response = sent.map_err(|error| failure::sorted(error, begun.progress()))?;
    let mut body = SecretBuffer::default();
    let mut read = 0_usize;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failure::sorted(error, Progress::Answered))?
    {
        read = read.saturating_add(chunk.len());
        if read > limit {
            return Err(HttpFailure::new(
                Delivery::UnknownOutcome,
                HttpFailureReason::BodyTooLarge,
                format!("the answer is longer than {limit} bytes"),
            ));
        }
        body.extend(&chunk);
    }
    Ok(HttpResponse {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: body.into_bytes(),
    })
}

/// The core has checked the URL before. Checked here as well, so that no mistake elsewhere sends a token in the
/// clear (RFC 6750 §5.3).
fn refuse_plain_http(url: &Url) -> Result<(), HttpFailure> {
    if url.scheme() == "https" || (url.scheme() == "http" && crate::protocol::endpoint::is_loopback(url)) {
        return Ok(());
    }
    Err(HttpFailure::new(
        Delivery::NotSent,
        HttpFailureReason::InvalidRequest,
        "only https leaves this machine",
    ))
}

/// What browsers keep away from a proxy: 127.0.0.1, [::1] and the names of RFC 6761 §6.3.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// A body that tells whether it was asked for. It is overwritten when the last part of the stack lets it go, and
/// cannot be cloned, so that nothing below can send it twice.
struct RequestBody {
    bytes: Option<Bytes>,
    begun: Begun,
}

/// Whether the body of a request was asked for, which happens once there is a connection to write it to.
#[derive(Clone)]
struct Begun {
    has_body: bool,
    asked_for: Arc<AtomicBool>,
}

impl RequestBody {
    fn new(bytes: Zeroizing<Vec<u8>>) -> (Self, Begun) {
        let begun = Begun {
            has_body: !bytes.is_empty(),
            asked_for: Arc::default(),
        };
        let bytes = begun.has_body.then(|| Bytes::from_owner(bytes));
        let body = Self {
            bytes,
            begun: begun.clone(),
        };
        (body, begun)
    }
}

impl Begun {
    fn progress(&self) -> Progress {
        // Nobody asks for a body that is not there, so a request without one tells nothing.
        if self.has_body && !self.asked_for.load(Ordering::SeqCst) {
            Progress::BodyNotAskedFor
        } else {
            Progress::Unknown
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.begun.asked_for.store(true, Ordering::SeqCst);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
