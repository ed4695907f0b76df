//! HTTP: connections in, one request at a time through record, fault seam and route, answers out.

use super::clock::http_date;
use super::faults::Before;
use super::par::{self, Par};
use super::params::Params;
use super::payload::{Dropped, Payload};
use super::{State, apis, authorize, metadata, resource, revocation, sign_out, token};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Header and buffer bytes of one request: room for an authorization URL with a long `id_token_hint`.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 64 * 1024;
const MAX_CONNECTIONS: usize = 512;
/// For a client to send its head, and again its body. Real time, as it guards the server, not a lifetime.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A request read whole.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn query_params(&self) -> Option<Params> {
        Params::decode(self.query.as_bytes())
    }

    /// The parameters of a form; `None` when the body is not one.
    pub(super) fn form_params(&self) -> Option<Params> {
        let media_type = self.header(header::CONTENT_TYPE)?.split(';').next()?.trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        Params::decode(&self.body)
    }

    /// Parameters from wherever the method puts them: the query of a GET, the form of a POST.
    pub(super) fn params(&self) -> Option<Params> {
        if self.method == Method::POST {
            self.form_params()
        } else {
            self.query_params()
        }
    }

    /// The value of a header field that was sent exactly once.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            None
        } else {
            Some(value)
        }
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    }
}

/// An answer about to be written.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Vec<u8>,
    pub(super) wire: Wire,
}

/// How the body of an answer goes onto the wire.
pub(super) enum Wire {
    Whole,
    /// Half of it, then the connection breaks.
    Truncated,
    /// A JSON string of this many bytes in its place.
    Oversized(u64),
}

impl Response {
    pub(super) fn empty(status: StatusCode) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            wire: Wire::Whole,
        }
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Response {
        Response {
            body: value.to_string().into_bytes(),
            ..Response::empty(status)
        }
        .with(header::CONTENT_TYPE, "application/json")
    }

    pub(super) fn text(status: StatusCode, text: &str) -> Response {
        Response {
            body: format!("{text}\n").into_bytes(),
            ..Response::empty(status)
        }
        .with(header::CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// Keeps caches away from tokens and personal data (RFC 6749 §5.1).
    pub(super) fn no_store(self) -> Response {
        self.with(header::CACHE_CONTROL, "no-store")
            .with(header::PRAGMA, "no-cache")
    }
}

/// Answers connections until the future is dropped.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: accepting again at once would only spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            serve_connection(stream, state).await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    // Latency of small answers matters more here than the number of packets.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let response = match read(request).await {
                Err(refusal) => refusal,
                Ok(request) => {
                    // On its own, so that a request read whole takes its course although its client hangs up.
                    let state = Arc::clone(&state);
                    tokio::spawn(async move { exchange(&state, &request).await })
                        .await
                        .unwrap_or_default()
                        .ok_or(Dropped)?
                }
            };
            Ok::<_, Dropped>(into_hyper(response, state.now()))
        }
    });
    // A connection that breaks off concerns its client only.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    let refuse = |status| Response::empty(status).with(header::CONNECTION, "close");
    let body = match tokio::time::timeout(READ_DEADLINE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST)),
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT)),
    };
    Ok(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    })
}

fn into_hyper(response: Response, now: i64) -> hyper::Response<Payload> {
    let mut answer = hyper::Response::new(Payload::new(response.body, &response.wire));
    *answer.status_mut() = response.status;
    for (name, value) in response.headers {
        match HeaderValue::from_str(&value) {
            Ok(value) => {
                answer.headers_mut().append(name, value);
            }
            Err(_) => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    // The HTTP library adds the real date where there is none; the server lives by its own clock.
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer
}

/// Takes one request from its record to its answer; `None` when a fault loses it. Faults intervene here and nowhere else:
/// before `route` (nothing processed), after it (processed, answer changed or lost), or instead of it.
async fn exchange(state: &State, request: &Request) -> Option<Response> {
    let ticket = state.recorder.arrived(request);
    let faults = state.faults.due(|| state.recorder.recorded(ticket));
    let (response, processed) = match faults.before(state).await {
        Before::Drop => return None,
        Before::Answer(response) => (response, false),
        Before::Process => (route(state, request), true),
    };
    let response = faults.after(state, response, processed).await?;
    state.recorder.answered(ticket, response.status);
    Some(response)
}

pub(super) fn nothing_here() -> Response {
    Response::text(StatusCode::NOT_FOUND, "There is nothing here.")
}

fn route(state: &State, request: &Request) -> Response {
    // A web page that got its own host name to resolve to this machine must find nothing here.
    if request.header(header::HOST) != Some(state.host()) {
        return Response::text(
            StatusCode::MISDIRECTED_REQUEST,
            "This host name is not served here.",
        );
    }
    type Answer = fn(&State, &Request) -> Response;
    let (methods, answer): (&[Method], Answer) = match request.path.as_str() {
        metadata::OPENID_PATH | metadata::OAUTH_PATH => (&[Method::GET], metadata::metadata),
        metadata::JWKS_PATH => (&[Method::GET], metadata::jwk_set),
        authorize::PATH => (&[Method::GET, Method::POST], authorize::authorize),
        authorize::SIGN_IN_PATH => (&[Method::POST], authorize::sign_in),
        token::PATH => (&[Method::POST], token::token),
        resource::USERINFO_PATH => (&[Method::GET, Method::POST], resource::userinfo),
        par::PATH if state.par != Par::Off => (&[Method::POST], par::push),
        revocation::PATH => (&[Method::POST], revocation::revoke),
        sign_out::PATH => (&[Method::GET, Method::POST], sign_out::end_session),
        sign_out::CONFIRM_PATH => (&[Method::POST], sign_out::confirm),
        path if path == apis::path(apis::ME) => (&[Method::GET], resource::api),
        path if path.starts_with(apis::PREFIX) => (resource::API_METHODS, resource::api),
        _ => return nothing_here(),
    };
    if !methods.contains(&request.method) {
        let allow: Vec<&str> = methods.iter().map(Method::as_str).collect();
        return Response::text(StatusCode::METHOD_NOT_ALLOWED, "Not by this method.")
            .with(header::ALLOW, allow.join(", "));
    }
    answer(state, request)
}
