//! Answers a server can be made to give instead of its own: outages, captive portals, redirects, rubbish.

use super::clock::http_date;
use super::faults::FaultError;
use super::http::{Response, Wire};
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use std::time::Duration;

/// An answer that takes the place of the server's own.
///
/// ```
/// use gatepass::test_server::{CannedAnswer, Endpoint, TestServer};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let busy = CannedAnswer::status(429).retry_after(Duration::from_secs(30));
/// let outage = server.fault(Endpoint::Token).next(2).answer(busy)?;
/// // … the app refreshes …
/// # assert_eq!(outage.fired(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an answer is given once a fault has it"]
pub struct CannedAnswer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    retry_at: Option<Duration>,
    body: Vec<u8>,
    oversized: Option<u64>,
    /// The first thing wrong with it; told when it is given to a fault.
    problem: Option<FaultError>,
}

impl CannedAnswer {
    /// An answer with this status, 200 to 599, and no body.
    pub fn status(status: u16) -> Self {
        let known = StatusCode::from_u16(status)
            .ok()
            .filter(|code| (200..600).contains(&code.as_u16()));
        Self {
            status: known.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: Vec::new(),
            retry_at: None,
            body: Vec::new(),
            oversized: None,
            problem: known.is_none().then_some(FaultError::BadStatus(status)),
        }
    }

    /// An error answer of RFC 6749 §5.2, for instance `(400, "invalid_grant")`.
    pub fn oauth_error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "error": code, "error_description": "The test asked for this." });
        Self::status(status)
            .header("cache-control", "no-store")
            .body("application/json", body.to_string())
    }

    /// A redirect, 300 to 399, that no client of ours may follow.
    pub fn redirect(status: u16, location: &str) -> Self {
        let answer = Self::status(status).header("location", location);
        if (300..400).contains(&status) {
            answer
        } else {
            answer.broken(FaultError::BadStatus(status))
        }
    }

    /// What a hotel's network answers to everything: a page, with status 200.
    pub fn captive_portal() -> Self {
        Self::status(200).body(
            "text/html; charset=utf-8",
            "<!doctype html><html><head><title>Welcome</title></head><body><h1>Accept our terms</h1>\
             <form method=\"post\" action=\"/accept\"><button>Connect</button></form></body></html>",
        )
    }

    /// Status 200 and the media type of JSON, with bytes that are neither JSON nor UTF-8.
    pub fn garbage() -> Self {
        Self::status(200).body(
            "application/json",
            [0x7b, 0x22, 0xff, 0xfe, 0x00, 0x22, 0x3a, 0x5d, 0x0a],
        )
    }

    /// Status 200 and a JSON string of this many bytes, sent without a length: a client must stop reading by itself. The
    /// bytes are made while they are sent, so `u64::MAX` is an answer that never ends.
    pub fn oversized(bytes: u64) -> Self {
        Self {
            oversized: Some(bytes),
            ..Self::status(200).header("content-type", "application/json")
        }
    }

    /// With this body and its media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(name, _)| name != header::CONTENT_TYPE);
        self.body = body.into();
        self.oversized = None;
        self.header("content-type", content_type)
    }

    /// With one more header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match header_field(name, value) {
            Ok(field) => {
                self.headers.push(field);
                self
            }
            Err(problem) => self.broken(problem),
        }
    }

    /// With `Retry-After` in seconds (RFC 9110 §10.2.3).
    pub fn retry_after(self, wait: Duration) -> Self {
        self.header("retry-after", &wait.as_secs().to_string())
    }

    /// With `Retry-After` as the date this long after the answer, by the server's clock (RFC 9110 §10.2.3).
    pub fn retry_after_date(self, wait: Duration) -> Self {
        Self {
            retry_at: Some(wait),
            ..self
        }
    }

    fn broken(mut self, problem: FaultError) -> Self {
        self.problem.get_or_insert(problem);
        self
    }

    pub(super) fn check(self) -> Result<Self, FaultError> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(self),
        }
    }

    pub(super) fn response(&self, now: i64) -> Response {
        let mut response = Response {
            headers: self.headers.clone(),
            body: self.body.clone(),
            ..Response::empty(self.status)
        };
        if let Some(wait) = self.retry_at {
            let at = http_date(now.saturating_add(super::grants::millis(wait)));
            response = response.with(header::RETRY_AFTER, at);
        }
        if let Some(bytes) = self.oversized {
            response.wire = Wire::Oversized(bytes);
        }
        response
    }
}

/// A header field that can be written on the wire.
pub(super) fn header_field(name: &str, value: &str) -> Result<(HeaderName, String), FaultError> {
    let bad = || FaultError::BadHeader(name.to_owned());
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    // The HTTP library writes these itself, and must: a wrong one would make the answer two.
    if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
        return Err(bad());
    }
    HeaderValue::from_str(value).map_err(|_| bad())?;
    Ok((name, value.to_owned()))
}
