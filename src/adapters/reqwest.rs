//! HTTP by reqwest and rustls, held to the port's contract.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Delivery, Error, Result, Stage};
use crate::ports::{HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};

/// RFC 9110 leaves it open; ten seconds is long for a phone and short for a user.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pool drops connections that idle longer, so that no grant meets a dead one. One limit for all requests: the
/// pool has no other.
const MAX_IDLE: Duration = Duration::from_secs(5);

/// The default transport of a Rust program.
#[derive(Debug)]
pub(crate) struct ReqwestTransport(reqwest::Client);

impl ReqwestTransport {
    pub(crate) fn new() -> Result<Self> {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // reqwest would resend a request that HTTP/2 says was not processed; the core decides about resends.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(MAX_IDLE)
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .user_agent(concat!("gatepass/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(|error| {
                Error::internal(
                    Stage::Configuration,
                    format!("the HTTP client could not be made: {error}"),
                )
            })
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let limit = request.max_response_bytes;
        let mut response = self
            .0
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .timeout(request.timeout)
            .body(request.body.to_vec())
            .send()
            .await
            .map_err(failure)?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(HttpFailure::new(
                    Delivery::UnknownOutcome,
                    HttpFailureReason::BodyTooLarge,
                    format!("the answer is longer than {limit} bytes"),
                ));
            }
            grow(&mut body, chunk.len());
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

/// Makes room without leaving the bytes read so far behind on the heap, as `Vec` would.
fn grow(body: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = body.len().saturating_add(more);
    if needed > body.capacity() {
        let mut larger = Vec::with_capacity(needed.saturating_mul(2).max(4096));
        larger.extend_from_slice(body);
        let mut old = std::mem::replace(&mut **body, larger);
        old.zeroize();
    }
}

/// Sorts a failure. Whatever is not certain counts as perhaps sent.
fn failure(error: reqwest::Error) -> HttpFailure {
    let error = error.without_url();
    let detail = causes(&error);
    let (delivery, reason) = if error.is_builder() {
        (Delivery::NotSent, HttpFailureReason::InvalidRequest)
    } else if error.is_connect() {
        // Name lookup, TCP and TLS: no byte of the request has been written.
        let tls = is_tls(&error)
            || ["certificate", "tls", "TLS"]
                .iter()
                .any(|word| detail.contains(word));
        (
            Delivery::NotSent,
            if tls {
                HttpFailureReason::Tls
            } else {
                HttpFailureReason::Connect
            },
        )
    } else if error.is_timeout() {
        (Delivery::UnknownOutcome, HttpFailureReason::Timeout)
    } else {
        (Delivery::UnknownOutcome, HttpFailureReason::ConnectionLost)
    };
    HttpFailure::new(delivery, reason, detail)
}

/// rustls reports a failed handshake as invalid data, which neither a name lookup nor a connect does. Its own texts do not
/// always say TLS ("received corrupt message", "received fatal alert").
fn is_tls(error: &reqwest::Error) -> bool {
    fn is_invalid_data(error: &std::io::Error) -> bool {
        // An I/O error that wraps another passes it over in `source`.
        let wrapped = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<std::io::Error>());
        error.kind() == std::io::ErrorKind::InvalidData || wrapped.is_some_and(is_invalid_data)
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref().is_some_and(is_invalid_data) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The whole chain of causes in one line: the outermost alone says little ("error sending request").
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    crate::protocol::text::clean(&text, 300)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::http::conformance;

    #[tokio::test]
    async fn reqwest_keeps_the_contract_of_the_port() {
        conformance::suite(Arc::new(ReqwestTransport::new().unwrap())).await;
    }

    #[test]
    fn growing_keeps_what_was_read() {
        let mut body = Zeroizing::new(Vec::new());
        for chunk in [&b"abc"[..], &[b'x'; 5_000], b"z"] {
            grow(&mut body, chunk.len());
            let before = body.as_ptr();
            body.extend_from_slice(chunk);
            assert_eq!(
                body.as_ptr(),
                before,
                "it was large enough, so nothing was left behind"
            );
        }
        assert_eq!(body.len(), 5_004);
        assert!(body.starts_with(b"abcx") && body.ends_with(b"xz"));
    }
}
