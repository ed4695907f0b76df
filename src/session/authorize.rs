//! The token for requests that an app sends by an HTTP client of its own.

use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use url::Url;
use zeroize::Zeroizing;

use super::Session;
use crate::error::{Error, Result, Stage};
use crate::protocol::token::AccessToken;
use crate::protocol::www_authenticate::Challenge;

/// Whether a request got a token.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::Authorized;
///
/// let mut ours = http::Request::get(api).body(())?;
/// assert_eq!(session.authorize(&mut ours).await?, Authorized::Attached);
/// assert!(ours.headers().contains_key("authorization"));
///
/// let mut other = http::Request::get("https://elsewhere.example.com/").body(())?;
/// assert_eq!(session.authorize(&mut other).await?, Authorized::OtherOrigin);
/// assert!(other.headers().is_empty());
/// # Ok(()) }) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request to an origin that is not listed goes out without a token"]
pub enum Authorized {
    /// The access token is in the `Authorization` header.
    Attached,
    /// The request is for an origin that the app did not list with
    /// [`ClientBuilder::api`](crate::ClientBuilder::api): it was left as it is.
    OtherOrigin,
}

impl Session {
    /// Puts a valid access token into the `Authorization` header of a request (RFC 6750 §2.1), refreshed first if need be;
    /// for sending it by an HTTP client of your own. A request to an origin that the app did not list is left as it is.
    ///
    /// That client must not follow redirects to other origins with the header (RFC 6750 §5.3); reqwest drops it, others may
    /// not. After an answer of 401 call [`reauthorize`](Session::reauthorize). [`Session::http`] does both.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut request = http::Request::get("https://api.example.com/me").body(())?;
    /// session.authorize(&mut request).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the URI of the request is not absolute; else as
    /// [`access_token`](Session::access_token).
    pub async fn authorize<B>(&self, request: &mut Request<B>) -> Result<Authorized> {
        let url = absolute(request)?;
        let Some(target) = self.slot.context.target_of(&url) else {
            return Ok(Authorized::OtherOrigin);
        };
        let token = self.current(target).await?.token.clone();
        let value = bearer(Stage::Api, &token)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(Authorized::Attached)
    }

    /// After an answer to a request with the session's token: if it refuses the token (RFC 6750 §3.1, `invalid_token`), puts
    /// a newer one into the request, refreshed if need be, and says `true`: send it again, once. However many requests were
    /// refused at once, one refresh is sent; where another request has brought a newer token already, none.
    ///
    /// `false` if a newer token would be of no use: another status, a scope that is missing, an origin that is not listed, or
    /// no refresh token.
    ///
    /// Safe to cancel.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// # async fn send(request: &http::Request<()>) -> http::Response<()> { todo!() }
    /// # let mut request = http::Request::new(());
    /// let answer = send(&request).await;
    /// let answer = match session.reauthorize(&mut request, &answer).await? {
    ///     true => send(&request).await,
    ///     false => answer,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`authorize`](Session::authorize).
    pub async fn reauthorize<B, R>(&self, request: &mut Request<B>, answer: &Response<R>) -> Result<bool> {
        let url = absolute(request)?;
        let Some(target) = self.slot.context.target_of(&url) else {
            return Ok(false);
        };
        let Some(sent) = request.headers().get(header::AUTHORIZATION) else {
            // The API never saw a token, so it refused none.
            return Ok(false);
        };
        if !refuses_token(answer.status(), answer.headers()) {
            return Ok(false);
        }
        let current = self.current(target).await?;
        let newer = if *sent == bearer(Stage::Api, &current.token)? {
            if !current.can_refresh {
                return Ok(false);
            }
            let seen = current.generation;
            self.slot.refreshed(self.epoch, target, seen).await?
        } else {
            current
        };
        let value = bearer(Stage::Api, &newer.token)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(true)
    }
}

/// The header value of a token; it does not print.
pub(super) fn bearer(stage: Stage, token: &AccessToken) -> Result<HeaderValue> {
    let value = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| Error::internal(stage, "an access token that cannot stand in a header was stored"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether an answer refuses the token that was sent, so that another one may help (RFC 6750 §3.1). A bare 401 counts: many
/// APIs say no more than that. One that gives another reason, or wants another kind of credential, does not.
pub(super) fn refuses_token(status: StatusCode, headers: &HeaderMap) -> bool {
    if status != StatusCode::UNAUTHORIZED {
        return false;
    }
    let challenges = Challenge::of(headers);
    let mut bearer = challenges.iter().filter(|c| c.is("Bearer")).peekable();
    if bearer.peek().is_none() {
        return challenges.is_empty();
    }
    bearer.any(|challenge| matches!(challenge.error().as_deref(), None | Some("invalid_token")))
}

fn absolute<B>(request: &Request<B>) -> Result<Url> {
    Url::parse(&request.uri().to_string()).map_err(|_| {
        Error::configuration(
            "url_malformed",
            "RFC 9110 §7.1",
            "the URI of the request must be absolute, with scheme and host: only so can it be told where the token goes",
        )
        .at_stage(Stage::Api)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(status: u16, challenges: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        refuses_token(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn bt_07_bt_08_bt_09_only_a_refused_token_is_replaced() {
        assert!(refuses(401, &[]));
        assert!(refuses(401, &["Bearer"]));
        assert!(refuses(401, &["Bearer error=\"invalid_token\""]));
        assert!(refuses(
            401,
            &["Basic realm=\"x\"", "Bearer error=\"invalid_token\""]
        ));
        assert!(!refuses(401, &["Basic realm=\"x\""]));
        assert!(!refuses(
            401,
            &["Bearer error=\"insufficient_scope\", scope=\"write\""]
        ));
        assert!(!refuses(401, &["Bearer error=\"invalid_request\""]));
        assert!(!refuses(403, &["Bearer error=\"insufficient_scope\""]));
        assert!(!refuses(400, &["Bearer error=\"invalid_token\""]));
        assert!(!refuses(200, &[]));
    }
}
