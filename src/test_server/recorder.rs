//! Every request the server has seen, for tests to assert on.

use super::http::Request;
use super::params::Params;
use hyper::StatusCode;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The oldest requests are forgotten beyond this many.
const KEPT: usize = 50_000;

/// Parameters that `Debug` may show: everything else can be, or can lead to, a secret.
const SHOWN_PARAMETERS: [&str; 19] = [
    "acr_values",
    "client_id",
    "code_challenge_method",
    "display",
    "error",
    "error_description",
    "grant_type",
    "iss",
    "max_age",
    "post_logout_redirect_uri",
    "prompt",
    "redirect_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "token_type_hint",
    "ui_locales",
    "username",
];
const SHOWN_HEADERS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "origin",
    "transfer-encoding",
    "user-agent",
];

/// One request as the server received it.
///
/// `Debug` hides every value that is or may be secret (codes, tokens, verifiers, passwords, cookies,
/// `state`, …), so that a failing assertion can be printed anywhere; the accessors give them to tests.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::TestServer;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::start()?;
///     let client = client(&server)?;
///     sign_in(&server, &client, &server.users()[0]).await?;
///     let requests = server.requests();
///     let exchange = requests.iter().find(|request| request.path() == "/token").unwrap();
///     assert_eq!((exchange.method(), exchange.status()), ("POST", Some(200)));
///     assert_eq!(exchange.form_value("grant_type"), Some("authorization_code"));
///     // Printing it shows neither code nor verifier.
///     let code = exchange.form_value("code").unwrap();
///     assert!(!format!("{exchange:?}").contains(code));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct RecordedRequest {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    form: Vec<(String, String)>,
    body: Vec<u8>,
    status: Option<u16>,
}

impl RecordedRequest {
    /// The method, for instance `POST`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path without the query, as sent.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The decoded parameters of the query, in order.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The first value of a parameter of the query.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }

    /// The header fields in order, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The first value of a header field, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The decoded parameters of a form, in order; empty when the body was no form.
    pub fn form(&self) -> &[(String, String)] {
        &self.form
    }

    /// The first value of a parameter of the form.
    pub fn form_value(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }

    /// The body as received.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The status the server answered with; `None` while it has not, or when it never did.
    pub fn status(&self) -> Option<u16> {
        self.status
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &Redacted(&self.query, &SHOWN_PARAMETERS))
            .field("headers", &Redacted(&self.headers, &SHOWN_HEADERS))
            .field("form", &Redacted(&self.form, &SHOWN_PARAMETERS))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("status", &self.status)
            .finish()
    }
}

/// Prints pairs, but only the values of names known to be harmless.
struct Redacted<'a>(&'a [(String, String)], &'a [&'a str]);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str| self.1.contains(&name);
        f.debug_map()
            .entries(
                self.0
                    .iter()
                    .map(|(name, value)| (name, if shown(name) { value.as_str() } else { "[redacted]" })),
            )
            .finish()
    }
}

/// The record of one server.
pub(super) struct Recorder(Mutex<Record>);

#[derive(Default)]
struct Record {
    requests: VecDeque<RecordedRequest>,
    forgotten: u64,
}

impl Record {
    fn index(&self, ticket: Ticket) -> Option<usize> {
        usize::try_from(ticket.0.checked_sub(self.forgotten)?).ok()
    }
}

/// Finds a request again to note its answer.
#[derive(Clone, Copy)]
pub(super) struct Ticket(u64);

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder(Mutex::new(Record::default()))
    }

    pub(super) fn arrived(&self, request: &Request) -> Ticket {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs = |params: Option<Params>| params.map(|p| p.pairs().to_vec()).unwrap_or_default();
        let recorded = RecordedRequest {
            method: request.method.to_string(),
            path: request.path.clone(),
            query: pairs(request.query_params()),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
                .collect(),
            form: pairs(request.form_params()),
            body: request.body.clone(),
            status: None,
        };
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if record.requests.len() >= KEPT {
            record.requests.pop_front();
            record.forgotten += 1;
        }
        record.requests.push_back(recorded);
        Ticket(record.forgotten + record.requests.len() as u64 - 1)
    }

    pub(super) fn answered(&self, ticket: Ticket, status: StatusCode) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(request) = record
            .index(ticket)
            .and_then(|index| record.requests.get_mut(index))
        {
            request.status = Some(status.as_u16());
        }
    }

    /// One request, unless it is forgotten already.
    pub(super) fn recorded(&self, ticket: Ticket) -> Option<RecordedRequest> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.requests.get(record.index(ticket)?).cloned()
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .requests
            .iter()
            .cloned()
            .collect()
    }
}
