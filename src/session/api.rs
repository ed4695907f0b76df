//! Calling APIs with the token attached: to the origins the app listed, and to no other.

use std::fmt;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use url::Url;
use zeroize::Zeroizing;

use super::Session;
use super::authorize::{bearer, refuses_token};
use super::snapshot::Snapshot;
use crate::error::{Error, ErrorKind, Result, ServerError, Stage};
use crate::ports::{HttpRequest, HttpResponse};
use crate::protocol::target::Target;
use crate::protocol::token::AccessToken;
use crate::protocol::userinfo::{Userinfo, UserinfoAnswer};
use crate::protocol::www_authenticate::Challenge;

/// What says where a request goes and where it ends (RFC 9110 §7.2, RFC 9112 §6): a caller's word for it could lead a
/// token elsewhere.
const FRAMING: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TRAILER,
    header::UPGRADE,
];

/// An HTTP client for the APIs of the session.
///
/// A request to an origin listed with [`ClientBuilder::api`](crate::ClientBuilder::api) carries the access token
/// in its `Authorization` header (RFC 6750 §2.1), refreshed first if need be; an answer of 401 that refuses the token is met
/// with one refresh and one more try. A request to any other origin passes through untouched, by https like all others.
/// Redirects are not followed, so a token never travels to another origin (RFC 6750 §5.3).
///
/// ```no_run
/// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
/// let http = session.http();
/// let created = http
///     .post("https://api.example.com/notes")
///     .header("accept", "application/json")
///     .body("application/json", r#"{"text":"hello"}"#)
///     .send()
///     .await?
///     .error_for_status()?;
/// println!("{}", created.text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SessionHttp {
    session: Session,
}

impl Session {
    /// Calls APIs with the session's token.
    #[must_use]
    pub fn http(&self) -> SessionHttp {
        SessionHttp {
            session: self.clone(),
        }
    }

    /// What the server's userinfo endpoint says of the user (OpenID Connect Core §5.3). Asks the server each time.
    ///
    /// Safe to cancel.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// let userinfo = session.userinfo().await?;
    /// println!("{}", userinfo.to_json());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the server has no such endpoint or the sign-in did not ask for `openid`;
    /// [`ErrorKind::Protocol`] if the answer is about another user; else as
    /// [`access_token`](Session::access_token).
    pub async fn userinfo(&self) -> Result<Userinfo> {
        let Some(claims) = self.claims() else {
            return Err(Error::configuration(
                "userinfo_without_openid",
                "OpenID Connect Core §5.3.2",
                "userinfo needs a sign-in with the scope openid",
            )
            .at_stage(Stage::Userinfo));
        };
        let context = self.slot.context.clone();
        let server = self
            .slot
            .context
            .run(async move { context.server().await })
            .await?;
        let Some(endpoint) = server.userinfo_endpoint() else {
            return Err(Error::configuration(
                "userinfo_not_offered",
                "OpenID Connect Core §5.3",
                "the server has no userinfo endpoint",
            )
            .at_stage(Stage::Userinfo));
        };
        let mut request = HttpRequest::new(Method::GET, endpoint.clone());
        request.headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, application/jwt"),
        );
        let response = self
            .send_with_token(Stage::Userinfo, &Target::default(), request)
            .await?;
        let (response, token) = response;
        let answer = Userinfo::read(
            response.status,
            &response.headers,
            &response.body,
            claims.subject(),
        )
        .map_err(|error| error.without(&[token.expose()]))?;
        let signed = match answer {
            UserinfoAnswer::Claims(userinfo) => return Ok(userinfo),
            UserinfoAnswer::Signed(signed) => signed,
        };
        let (context, subject) = (self.slot.context.clone(), claims.subject().to_owned());
        let verification = async move { context.verify_userinfo(&server, &signed, &subject).await };
        self.slot.context.run(verification).await
    }

    /// Sends with the token attached; where it is refused, refreshes once, and tries once more (RFC 6750 §3.1).
    async fn send_with_token(
        &self,
        stage: Stage,
        target: &Target,
        request: HttpRequest,
    ) -> Result<(HttpResponse, AccessToken)> {
        let snapshot = self.current(target).await?;
        let response = self.send_once(stage, request.clone(), &snapshot).await?;
        if !snapshot.can_refresh || !refuses_token(response.status, &response.headers) {
            return Ok((response, snapshot.token.clone()));
        }
        // If the token was replaced while the request was under way, that is the refresh.
        match self.after_refusal(target, &snapshot).await? {
            Some(newer) => {
                let response = self.send_once(stage, request, &newer).await?;
                Ok((response, newer.token.clone()))
            }
            None => Ok((response, snapshot.token.clone())),
        }
    }

    async fn send_once(
        &self,
        stage: Stage,
        mut request: HttpRequest,
        snapshot: &Snapshot,
    ) -> Result<HttpResponse> {
        request
            .headers
            .insert(header::AUTHORIZATION, bearer(stage, &snapshot.token)?);
        let context = self.slot.context.clone();
        self.slot
            .context
            .run(async move { context.send(stage, request).await })
            .await
    }
}

impl SessionHttp {
    /// Starts a GET. As [`request`](SessionHttp::request).
    pub fn get(&self, url: impl AsRef<str>) -> ApiRequest {
        self.request(Method::GET, url)
    }

    /// Starts a POST. As [`request`](SessionHttp::request).
    pub fn post(&self, url: impl AsRef<str>) -> ApiRequest {
        self.request(Method::POST, url)
    }

    /// Starts a request with any method. A URL or header that is not well-formed is told by
    /// [`send`](ApiRequest::send).
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> ApiRequest {
        let request = Url::parse(url.as_ref())
            .map(|url| HttpRequest::new(method, url))
            .map_err(|e| bad_request("url_malformed", format!("the URL cannot be used: {e}")));
        ApiRequest {
            session: self.session.clone(),
            request,
        }
    }
}

/// A request to an API, being built.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// let request = session
///     .http()
///     .get(api) // https://api.example.com/me
///     .header("accept", "application/json")
///     .timeout(std::time::Duration::from_secs(5))
///     .max_response_bytes(64 << 10);
/// assert_eq!(request.send().await?.status(), 200);
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct ApiRequest {
    session: Session,
    request: Result<HttpRequest>,
}

impl ApiRequest {
    fn change(mut self, change: impl FnOnce(&mut HttpRequest) -> Result<()>) -> Self {
        self.request = self
            .request
            .and_then(|mut request| change(&mut request).map(|()| request));
        self
    }

    /// Adds a header. `Authorization` is the session's own, and refused.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.change(|request| {
            let name = HeaderName::try_from(name)
                .map_err(|_| bad_request("header_malformed", format!("{name:?} is not a header name")))?;
            if name == header::AUTHORIZATION {
                return Err(bad_request(
                    "authorization_header_set",
                    "the Authorization header is set by the session; use another client for another credential".into(),
                ));
            }
            if FRAMING.contains(&name) {
                return Err(bad_request(
                    "header_reserved",
                    format!("the header {name} is made from the URL and the body; leave it out"),
                ));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| bad_request("header_malformed", format!("the value of {name} cannot stand in a header")))?;
            request.headers.append(name, value);
            Ok(())
        })
    }

    /// Sets the body and its content type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", content_type).change(|request| {
            request.body = Zeroizing::new(body.into());
            Ok(())
        })
    }

    /// How long the exchange may take, 30 s unless set. A refresh has its own time, and so has the second try after it.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|request| {
            request.timeout = timeout;
            Ok(())
        })
    }

    /// The longest answer body to accept, 1 MiB unless set.
    pub fn max_response_bytes(self, bytes: usize) -> Self {
        self.change(|request| {
            request.max_response_bytes = bytes;
            Ok(())
        })
    }

    /// Sends the request. A status other than 2xx is an answer, not an error.
    ///
    /// Dropping the future may abort the request, as with any HTTP client; a refresh that it began goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the request is not well-formed, or not for https; [`ErrorKind::Network`] if no whole answer
    /// came; else as [`Session::access_token`].
    pub async fn send(self) -> Result<ApiResponse> {
        let request = self.request?;
        let context = &self.session.slot.context;
        let response = if let Some(target) = context.target_of(&request.url) {
            let target = target.clone();
            let (response, token) = self.session.send_with_token(Stage::Api, &target, request).await?;
            (response, Some(token))
        } else {
            let core = context.clone();
            let exchange = async move { core.send(Stage::Api, request).await };
            (context.run(exchange).await?, None)
        };
        let (response, token) = response;
        Ok(ApiResponse(response, token))
    }
}

/// The answer of an API.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// #[derive(serde::Deserialize)]
/// struct Me {
///     name: String,
/// }
///
/// let answer = session.http().get(api).send().await?.error_for_status()?;
/// assert_eq!(answer.headers()["content-type"], "application/json");
/// let me: Me = answer.json()?;
/// assert!(answer.text().contains(&me.name));
/// # Ok(()) }) }
/// ```
pub struct ApiResponse(HttpResponse, Option<AccessToken>);

impl ApiResponse {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer, unless its status is 4xx or 5xx.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// let answer = session.http().get("https://api.example.com/admin").send().await?;
    /// match answer.error_for_status() {
    ///     Ok(answer) => println!("{}", answer.text()),
    ///     Err(error) if error.code() == "insufficient_scope" => println!("a new sign-in has to ask for more: {error}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Server`] at [`Stage::Api`], with the status and what the API says of it in [`Error::server`]; code
    /// `insufficient_scope` if it wants a token that may do more (RFC 6750 §3.1), else `api_refused`.
    pub fn error_for_status(self) -> Result<Self> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        let challenges = self.challenges();
        let bearer = challenges.iter().find(|challenge| challenge.is("Bearer"));
        let server = ServerError {
            status: Some(status.as_u16()),
            error: bearer.and_then(Challenge::error),
            description: bearer.and_then(Challenge::error_description),
            ..ServerError::default()
        };
        let scope = bearer.map(Challenge::scope).unwrap_or_default().join(" ");
        let (code, message) = match server.error.as_deref() {
            Some("insufficient_scope") if !scope.is_empty() => (
                "insufficient_scope",
                format!("the API wants a token with the scope {scope:?}; ask for it with a new sign-in"),
            ),
            Some("insufficient_scope") => (
                "insufficient_scope",
                "the API wants a token with more scope; ask for it with a new sign-in".to_owned(),
            ),
            _ => ("api_refused", "the API refused the request".to_owned()),
        };
        let sent: Vec<&str> = self.1.iter().map(AccessToken::expose).collect();
        Err(Error::new(ErrorKind::Server, Stage::Api, code, message)
            .with_clause("RFC 6750 §3.1")
            .with_server(server)
            .without(&sent))
    }

    /// What the API wants, as it says in `WWW-Authenticate` (RFC 9110 §11.6.1): for `insufficient_scope` the scope it
    /// needs, and where its metadata is.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// let answer = session.http().get(api).send().await?;
    /// for challenge in answer.challenges().iter().filter(|challenge| challenge.is("bearer")) {
    ///     println!("{:?}: needs the scope {:?}", challenge.error(), challenge.scope());
    /// }
    /// # assert!(answer.challenges().is_empty());
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn challenges(&self) -> Vec<Challenge> {
        Challenge::of(&self.0.headers)
    }

    /// The headers, duplicates kept.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The body read as JSON.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// let me: std::collections::BTreeMap<String, String> =
    ///     session.http().get("https://api.example.com/me").send().await?.json()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], code `api_json`, if it is not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.bytes()).map_err(|e| {
            // Its own words quote what was found there, which may be anything.
            let why = match e.classify() {
                Category::Data => "has another shape than expected",
                Category::Syntax | Category::Io => "is not JSON",
                Category::Eof => "ends too early",
            };
            Error::protocol(
                Stage::Api,
                "api_json",
                "RFC 8259",
                format!(
                    "the API's answer {why}, at line {} column {}",
                    e.line(),
                    e.column()
                ),
            )
        })
    }
}

impl fmt::Debug for ApiResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiResponse").field(&self.0).finish()
    }
}

fn bad_request(code: &'static str, message: String) -> Error {
    Error::configuration(code, "RFC 9110", message).at_stage(Stage::Api)
}
