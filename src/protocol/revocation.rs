//! Token revocation (RFC 7009).

use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::answer::{oauth_error, retry_after_queued};
use super::form;
use super::json::Object;
use super::token::RefreshToken;
use crate::error::{Error, ErrorKind, ServerError, Stage};

/// The body that revokes a refresh token, and with it the grant (RFC 7009 §2.1).
pub(crate) fn request(client_id: &str, token: &RefreshToken) -> Zeroizing<Vec<u8>> {
    form::encode([
        ("token", token.expose()),
        ("token_type_hint", "refresh_token"),
        ("client_id", client_id),
    ])
}

/// What the answer means. A `200` is success whatever its body says, for an unknown token too (RFC 7009 §2.2).
pub(crate) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: &RefreshToken,
) -> Result<(), Error> {
    if status == StatusCode::OK {
        return Ok(());
    }
    let server = Object::parse(body)
        .ok()
        .and_then(|object| oauth_error(&object, status))
        .unwrap_or_else(|| ServerError {
            status: Some(status.as_u16()),
            ..ServerError::default()
        });
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        _ => ErrorKind::Server,
    };
    let error = Error::new(
        kind,
        Stage::Revocation,
        "revocation_refused",
        "the server did not revoke the token",
    )
    .with_clause("RFC 7009 §2.2.1")
    .with_server(server)
    .without(&[token.expose()]);
    // RFC 7009 §2.2.1: after a 503 the token still exists, and the client may try again.
    Err(match (status, retry_after_queued(headers)) {
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, wait) => {
            error.with_retry_after(wait.unwrap_or(Duration::ZERO))
        }
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rv_02_the_body() {
        let body = request("my-app", &RefreshToken::new("r+t".to_owned()));
        assert_eq!(
            &body[..],
            b"token=r%2Bt&token_type_hint=refresh_token&client_id=my-app"
        );
    }

    #[test]
    fn rv_06_rv_07_rv_08_bi_92_answers() {
        let headers = HeaderMap::new();
        let token = RefreshToken::new("R".to_owned());
        let read = |status, headers: &HeaderMap, body: &[u8]| read(status, headers, body, &token);
        assert!(read(StatusCode::OK, &headers, b"<html>").is_ok());
        for status in [302, 400, 401, 404, 500] {
            let error = read(StatusCode::from_u16(status).unwrap(), &headers, b"x").unwrap_err();
            assert_eq!(error.server().unwrap().status, Some(status));
        }
        let unsupported = read(
            StatusCode::BAD_REQUEST,
            &headers,
            br#"{"error":"unsupported_token_type"}"#,
        );
        assert_eq!(
            unsupported.unwrap_err().server().unwrap().error.as_deref(),
            Some("unsupported_token_type")
        );
        assert!(
            read(StatusCode::SERVICE_UNAVAILABLE, &headers, b"")
                .unwrap_err()
                .is_retryable()
        );
    }
}
