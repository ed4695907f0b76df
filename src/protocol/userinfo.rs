//! The userinfo endpoint (OpenID Connect Core §5.3).

use ::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::{is_content, is_json_content, with_wait};
use super::id_token::SKEW_SECONDS;
use super::issuer::Issuer;
use super::json::Object;
use super::jwk::JwkSet;
use super::jws::{CompactJws, Refused, Unsigned};
use super::www_authenticate::Challenge;
use crate::error::{Error, ErrorKind, Result, ServerError, Stage};

/// Claims about the user, from the userinfo endpoint, proven to be about the user who signed in.
///
/// ```no_run
/// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
/// let userinfo = session.userinfo().await?;
/// let picture = userinfo.get("picture").and_then(|picture| picture.as_str());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Userinfo(Object);

impl Userinfo {
    /// Any claim by name, as JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All claims, as the text of a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.0.0.clone()).to_string()
    }

    /// Reads an answer; its content type decides whether it is signed (§5.3.2).
    pub(crate) fn read(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        subject: &str,
    ) -> Result<UserinfoAnswer> {
        if !status.is_success() {
            return Err(refused(status, headers));
        }
        if is_content(headers, "application/jwt") {
            let text = std::str::from_utf8(body).map_err(|_| malformed("is not a JWT"))?;
            return Ok(UserinfoAnswer::Signed(SignedUserinfo(text.to_owned())));
        }
        if !is_json_content(headers) {
            return Err(malformed(
                "is labelled neither application/json nor application/jwt",
            ));
        }
        let object = Object::parse(body).map_err(|e| malformed(&format!("is {e}")))?;
        Self::about(object, subject).map(UserinfoAnswer::Claims)
    }

    /// Without the `sub` of the ID token nothing in it may be used (§5.3.2).
    fn about(object: Object, subject: &str) -> Result<Self> {
        if object.str("sub") == Some(subject) {
            return Ok(Self(object));
        }
        Err(Error::protocol(
            Stage::Userinfo,
            "userinfo_subject",
            "OpenID Connect Core §5.3.2",
            "the userinfo is not about the user who signed in, so none of it is used",
        ))
    }
}

/// What the userinfo endpoint answered.
#[derive(Debug)]
pub(crate) enum UserinfoAnswer {
    /// Claims that came as they are; TLS vouches for them.
    Claims(Userinfo),
    /// Claims that are to be verified with the server's keys first.
    Signed(SignedUserinfo),
}

/// A signed answer. Nothing in it is verified yet.
pub(crate) struct SignedUserinfo(String);

/// What a signed answer is held against.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) client_id: &'a str,
    /// The algorithms in the server's metadata; without any, RS256.
    pub(crate) algorithms: Option<&'a [String]>,
    pub(crate) subject: &'a str,
    /// Now by the server's clock, in seconds since 1970.
    pub(crate) now: i64,
}

impl SignedUserinfo {
    /// Verifies the signature, then that the server made it (`iss`) for this client (`aud`), and about the user who
    /// signed in (§5.3.2, §5.3.4). If it has a time of expiry, that counts too.
    pub(crate) fn verify(&self, keys: &JwkSet, expected: &Expected<'_>) -> Result<Userinfo, Refused> {
        let jws = CompactJws::parse(&self.0).map_err(|error| error.at_stage(Stage::Userinfo))?;
        jws.verify(keys, expected.algorithms).map_err(unsigned)?;
        let object = jws.payload;
        if object.str("iss") != Some(expected.issuer.as_str()) {
            return Err(signed("userinfo_issuer", "was issued by another server").into());
        }
        let for_us = match object.get("aud") {
            Some(Value::String(one)) => one == expected.client_id,
            _ => object
                .strings("aud")
                .is_some_and(|all| all.iter().any(|one| one == expected.client_id)),
        };
        if !for_us {
            return Err(signed("userinfo_audience", "is not for this client").into());
        }
        let expired = |object: &Object| {
            object
                .numeric_date("exp")
                .is_none_or(|expires| expected.now >= expires.saturating_add(SKEW_SECONDS))
        };
        if object.get("exp").is_some() && expired(&object) {
            return Err(signed("userinfo_expired", "has expired").into());
        }
        Ok(Userinfo::about(object, expected.subject)?)
    }
}

impl std::fmt::Debug for SignedUserinfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedUserinfo(redacted)")
    }
}

fn unsigned(why: Unsigned) -> Refused {
    let error = match why {
        Unsigned::UnknownKey => {
            return Refused::UnknownKey(signed(
                "userinfo_key",
                "is signed with a key that is not in the server's key set",
            ));
        }
        Unsigned::Algorithm => signed(
            "userinfo_algorithm",
            "is not signed with an algorithm that the server announced and this build verifies",
        ),
        Unsigned::Kid | Unsigned::Ambiguous => signed(
            "userinfo_key",
            "does not say which of the server's keys signed it",
        ),
        Unsigned::Type => signed("userinfo_type", "says that it is another kind of token"),
        Unsigned::Signature => signed("userinfo_signature", "has a signature that does not verify"),
    };
    error.into()
}

fn signed(code: &'static str, why: &str) -> Error {
    Error::protocol(
        Stage::Userinfo,
        code,
        "OpenID Connect Core §5.3.4",
        format!("the signed userinfo {why}"),
    )
}

/// The endpoint is an API like others: it says why in its challenge (§5.3.3, RFC 6750 §3).
fn refused(status: StatusCode, headers: &HeaderMap) -> Error {
    let challenge = Challenge::of(headers)
        .into_iter()
        .find(|challenge| challenge.error().is_some());
    let server = ServerError {
        error: challenge.as_ref().and_then(Challenge::error),
        description: challenge.as_ref().and_then(Challenge::error_description),
        uri: challenge.as_ref().and_then(Challenge::error_uri),
        status: Some(status.as_u16()),
    };
    let message = "the userinfo endpoint did not answer with claims";
    let error = Error::new(ErrorKind::Server, Stage::Userinfo, "userinfo_refused", message)
        .with_clause("OpenID Connect Core §5.3.3")
        .with_server(server);
    with_wait(error, headers)
}

impl std::fmt::Debug for Userinfo {
    /// Claims are personal data: only their names print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Userinfo")
            .field("names", &self.0.0.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn malformed(why: &str) -> Error {
    Error::protocol(
        Stage::Userinfo,
        "userinfo_malformed",
        "OpenID Connect Core §5.3.2",
        format!("the userinfo answer {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::endpoint::TransportPolicy;
    use crate::protocol::id_token::tests::{CLIENT, ISSUER, NOW, ec_jwk, key_set, sign};
    use serde_json::json;

    fn answer(status: u16, header: (&'static str, &str), body: &str) -> Result<UserinfoAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert(header.0, header.1.parse().unwrap());
        Userinfo::read(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            "alice",
        )
    }

    fn read(status: u16, content_type: &str, body: &str) -> Result<UserinfoAnswer> {
        answer(status, ("content-type", content_type), body)
    }

    fn claims(answer: Result<UserinfoAnswer>) -> Userinfo {
        match answer.unwrap() {
            UserinfoAnswer::Claims(claims) => claims,
            signed @ UserinfoAnswer::Signed(_) => panic!("{signed:?}"),
        }
    }

    #[test]
    fn oc_51_oc_52_bi_73() {
        let json = "application/json";
        let info = claims(read(200, json, r#"{"sub":"alice","name":"A"}"#));
        assert_eq!(info.get("name").unwrap(), "A");
        assert!(
            !format!("{info:?}").contains("alice"),
            "personal data does not print"
        );
        for (status, kind, body, code) in [
            (200, json, r#"{"sub":"bob"}"#, "userinfo_subject"),
            (200, json, r#"{"sub":"Alice"}"#, "userinfo_subject"),
            (200, json, "{}", "userinfo_subject"),
            (200, json, r#"{"sub":7}"#, "userinfo_subject"),
            (200, "text/html", "<html>", "userinfo_malformed"),
            (200, "text/plain", r#"{"sub":"alice"}"#, "userinfo_malformed"),
            (200, json, "<html>", "userinfo_malformed"),
            (200, json, "e30.e30.", "userinfo_malformed"),
            (200, json, r#"{"sub":"alice","sub":"bob"}"#, "userinfo_malformed"),
            (401, json, r#"{"sub":"alice"}"#, "userinfo_refused"),
            (302, json, r#"{"sub":"alice"}"#, "userinfo_refused"),
        ] {
            assert_eq!(read(status, kind, body).unwrap_err().code(), code, "{body}");
        }
    }

    #[test]
    fn oc_54_an_error_is_told_by_the_challenge() {
        let value =
            r#"Basic realm="x", Bearer error="insufficient_scope", error_description="ask for profile""#;
        let error = answer(403, ("www-authenticate", value), "").unwrap_err();
        let server = error.server().unwrap();
        assert_eq!(server.error.as_deref(), Some("insufficient_scope"));
        assert_eq!(server.description.as_deref(), Some("ask for profile"));
        assert_eq!(server.status, Some(403));
    }

    #[test]
    fn oc_55_claims_from_elsewhere_are_data_and_nothing_is_fetched() {
        let body = r#"{"sub":"alice","_claim_names":{"age":"a"},"_claim_sources":{"a":{"endpoint":"https://other.example/claims"}}}"#;
        let info = claims(read(200, "application/json", body));
        assert!(info.get("age").is_none());
        assert!(info.get("_claim_sources").is_some());
    }

    fn signed_code(content_type: &str, token: &str, algorithms: Option<&[String]>) -> &'static str {
        let answer = match read(200, content_type, token) {
            Ok(UserinfoAnswer::Signed(answer)) => answer,
            Ok(UserinfoAnswer::Claims(_)) => return "not signed",
            Err(error) => return error.code(),
        };
        let expected = Expected {
            issuer: &Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
            client_id: CLIENT,
            algorithms,
            subject: "alice",
            now: NOW,
        };
        match answer.verify(&key_set(&[ec_jwk(r#","kid":"a""#)]), &expected) {
            Ok(info) => {
                assert_eq!(info.get("sub").unwrap(), "alice");
                "ok"
            }
            Err(refused) => {
                let error = refused.into_error();
                assert_eq!(error.stage(), Stage::Userinfo);
                error.code()
            }
        }
    }

    fn code(header: &str, changes: Value) -> &'static str {
        let mut claims = json!({ "sub": "alice", "iss": ISSUER, "aud": CLIENT, "name": "A" });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let es256 = ["ES256".to_owned()];
        signed_code(
            "Application/JWT; charset=utf-8",
            &sign(header, &claims.to_string()),
            Some(&es256),
        )
    }

    #[test]
    fn oc_52_oc_53_signed_userinfo_is_verified() {
        let good = r#"{"alg":"ES256","kid":"a"}"#;
        assert_eq!(code(good, json!({})), "ok");
        assert_eq!(code(good, json!({ "aud": ["other", CLIENT] })), "ok");
        assert_eq!(code(good, json!({ "exp": NOW + 1 })), "ok");
        for (changes, expected) in [
            (json!({ "sub": "bob" }), "userinfo_subject"),
            (json!({ "sub": null }), "userinfo_subject"),
            (json!({ "iss": "https://other.example" }), "userinfo_issuer"),
            (json!({ "iss": null }), "userinfo_issuer"),
            (json!({ "aud": "other" }), "userinfo_audience"),
            (json!({ "aud": [CLIENT, 7] }), "userinfo_audience"),
            (json!({ "aud": null }), "userinfo_audience"),
            (json!({ "exp": NOW - SKEW_SECONDS }), "userinfo_expired"),
            (json!({ "exp": "soon" }), "userinfo_expired"),
        ] {
            assert_eq!(code(good, changes.clone()), expected, "{changes}");
        }
        for (header, expected) in [
            (r#"{"alg":"none"}"#, "userinfo_algorithm"),
            (r#"{"alg":"HS256"}"#, "userinfo_algorithm"),
            (r#"{"alg":"RS256"}"#, "userinfo_algorithm"),
            (r#"{"alg":"ES256","kid":"b"}"#, "userinfo_key"),
            (r#"{"alg":"ES256","kid":7}"#, "userinfo_key"),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, "userinfo_type"),
            (r#"{"alg":"ES256","crit":["x"]}"#, "jws_critical"),
        ] {
            assert_eq!(code(header, json!({})), expected, "{header}");
        }
    }

    #[test]
    fn bi_73_what_is_no_signed_userinfo() {
        let es256 = ["ES256".to_owned()];
        for token in [
            "",
            "<html>",
            r#"{"sub":"alice"}"#,
            "e30.e30",
            "e30.e30.e30.e30.e30",
        ] {
            assert_eq!(
                signed_code("application/jwt", token, Some(&es256)),
                "jws_malformed",
                "{token}"
            );
        }
        assert_eq!(
            signed_code("application/jwt", "e30.e30.", None),
            "userinfo_algorithm",
            "unsigned"
        );
        let token = sign(r#"{"alg":"ES256"}"#, r#"{"sub":"alice"}"#);
        let (input, _) = token.rsplit_once('.').unwrap();
        assert_eq!(
            signed_code("application/jwt", &format!("{input}.AAAA"), Some(&es256)),
            "userinfo_signature"
        );
        assert!(matches!(
            read(200, "application/jwt", &token),
            Ok(UserinfoAnswer::Signed(answer)) if !format!("{answer:?}").contains("eyJ")
        ));
    }
}
