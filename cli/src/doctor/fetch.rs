//! Asking a host for a file: by the HTTP port, with a deadline and a cap, no redirect followed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepass::association::{FetchFailure, Fetched};
use gatepass::{HttpFailureReason, HttpRequest, HttpTransport, ReqwestTransport};
use http::{HeaderValue, Method, header};
use url::Url;

use crate::failure::Failure;
use crate::program::Program;

/// Fetches, and says what it does while that takes its time.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    program: &'a Program,
    timeout: Duration,
    transport: std::cell::OnceCell<ReqwestTransport>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(program: &'a Program, timeout: Duration) -> Self {
        Self {
            program,
            timeout,
            transport: std::cell::OnceCell::new(),
        }
    }

    pub(super) async fn get(&self, url: &str, max_bytes: usize) -> Result<Fetched, Failure> {
        Ok(self.get_at(url, max_bytes).await?.0)
    }

    /// The same, with the time of this machine when the answer was there, in seconds since 1970.
    pub(super) async fn get_at(
        &self,
        url: &str,
        max_bytes: usize,
    ) -> Result<(Fetched, Option<i64>), Failure> {
        self.ask(HttpRequest::new(Method::GET, parse(url)?), max_bytes)
            .await
    }

    /// Posts a form.
    pub(super) async fn post(&self, url: &str, form: Vec<u8>, max_bytes: usize) -> Result<Fetched, Failure> {
        let mut request = HttpRequest::new(Method::POST, parse(url)?);
        request.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request.body = form.into();
        Ok(self.ask(request, max_bytes).await?.0)
    }

    async fn ask(
        &self,
        mut request: HttpRequest,
        max_bytes: usize,
    ) -> Result<(Fetched, Option<i64>), Failure> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        request.timeout = self.timeout;
        request.max_response_bytes = max_bytes;
        request.headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, */*;q=0.5"),
        );
        let transport = self.transport(&request.url)?;
        let asked = transport.send(request);
        let answer = self
            .program
            .unless_asked(&format!("Asking {host}"), asked)
            .await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let now = now.and_then(|now| i64::try_from(now.as_secs()).ok());
        let fetched = match answer {
            Ok(answer) => Fetched::answer(
                answer.status.as_u16(),
                answer
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_bytes())),
                answer.body.to_vec(),
            ),
            Err(failure) => {
                let why = match failure.reason {
                    HttpFailureReason::TlsCertificate | HttpFailureReason::Tls => FetchFailure::Tls,
                    HttpFailureReason::Timeout => FetchFailure::Timeout,
                    HttpFailureReason::BodyTooLarge => FetchFailure::TooLong,
                    _ => FetchFailure::Unreachable,
                };
                Fetched::failed(why, format!("{} [{}]", failure.detail, failure.reason.code()))
            }
        };
        Ok((fetched, now))
    }

    fn transport(&self, url: &Url) -> Result<&ReqwestTransport, Failure> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let made = ReqwestTransport::toward(url)?;
        Ok(self.transport.get_or_init(|| made))
    }
}

fn parse(url: &str) -> Result<Url, Failure> {
    Url::parse(url).map_err(|error| Failure::internal(format!("{url:?}: {error}")))
}
