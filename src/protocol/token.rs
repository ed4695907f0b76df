//! The token endpoint (RFC 6749 §3.2, §4.1.3, §5, §6): what is sent, and what an answer means.
//!
//! An answer is sorted by what it means for the *refresh token*, because that is what can be lost: a `200` that
//! carries a new one obliges us to keep it, whatever else is wrong with the answer.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use zeroize::Zeroizing;

use super::answer::{host_of, is_json_content, oauth_error, redact, status_only, with_wait};
use super::callback::ValidatedCallback;
use super::form;
use super::json::{self, JsonError, Member, Object};
use super::pkce::CodeVerifier;
use super::redirect::RedirectUri;
use super::resource::Resource;
use super::scope::Scope;
use super::text;
use crate::error::{Delivery, Error, ErrorKind, ServerError, Stage};
use crate::secret::secret_newtype;

pub(crate) use super::answer::retry_after;

/// A lifetime longer than this is not believed.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

secret_newtype! {
    /// A token for an API. Opaque: Gatepass never looks inside (RFC 9068 §6).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// let token = session.access_token().await?;
    /// // It prints as nothing; `expose` is the one way out, for the header of a request.
    /// assert_eq!(format!("{token:?}"), "AccessToken(redacted)");
    /// let header = format!("Bearer {}", token.expose());
    /// # Ok(()) }) }
    /// ```
    pub AccessToken
}

secret_newtype! {
    /// The token that gets new access tokens. It never leaves the core.
    pub(crate) RefreshToken
}

secret_newtype! {
    /// An ID token as received, in compact form.
    pub(crate) IdToken
}

/// The body that exchanges a code (RFC 6749 §4.1.3, RFC 7636 §4.5). `redirect_uri` is always sent: servers of
/// RFC 6749 want it, those of OAuth 2.1 accept it. `resources` may name some of those that were asked for, for an
/// access token of theirs alone (RFC 8707 §2.2).
pub(crate) fn code_request(
    client_id: &str,
    callback: &ValidatedCallback,
    redirect: &RedirectUri,
    verifier: &CodeVerifier,
    resources: &[Resource],
) -> Zeroizing<Vec<u8>> {
    let grant = [
        ("grant_type", "authorization_code"),
        ("code", callback.code().expose()),
        ("redirect_uri", redirect.as_str()),
        ("client_id", client_id),
        ("code_verifier", verifier.expose()),
    ];
    form::encode(grant.into_iter().chain(named(resources)))
}

/// The body that refreshes (RFC 6749 §6). Without a scope the grant stays what it was; one that is asked for must have
/// passed [`Scope::require_within`] first, because some servers spend the refresh token before they look.
pub(crate) fn refresh_request(
    client_id: &str,
    token: &RefreshToken,
    scope: Option<&Scope>,
    resources: &[Resource],
) -> Zeroizing<Vec<u8>> {
    let grant = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.expose()),
        ("client_id", client_id),
    ];
    let scope = scope.filter(|scope| !scope.is_empty());
    let scope = scope.iter().map(|scope| ("scope", scope.as_str()));
    form::encode(grant.into_iter().chain(scope).chain(named(resources)))
}

fn named(resources: &[Resource]) -> impl Iterator<Item = (&str, &str)> + Clone {
    resources.iter().map(|resource| ("resource", resource.as_str()))
}

/// A good answer of the token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct TokenResponse {
    pub(crate) access_token: AccessToken,
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) id_token: Option<IdToken>,
    /// From the moment the server made the answer; `None` if it did not say, which is neither zero nor for ever.
    pub(crate) expires_in: Option<Duration>,
    /// The scope granted; `None` means as requested (RFC 6749 §5.1).
    pub(crate) scope: Option<Scope>,
    /// What the server should not have said so, and what was made of it: for the log.
    pub(crate) oddities: Vec<&'static str>,
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum TokenAnswer {
    /// Tokens.
    Granted(TokenResponse),
    /// The grant was processed, but what came back cannot be used. A refresh token in it must be kept all the same.
    Unusable {
        error: Error,
        refresh_token: Option<RefreshToken>,
    },
    /// The server says that the grant is no longer any good (`invalid_grant`, whatever the status).
    GrantRefused(Error),
    /// The request was turned down without spending the grant.
    Rejected(Error),
    /// Nobody can tell whether the server processed the grant: 5xx, HTML, a cut body.
    Unknown(Error),
}

impl TokenAnswer {
    /// Sorts an answer. `stage` names the errors: the exchange of a code or a refresh. `sent` is what was secret in the
    /// request: a server that quotes it in its error does not get it into ours.
    pub(crate) fn read(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        stage: Stage,
        sent: &[&str],
    ) -> Self {
        let answer = Self::sort(status, headers, body, stage, sent);
        if matches!(answer, Self::Granted(_)) {
            return answer;
        }
        // What came with an error is as secret as what was sent.
        let object = Object::salvage(body).unwrap_or_default();
        let issued = ["access_token", "refresh_token", "id_token"].map(|name| object.str(name));
        let secrets: Vec<&str> = sent.iter().copied().chain(issued.into_iter().flatten()).collect();
        match answer {
            Self::Granted(response) => Self::Granted(response),
            Self::Unusable { error, refresh_token } => Self::Unusable {
                error: error.without(&secrets),
                refresh_token,
            },
            Self::GrantRefused(error) => Self::GrantRefused(error.without(&secrets)),
            Self::Rejected(error) => Self::Rejected(error.without(&secrets)),
            Self::Unknown(error) => Self::Unknown(error.without(&secrets)),
        }
    }

    fn sort(status: StatusCode, headers: &HeaderMap, body: &[u8], stage: Stage, sent: &[&str]) -> Self {
        if status.is_redirection() {
            let to = headers
                .get(header::LOCATION)
                .and_then(|l| l.to_str().ok())
                .and_then(host_of);
            return Self::Rejected(
                answer_error(
                    ErrorKind::Server,
                    stage,
                    "token_endpoint_redirects",
                    status,
                    headers,
                )
                .map_message(format!(
                    "the token endpoint redirects{}, and a grant is never sent on",
                    to.map(|host| format!(" to {host}")).unwrap_or_default()
                ))
                .with_clause("RFC 9700 §4.12"),
            );
        }
        if status.is_success() {
            return match Members::read(body) {
                // Not used, as two readers may see two answers in it; a refresh token that it names once is kept.
                Err(JsonError::Duplicate) => Self::Unusable {
                    error: invalid(
                        stage,
                        "token_response_duplicate",
                        "the token response has a member twice",
                    ),
                    refresh_token: Object::salvage(body)
                        .ok()
                        .and_then(|mut object| object.take_string("refresh_token"))
                        .map(RefreshToken::new),
                },
                Ok(members) if members.has_error => match server_error(status, body, sent) {
                    // RFC 6749 §5.2: an error is never a success, even where the status says so.
                    Some((server, refuses_grant)) => Self::error_in_success(server, refuses_grant, stage),
                    None => Self::read_success(status, headers, Ok(members), stage),
                },
                members => Self::read_success(status, headers, members, stage),
            };
        }
        // An error is told by its `error` member, not by the status: servers use 400, 401 and 403 (RFC 6749 §5.2).
        let server = server_error(status, body, sent);
        match server {
            // A server that fails, or has too much to do, has not looked at the grant, whatever it says.
            Some((server, true)) if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Self::GrantRefused(
                    Error::new(
                        ErrorKind::Server,
                        stage,
                        "invalid_grant",
                        "the server refuses the grant",
                    )
                    .with_clause("RFC 6749 §5.2")
                    .with_server(server),
                )
            }
            _ if status == StatusCode::TOO_MANY_REQUESTS => {
                let error = answer_error(ErrorKind::RateLimited, stage, "rate_limited", status, headers);
                Self::Rejected(with_wait(error, headers))
            }
            // A server can fail after it has rotated, so 5xx leaves the outcome open even with an OAuth body.
            _ if status.is_server_error() => {
                let error = answer_error(ErrorKind::Server, stage, "server_failed", status, headers);
                let error = match server {
                    Some((server, _)) => error.with_server(server),
                    None => error,
                };
                Self::Unknown(with_wait(error, headers))
            }
            Some((server, _)) => Self::Rejected(
                Error::new(
                    ErrorKind::Server,
                    stage,
                    "token_request_refused",
                    "the server refuses the token request",
                )
                .with_clause("RFC 6749 §5.2")
                .with_server(server),
            ),
            None => Self::Rejected(
                answer_error(ErrorKind::Server, stage, "not_an_oauth_answer", status, headers)
                    .with_clause("RFC 6749 §5.2"),
            ),
        }
    }

    fn error_in_success(server: ServerError, refuses_grant: bool, stage: Stage) -> Self {
        let error = Error::new(
            ErrorKind::Server,
            stage,
            "error_in_success",
            "the server answered with an error",
        )
        .with_clause("RFC 6749 §5.2")
        .with_server(server);
        if refuses_grant {
            Self::GrantRefused(error)
        } else {
            Self::Rejected(error)
        }
    }

    fn read_success(
        status: StatusCode,
        headers: &HeaderMap,
        members: Result<Members<'_>, JsonError>,
        stage: Stage,
    ) -> Self {
        let unknown = |code, message: String| {
            let error = Error::new(ErrorKind::Network(Delivery::UnknownOutcome), stage, code, message);
            Self::Unknown(
                error
                    .with_clause("RFC 6749 §5.1")
                    .with_server(status_only(status)),
            )
        };
        let mut members = match members {
            Ok(members) => members,
            Err(e) => return unknown("token_response_garbled", format!("the token response is {e}")),
        };
        let is_json = is_json_content(headers);
        if !is_json && members.access_token.is_none() {
            return unknown(
                "token_response_garbled",
                "the token response is not a token response".to_owned(),
            );
        }
        // Taken out first: whatever is wrong below, a new refresh token must not be lost.
        let refresh_token = members.refresh_token.take();
        // It is empty, or no string.
        let odd =
            !matches!(&refresh_token, None | Some(Member::Null)) && text_of(refresh_token.as_ref()).is_none();
        let refresh_token = owned(refresh_token).map(RefreshToken::new);
        match read_tokens(members, refresh_token.as_ref(), is_json, stage) {
            Ok(mut response) => {
                response.refresh_token = refresh_token;
                if odd {
                    response
                        .oddities
                        .push("refresh_token is empty or no string: as if it were not there");
                }
                Self::Granted(response)
            }
            Err(error) => Self::Unusable { error, refresh_token },
        }
    }
}

/// What a token response is made of (RFC 6749 §5.1).
struct Members<'a> {
    access_token: Option<Member<'a>>,
    refresh_token: Option<Member<'a>>,
    id_token: Option<Member<'a>>,
    token_type: Option<Member<'a>>,
    expires_in: Option<Member<'a>>,
    scope: Option<Member<'a>>,
    /// There is an `error`, which does not belong here.
    has_error: bool,
}

impl<'a> Members<'a> {
    fn read(body: &'a [u8]) -> Result<Self, JsonError> {
        let names = &[
            "access_token",
            "refresh_token",
            "id_token",
            "token_type",
            "expires_in",
            "scope",
            "error",
        ];
        let [
            access_token,
            refresh_token,
            id_token,
            token_type,
            expires_in,
            scope,
            error,
        ] = json::pick(body, names)?;
        Ok(Self {
            access_token,
            refresh_token,
            id_token,
            token_type,
            expires_in,
            scope,
            has_error: error.is_some(),
        })
    }
}

/// A text that is not empty.
fn text_of<'a>(member: Option<&'a Member<'_>>) -> Option<&'a str> {
    match member {
        Some(Member::Text(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The same, in memory of its own: the only copy of a token.
fn owned(member: Option<Member<'_>>) -> Option<String> {
    match member {
        Some(Member::Text(text)) if !text.is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

/// The error of the server, if the body is one, and whether it refuses the grant. Exactly so: a session ends by nothing
/// that only looks like it once it is cleaned.
fn server_error(status: StatusCode, body: &[u8], sent: &[&str]) -> Option<(ServerError, bool)> {
    let mut object = Object::parse(body).ok()?;
    let refuses_grant = object.str("error") == Some("invalid_grant");
    redact(&mut object, sent);
    Some((oauth_error(&object, status)?, refuses_grant))
}

fn read_tokens(
    members: Members<'_>,
    refresh_token: Option<&RefreshToken>,
    is_json: bool,
    stage: Stage,
) -> Result<TokenResponse, Error> {
    if !is_json {
        return Err(invalid(
            stage,
            "token_response_content_type",
            "the token response is not labelled application/json",
        ));
    }
    let access_token = owned(members.access_token).map(AccessToken::new).ok_or_else(|| {
        invalid(
            stage,
            "access_token_missing",
            "the token response has no access token",
        )
    })?;
    if !is_bearer_token(access_token.expose()) {
        return Err(invalid(
            stage,
            "access_token_malformed",
            "the access token has characters that cannot stand in a header",
        )
        .with_clause("RFC 6750 §2.1"));
    }
    let token_type = match &members.token_type {
        Some(Member::Text(kind)) => Some(kind.as_ref()),
        _ => None,
    };
    match token_type {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(kind) => {
            let kind = text::clean(kind, 32);
            return Err(invalid(
                stage,
                "token_type_unknown",
                &format!("the token type {kind:?} is not understood"),
            )
            .with_clause("RFC 6749 §7.1"));
        }
        None => {
            return Err(invalid(
                stage,
                "token_type_missing",
                "the token response has no token type",
            ));
        }
    }
    if refresh_token.is_some_and(|token| token.expose() == access_token.expose()) {
        return Err(invalid(
            stage,
            "tokens_equal",
            "access token and refresh token are the same",
        ));
    }
    let (expires_in, odd) = lifetime(members.expires_in.as_ref());
    Ok(TokenResponse {
        access_token,
        refresh_token: None,
        id_token: owned(members.id_token).map(IdToken::new),
        expires_in,
        scope: match &members.scope {
            Some(Member::Text(scope)) => Some(Scope::from_response(scope)),
            _ => None,
        },
        oddities: odd.into_iter().collect(),
    })
}

/// `expires_in` as servers send it: a number, or digits in a string. Zero or less has expired; what cannot be read
/// is no statement at all. Beside it what is odd about it: by the standard it is a number of seconds to come
/// (RFC 6749 §5.1), and what an app needs to know of the rest is when its token will be refreshed.
fn lifetime(member: Option<&Member<'_>>) -> (Option<Duration>, Option<&'static str>) {
    let seconds = match member {
        None => {
            return (
                None,
                Some("expires_in is missing: the token is used until an API refuses it"),
            );
        }
        Some(Member::Number(number)) => {
            let seconds = number.as_i64().or_else(|| number.as_u64().map(|_| i64::MAX));
            seconds
                .or_else(|| json::number_to_seconds(number))
                .or_else(|| number.as_f64().map(|f| if f > 0.0 { i64::MAX } else { 0 }))
        }
        Some(Member::Text(digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().unwrap_or(i64::MAX))
        }
        Some(_) => None,
    };
    let Some(seconds) = seconds else {
        return (
            None,
            Some("expires_in is no number: the token is used until an API refuses it"),
        );
    };
    let stated = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let odd = match member {
        _ if seconds <= 0 => Some("expires_in is not in the future: the token is refreshed at its next use"),
        _ if stated > MAX_LIFETIME => {
            Some("expires_in is more than a year: the token is refreshed after one")
        }
        Some(Member::Text(_)) => Some("expires_in is a string, not a number"),
        Some(Member::Number(number)) if number.is_f64() => {
            Some("expires_in has a fraction, which is dropped")
        }
        _ => None,
    };
    (Some(stated.min(MAX_LIFETIME)), odd)
}

/// `b64token` (RFC 6750 §2.1), widened to every visible character: servers do use others, and what must be kept
/// out are spaces and line breaks, which would forge a header.
fn is_bearer_token(token: &str) -> bool {
    // To the end whatever is found, so that many bytes are looked at in one step: tokens are long.
    let bad = |b: u8| u8::from(b.wrapping_sub(0x21) > 0x7e - 0x21);
    token.bytes().fold(0, |any, b| any | bad(b)) == 0
}

/// An error about an answer that is not in OAuth's own form, naming what it is instead.
fn answer_error(
    kind: ErrorKind,
    stage: Stage,
    code: &'static str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Error {
    let content = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map(|v| text::clean(v, 64));
    let message = format!(
        "the token endpoint answered with {}, not with an OAuth answer",
        content.unwrap_or_else(|| "no content type".to_owned())
    );
    Error::new(kind, stage, code, message).with_server(status_only(status))
}

fn invalid(stage: Stage, code: &'static str, message: &str) -> Error {
    Error::protocol(stage, code, "RFC 6749 §5.1", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::NextStep;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    fn read(status: u16, body: &str) -> TokenAnswer {
        let status = StatusCode::from_u16(status).unwrap();
        TokenAnswer::read(
            status,
            &headers("application/json"),
            body.as_bytes(),
            Stage::Refresh,
            &[],
        )
    }

    #[test]
    fn oa_12_oa_22_pk_08_ri_03_the_body_of_the_code_exchange() {
        let redirect = RedirectUri::parse("http://127.0.0.1:4711/cb").unwrap();
        let callback = ValidatedCallback::for_tests("C+1");
        let verifier = CodeVerifier::new("V".to_owned());
        let body = |resources: &[Resource]| {
            let body = code_request("my app", &callback, &redirect, &verifier, resources);
            String::from_utf8(body.to_vec()).unwrap()
        };
        let plain = "grant_type=authorization_code&code=C%2B1&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb&client_id=my+app&code_verifier=V";
        assert_eq!(body(&[]), plain);
        let resources = ["https://api.example.com/", "urn:b"].map(|uri| Resource::parse(uri).unwrap());
        assert_eq!(
            body(&resources),
            format!("{plain}&resource=https%3A%2F%2Fapi.example.com%2F&resource=urn%3Ab")
        );
    }

    #[test]
    fn oa_30_ri_03_the_body_of_a_refresh() {
        let token = RefreshToken::new("R".to_owned());
        let body = |scope: Option<&[&str]>, resources: &[Resource]| {
            let scope = scope.map(|scope| Scope::from_tokens(scope).unwrap());
            let body = refresh_request("c", &token, scope.as_ref(), resources);
            String::from_utf8(body.to_vec()).unwrap()
        };
        let plain = "grant_type=refresh_token&refresh_token=R&client_id=c";
        assert_eq!(body(None, &[]), plain);
        assert_eq!(body(Some(&[]), &[]), plain);
        let resource = Resource::parse("https://api.example.com/").unwrap();
        assert_eq!(
            body(Some(&["a", "b"]), &[resource]),
            format!("{plain}&scope=a+b&resource=https%3A%2F%2Fapi.example.com%2F")
        );
    }

    fn granted(body: &str) -> TokenResponse {
        match read(200, body) {
            TokenAnswer::Granted(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn unusable(body: &str) -> (&'static str, Option<String>) {
        match read(200, body) {
            TokenAnswer::Unusable { error, refresh_token } => {
                (error.code(), refresh_token.map(|token| token.expose().to_owned()))
            }
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn oa_23_oa_24_oa_26_a_good_answer() {
        let response = granted(
            r#"{"access_token":"A","token_type":"BEARER","expires_in":3600,"refresh_token":"R","scope":"a b","x":{}}"#,
        );
        assert_eq!(response.access_token.expose(), "A");
        assert_eq!(response.refresh_token.unwrap().expose(), "R");
        assert_eq!(response.expires_in, Some(Duration::from_secs(3600)));
        assert_eq!(response.scope.unwrap().as_str(), "a b");
    }

    #[test]
    fn bi_31_to_35_expires_in() {
        let of = |value: &str| {
            let response = granted(&format!(
                r#"{{"access_token":"A","token_type":"Bearer","expires_in":{value}}}"#
            ));
            // One word of the warning, if there is one.
            let odd = response.oddities.first().map_or("", |odd| {
                let words = ["string", "future", "year", "fraction", "no number"];
                words.into_iter().find(|word| odd.contains(word)).unwrap_or(odd)
            });
            (response.expires_in, odd)
        };
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(of("3600"), (seconds(3600), ""));
        assert_eq!(of(r#""3600""#), (seconds(3600), "string"));
        for past in ["-5", "0", "-0.5", "-9223372036854775808", "-1e300", r#""0""#] {
            assert_eq!(of(past), (seconds(0), "future"), "{past}");
        }
        assert_eq!(of("3600.5"), (seconds(3600), "fraction"));
        for huge in [
            "9223372036854775808",
            "1e300",
            r#""99999999999999999999999""#,
            "99999999999",
        ] {
            assert_eq!(of(huge), (Some(MAX_LIFETIME), "year"), "{huge}");
        }
        for junk in [
            "null",
            "true",
            r#""abc""#,
            "[]",
            "{}",
            r#""""#,
            r#""-1""#,
            r#""3600.5""#,
        ] {
            assert_eq!(of(junk), (None, "no number"), "{junk}");
        }
        // Larger than any float: not finite, so not stated; the tokens beside it are good.
        for endless in ["1e309", "-1e309", &"9".repeat(400)] {
            assert_eq!(of(endless), (None, "no number"), "{endless}");
        }
        let missing = granted(r#"{"access_token":"A","token_type":"Bearer"}"#);
        assert_eq!(missing.expires_in, None);
        assert!(missing.oddities[0].contains("missing"));
    }

    #[test]
    fn bi_53_a_refresh_token_that_is_none_is_said_to_be_odd_unless_it_is_null() {
        for (value, odd) in [("null", 0), (r#""R""#, 0), (r#""""#, 1), ("7", 1), ("{}", 1)] {
            let response = granted(&format!(
                r#"{{"access_token":"A","token_type":"Bearer","expires_in":60,"refresh_token":{value}}}"#
            ));
            assert_eq!(response.oddities.len(), odd, "{value}");
        }
    }

    #[test]
    fn bt_02_bi_36_to_39_bi_53_an_unusable_answer_still_yields_its_refresh_token() {
        let kept = Some("R".to_owned());
        for (body, code) in [
            (
                r#"{"access_token":"A","refresh_token":"R"}"#,
                "token_type_missing",
            ),
            (
                r#"{"access_token":"A","token_type":"mac","refresh_token":"R"}"#,
                "token_type_unknown",
            ),
            (
                r#"{"token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_missing",
            ),
            (
                r#"{"access_token":"","token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_missing",
            ),
            (
                r#"{"access_token":7,"token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_missing",
            ),
            (
                r#"{"access_token":"a\r\nX: y","token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_malformed",
            ),
            (
                r#"{"access_token":"a b","token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_malformed",
            ),
            (
                r#"{"access_token":"é","token_type":"Bearer","refresh_token":"R"}"#,
                "access_token_malformed",
            ),
            (
                r#"{"access_token":"R","token_type":"Bearer","refresh_token":"R"}"#,
                "tokens_equal",
            ),
        ] {
            assert_eq!(unusable(body), (code, kept.clone()), "{body}");
        }
        for absent in [r#""""#, "null", "7"] {
            let body = format!(r#"{{"access_token":"A","token_type":"Bearer","refresh_token":{absent}}}"#);
            assert!(granted(&body).refresh_token.is_none(), "{absent}");
        }
    }

    #[test]
    fn oa_28_oa_29_pk_09_bi_40_rr_17_rr_20_errors_are_told_by_their_code() {
        for status in [200, 400, 401, 403] {
            let answer = read(status, r#"{"error":"invalid_grant","error_description":"gone"}"#);
            let TokenAnswer::GrantRefused(error) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(error.server().unwrap().description.as_deref(), Some("gone"));
            assert_eq!(error.next_step(), NextStep::SignInAgain);
        }
        for code in [
            "invalid_client",
            "invalid_request",
            "invalid_scope",
            "unauthorized_client",
            "invalid_target", // RI-04
            "unheard_of",
        ] {
            for status in [200, 400, 401, 403] {
                let answer = read(status, &format!(r#"{{"error":"{code}"}}"#));
                assert!(
                    matches!(answer, TokenAnswer::Rejected(_)),
                    "{status} {code}: {answer:?}"
                );
            }
        }
    }

    #[test]
    fn bi_41_43_45_47_rr_12_garbage_leaves_the_outcome_open() {
        for body in [
            "<html>portal</html>",
            "",
            "{\"access_token\":\"A\"",
            "{} x",
            "[]",
            "\"x\"",
            "{\"a\":\"\\ud800\"}",
        ] {
            let answer = read(200, body);
            let TokenAnswer::Unknown(error) = answer else {
                panic!("{body}: {answer:?}")
            };
            assert_eq!(error.kind(), ErrorKind::Network(Delivery::UnknownOutcome));
        }
        assert!(matches!(read(204, ""), TokenAnswer::Unknown(_)));
        for body in [r#"{"error":"server_error"}"#, "<html>", ""] {
            for status in [500, 502, 503] {
                assert!(
                    matches!(read(status, body), TokenAnswer::Unknown(_)),
                    "{status} {body}"
                );
            }
        }
    }

    #[test]
    fn bi_42_a_token_response_under_another_content_type() {
        for label in ["text/html", "text/plain", "application/json; charset=latin1"] {
            let body = br#"{"access_token":"A","token_type":"Bearer","refresh_token":"R"}"#;
            let answer = TokenAnswer::read(StatusCode::OK, &headers(label), body, Stage::Refresh, &[]);
            let TokenAnswer::Unusable { error, refresh_token } = answer else {
                panic!("{label}: {answer:?}")
            };
            assert_eq!(error.code(), "token_response_content_type");
            assert_eq!(refresh_token.unwrap().expose(), "R");
            let other = TokenAnswer::read(StatusCode::OK, &headers(label), b"{}", Stage::Refresh, &[]);
            assert!(matches!(other, TokenAnswer::Unknown(_)), "{label}");
        }
        for label in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(is_json_content(&headers(label)), "{label}");
        }
    }

    #[test]
    fn bi_44_rr_22_a_redirect_is_not_followed_and_spends_nothing() {
        for status in [301, 302, 303, 307, 308] {
            let mut headers = headers("text/html");
            headers.insert(
                header::LOCATION,
                "https://evil.example/token?x=1".parse().unwrap(),
            );
            let status = StatusCode::from_u16(status).unwrap();
            let answer = TokenAnswer::read(status, &headers, b"", Stage::Refresh, &[]);
            let TokenAnswer::Rejected(error) = answer else {
                panic!("{answer:?}")
            };
            assert!(error.to_string().contains("evil.example"), "{error}");
            assert!(!error.to_string().contains("x=1"), "{error}");
        }
    }

    #[test]
    fn bi_46_a_repeated_member() {
        for (body, kept) in [
            (
                r#"{"access_token":"A","access_token":"B","token_type":"Bearer"}"#,
                None,
            ),
            (
                r#"{"access_token":"A","access_token":"A","token_type":"Bearer","refresh_token":"R"}"#,
                Some("R"),
            ),
            (
                r#"{"access_token":"A","refresh_token":"R","refresh_token":"R"}"#,
                Some("R"),
            ),
            // Nobody can tell which of the two it is.
            (
                r#"{"access_token":"A","refresh_token":"R","refresh_token":"S"}"#,
                None,
            ),
        ] {
            let (code, refresh_token) = unusable(body);
            assert_eq!(code, "token_response_duplicate");
            assert_eq!(refresh_token.as_deref(), kept, "{body}");
        }
    }

    #[test]
    fn bi_50_bi_51_rr_21_a_firewall_page_spends_nothing() {
        for (status, body) in [
            (403, "<html>"),
            (404, ""),
            (451, "no"),
            (400, r#"{"error":7}"#),
            (400, r#"{"error":""}"#),
        ] {
            let answer = read(status, body);
            let TokenAnswer::Rejected(error) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(
                (error.code(), error.kind()),
                ("not_an_oauth_answer", ErrorKind::Server)
            );
            assert_eq!(error.server().unwrap().status, Some(status));
        }
        let long = format!(
            r#"{{"error":"{}","error_description":"{}"}}"#,
            "e".repeat(9999),
            "d".repeat(99999)
        );
        let TokenAnswer::Rejected(error) = read(400, &long) else {
            panic!()
        };
        assert!(error.to_string().len() < 1000);
    }

    #[test]
    fn rr_14_bi_87_retry_after() {
        let wait = |value: &str| {
            let mut headers = headers("text/plain");
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            let answer = TokenAnswer::read(StatusCode::TOO_MANY_REQUESTS, &headers, b"", Stage::Refresh, &[]);
            let TokenAnswer::Rejected(error) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(error.kind(), ErrorKind::RateLimited);
            error.next_step()
        };
        assert_eq!(wait("7"), NextStep::RetryAfter(Duration::from_secs(7)));
        assert_eq!(
            wait("1000000000000"),
            NextStep::RetryAfter(Duration::from_secs(300))
        );
        assert_eq!(
            wait("99999999999999999999999999"),
            NextStep::RetryAfter(Duration::from_secs(300))
        );
        for junk in ["-1", "soon", ""] {
            assert_eq!(wait(junk), NextStep::Retry, "{junk}");
        }
    }

    #[test]
    fn oa_18_a_token_may_be_long() {
        let long = "t".repeat(64 * 1024);
        let response = granted(&format!(
            r#"{{"access_token":"{long}","token_type":"Bearer","refresh_token":"{long}r"}}"#
        ));
        assert_eq!(response.access_token.expose().len(), 64 * 1024);
        assert_eq!(response.refresh_token.unwrap().expose().len(), 64 * 1024 + 1);
    }

    #[test]
    fn oa_14_oa_25_what_is_not_said_is_not_made_up() {
        let response = granted(r#"{"access_token":"A","token_type":"Bearer"}"#);
        assert!(response.scope.is_none(), "as requested");
        assert!(response.expires_in.is_none(), "neither zero nor for ever");
        assert!(
            response.refresh_token.is_none() && response.id_token.is_none(),
            "OC-12"
        );
        let none = granted(r#"{"access_token":"A","token_type":"Bearer","scope":""}"#);
        assert!(none.scope.unwrap().is_empty(), "granted is what is named");
    }

    #[test]
    fn ri_04_a_bad_resource_never_spends_the_grant() {
        for status in [400, 401, 403] {
            let answer = read(status, r#"{"error":"invalid_target"}"#);
            let TokenAnswer::Rejected(error) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(error.next_step(), NextStep::FixConfiguration);
        }
    }
}
