//! Pushed authorization requests (RFC 9126): the request goes to the server directly, and the browser carries only a
//! name for it. Nobody in between can read or change it.

use std::fmt;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::answer::{host_of, is_json_content, oauth_error, redact, status_only, with_wait};
use super::authorization::{AuthorizationRequest, RESERVED};
use super::endpoint;
use super::form;
use super::json::Object;
use super::metadata::AuthorizationServer;
use super::resource::is_absolute_uri;
use super::text;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The longest `request_uri` that is taken to the browser.
const MAX_REQUEST_URI_BYTES: usize = 4096;
/// A lifetime longer than this is not believed.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const CLAUSE: &str = "RFC 9126 §2.2";

/// What the server made of a pushed request. Good for one browser, once, and not for long (RFC 9126 §4).
#[derive(Clone)]
pub(crate) struct PushedRequest {
    request_uri: String,
    expires_in: Duration,
}

/// The body to push: the parameters that the URL would carry, and no others (RFC 9126 §2.1). `client_id` is among
/// them, `request_uri` never is.
pub(crate) fn request(request: &AuthorizationRequest<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let parameters = request.parameters()?;
    Ok(form::encode(
        parameters.iter().map(|(name, value)| (*name, value.as_ref())),
    ))
}

impl PushedRequest {
    /// Reads the answer. Success is `201` alone (RFC 9126 §2.2). `sent` is what was secret in the request; a server that
    /// quotes it in its error does not get it into ours.
    ///
    /// A failure spends nothing: the same request can be pushed again.
    pub(crate) fn read(
        endpoint: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        sent: &[&str],
    ) -> Result<Self> {
        if status != StatusCode::CREATED {
            return Err(refused(status, headers, body, sent));
        }
        if !is_json_content(headers) {
            return Err(malformed("is not labelled application/json"));
        }
        let object = Object::parse(body).map_err(|e| malformed(&format!("is {e}")))?;
        let request_uri = object
            .str("request_uri")
            .ok_or_else(|| malformed("has no request_uri"))?;
        if request_uri.len() > MAX_REQUEST_URI_BYTES || !is_absolute_uri(request_uri) {
            return Err(malformed("has a request_uri that is not a URI"));
        }
        if !is_of_the_server(request_uri, endpoint) {
            return Err(malformed(
                "has a request_uri that is the web address of something else",
            ));
        }
        let expires_in = object
            .get("expires_in")
            .and_then(Value::as_u64)
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| malformed("has no positive expires_in"))?;
        Ok(Self {
            request_uri: request_uri.to_owned(),
            expires_in: Duration::from_secs(expires_in).min(MAX_LIFETIME),
        })
    }

    /// How long the browser has to present it, from the answer on. After that the request is pushed anew.
    pub(crate) fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// The URL for the browser: `client_id` and `request_uri`, nothing else (RFC 9126 §4).
    pub(crate) fn to_url(&self, server: &AuthorizationServer, client_id: &str) -> Result<String> {
        endpoint::with_parameters(
            server.authorization_endpoint(),
            &RESERVED,
            &[
                ("client_id", client_id.into()),
                ("request_uri", self.request_uri.as_str().into()),
            ],
            Stage::AuthorizationRequest,
        )
    }
}

impl fmt::Debug for PushedRequest {
    /// Who has the name can begin the sign-in, so it does not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushedRequest")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// A name such as `urn:…` means something to its server only. A web address means something to everybody, so it must
/// at least be the server's own.
fn is_of_the_server(request_uri: &str, endpoint: &Url) -> bool {
    match Url::parse(request_uri) {
        Ok(url) if url.scheme() == "https" => url.origin() == endpoint.origin(),
        Ok(url) => url.scheme() != "http",
        Err(_) => false,
    }
}

/// What any other answer means: errors are those of the token endpoint, and 405, 413, 429 (RFC 9126 §2.3).
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8], sent: &[&str]) -> Error {
    let server = Object::parse(body).ok().and_then(|mut object| {
        redact(&mut object, sent);
        oauth_error(&object, status)
    });
    let (kind, code, message) = match status {
        _ if status.is_redirection() => {
            let to = headers
                .get(header::LOCATION)
                .and_then(|l| l.to_str().ok())
                .and_then(host_of);
            let to = to.map(|host| format!(" to {host}")).unwrap_or_default();
            let message =
                format!("the endpoint for pushed requests redirects{to}, and a request is never sent on");
            (ErrorKind::Server, "par_redirects", message)
        }
        StatusCode::TOO_MANY_REQUESTS => (
            ErrorKind::RateLimited,
            "rate_limited",
            "the server takes no more pushed requests for now".to_owned(),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            ErrorKind::Server,
            "par_too_large",
            "the authorization request is larger than the server takes".to_owned(),
        ),
        _ if status.is_success() && server.is_none() => (
            ErrorKind::Protocol,
            "par_status",
            format!(
                "the server answered a pushed request with {} instead of 201",
                status.as_u16()
            ),
        ),
        _ => (
            ErrorKind::Server,
            "par_refused",
            "the server refuses the authorization request".to_owned(),
        ),
    };
    let error = Error::new(kind, Stage::PushedAuthorization, code, message)
        .with_clause("RFC 9126 §2.3")
        .with_server(server.unwrap_or_else(|| status_only(status)))
        .without(sent);
    with_wait(error, headers)
}

fn malformed(why: &str) -> Error {
    let message = format!("the answer to the pushed request {}", text::clean(why, 128));
    Error::protocol(
        Stage::PushedAuthorization,
        "par_response_malformed",
        CLAUSE,
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::NextStep;
    use crate::protocol::authorization::{Prompt, SignInOptions};
    use crate::protocol::endpoint::TransportPolicy;
    use crate::protocol::form::Form;
    use crate::protocol::issuer::Issuer;
    use crate::protocol::pkce::CodeVerifier;
    use crate::protocol::redirect::RedirectUri;
    use crate::protocol::scope::Scope;
    use crate::protocol::token::IdToken;

    // TV-62c: the answer of RFC 9126 §2.2.
    const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c";

    fn server(authorization_endpoint: &str) -> AuthorizationServer {
        let document = format!(
            r#"{{"issuer":"https://as.example.com","authorization_endpoint":"{authorization_endpoint}","token_endpoint":"https://as.example.com/token","pushed_authorization_request_endpoint":"https://as.example.com/as/par"}}"#
        );
        let policy = TransportPolicy::default();
        let issuer = Issuer::parse("https://as.example.com", policy).unwrap();
        AuthorizationServer::parse(document.as_bytes(), &issuer, policy).unwrap()
    }

    fn read_with(status: u16, header: (&'static str, &str), body: &str) -> Result<PushedRequest> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert(header.0, header.1.parse().unwrap());
        let endpoint = Url::parse("https://as.example.com/as/par").unwrap();
        PushedRequest::read(
            &endpoint,
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            &["a-very-secret-token"],
        )
    }

    fn read(status: u16, body: &str) -> Result<PushedRequest> {
        read_with(status, ("x", "y"), body)
    }

    fn answer(request_uri: &str, expires_in: &str) -> String {
        format!(r#"{{"request_uri":"{request_uri}","expires_in":{expires_in}}}"#)
    }

    #[test]
    fn pa_02_pa_03_pa_10_the_body_holds_what_the_url_would() {
        let (server, options) = (
            server("https://as.example.com/authorize?tenant=1"),
            SignInOptions::default()
                .prompt([Prompt::None])
                .resource("https://api.example.com/a")
                .resource("https://api.example.com/b"),
        );
        let hint = IdToken::new("e30.e30.x".to_owned());
        let sent = AuthorizationRequest {
            server: &server,
            client_id: "s6BhdRkqt3",
            redirect: &RedirectUri::parse("https://client.example.org/cb").unwrap(),
            scope: &Scope::from_tokens(["openid"]).unwrap(),
            state: "the-state",
            nonce: "the-nonce",
            challenge: &CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into()).challenge(),
            options: &options,
            id_token_hint: Some(&hint),
        };
        let body = String::from_utf8(request(&sent).unwrap().to_vec()).unwrap();
        let url = sent.to_url().unwrap();
        assert_eq!(url, format!("https://as.example.com/authorize?tenant=1&{body}"));
        for name in ["client_id", "code_challenge", "state", "nonce", "id_token_hint"] {
            assert!(body.contains(&format!("{name}=")), "{name}: {body}");
        }
        assert!(!body.contains("request_uri"), "{body}");
        assert!(
            !body.contains("tenant"),
            "the query belongs to the endpoint: {body}"
        );
    }

    #[test]
    fn pa_03_no_extra_smuggles_a_request_uri_in() {
        assert!(SignInOptions::default().extra("request_uri", "urn:x").is_err());
    }

    #[test]
    fn pa_04_pa_06_pa_12_tv_62c_success_is_201_and_the_url_carries_two_parameters() {
        let pushed = read(201, &answer(REQUEST_URI, "60")).unwrap();
        assert_eq!(pushed.expires_in(), Duration::from_secs(60));
        assert!(!format!("{pushed:?}").contains("urn"));
        assert_eq!(
            pushed
                .to_url(&server("https://as.example.com/authorize"), "s6BhdRkqt3")
                .unwrap(),
            "https://as.example.com/authorize?client_id=s6BhdRkqt3&request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3A6esc_11ACC5bwc014ltc14eY22c"
        );
        let odd = read(201, &answer("urn:a+b&c%20d?e", "1")).unwrap();
        let url = odd
            .to_url(&server("https://as.example.com/a?t=1"), "c d")
            .unwrap();
        let query = Form::parse(url.split_once('?').unwrap().1).unwrap();
        assert_eq!(query.get("request_uri"), Some("urn:a+b&c%20d?e"));
        assert_eq!((query.get("client_id"), query.get("t")), (Some("c d"), Some("1")));
    }

    #[test]
    fn oa_07_an_authorization_endpoint_that_brings_our_parameters_is_refused() {
        let pushed = read(201, &answer(REQUEST_URI, "60")).unwrap();
        for name in ["request_uri", "client_id", "state"] {
            let server = server(&format!("https://as.example.com/a?{name}=x"));
            assert_eq!(
                pushed.to_url(&server, "c").unwrap_err().code(),
                "endpoint_parameter",
                "{name}"
            );
        }
    }

    #[test]
    fn pa_04_bi_90_what_is_no_success() {
        for status in [200, 202, 204] {
            let error = read(status, &answer(REQUEST_URI, "60")).unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("par_status", ErrorKind::Protocol),
                "{status}"
            );
        }
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"expires_in":60}"#,
            r#"{"request_uri":7,"expires_in":60}"#,
            &answer("", "60"),
            &answer("not a uri", "60"),
            &answer("urn:a b", "60"),
            &answer("urn:é", "60"),
            &answer("relative/path", "60"),
            &answer("http://as.example.com/r/1", "60"),
            &answer("HTTP://as.example.com/r/1", "60"),
            &answer("https://evil.example/r/1", "60"),
            &answer("https://as.example.com:8443/r/1", "60"),
            &answer(&format!("urn:{}", "a".repeat(MAX_REQUEST_URI_BYTES)), "60"),
            &answer(REQUEST_URI, "0"),
            &answer(REQUEST_URI, "-1"),
            &answer(REQUEST_URI, "1.5"),
            &answer(REQUEST_URI, "\"60\""),
            &answer(REQUEST_URI, "null"),
            &format!(r#"{{"request_uri":"{REQUEST_URI}"}}"#),
            &format!(r#"{{"request_uri":"{REQUEST_URI}","request_uri":"urn:b","expires_in":60}}"#),
        ] {
            assert_eq!(
                read(201, body).unwrap_err().code(),
                "par_response_malformed",
                "{body}"
            );
        }
        let html = read_with(201, ("content-type", "text/html"), &answer(REQUEST_URI, "60"));
        assert_eq!(html.unwrap_err().code(), "par_response_malformed");
        let own = read(201, &answer("https://as.example.com/r/1", "60"));
        assert!(own.is_ok(), "the server's own web address is its own affair");
        let long = read(201, &answer(REQUEST_URI, "18446744073709551615")).unwrap();
        assert_eq!(long.expires_in(), MAX_LIFETIME);
    }

    #[test]
    fn pa_05_errors() {
        for status in [400, 401, 403, 405, 200] {
            let error = read(
                status,
                r#"{"error":"invalid_request","error_description":"bad redirect_uri"}"#,
            )
            .unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("par_refused", ErrorKind::Server),
                "{status}"
            );
            assert_eq!(error.stage().name(), "pushed_authorization");
            let server = error.server().unwrap();
            assert_eq!(server.error.as_deref(), Some("invalid_request"));
            assert_eq!(server.status, Some(status));
            assert_eq!(error.next_step(), NextStep::FixConfiguration);
        }
        assert_eq!(read(405, "").unwrap_err().server().unwrap().status, Some(405));
        assert_eq!(read(413, "").unwrap_err().code(), "par_too_large");
        let limited = read_with(429, ("retry-after", "7"), "").unwrap_err();
        assert_eq!(limited.kind(), ErrorKind::RateLimited);
        assert_eq!(limited.next_step(), NextStep::RetryAfter(Duration::from_secs(7)));
        for status in [500, 502, 503] {
            assert!(read(status, "<html>").unwrap_err().is_retryable(), "{status}");
        }
        let moved = read_with(307, ("location", "https://evil.example/par?x=1"), "").unwrap_err();
        assert_eq!(moved.code(), "par_redirects");
        assert!(moved.to_string().contains("evil.example") && !moved.to_string().contains("x=1"));
    }

    #[test]
    fn an_error_that_quotes_what_was_sent_does_not_carry_it_on() {
        let error = read(
            400,
            r#"{"error":"invalid_request","error_description":"bad a-very-secret-token"}"#,
        )
        .unwrap_err();
        assert!(!error.to_string().contains("a-very-secret-token"), "{error}");
    }
}
