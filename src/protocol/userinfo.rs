//! The userinfo endpoint (OpenID Connect Core §5.3).

use ::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::is_json_content;
use super::json::Object;
use crate::error::{Error, ErrorKind, Result, ServerError, Stage};

/// Claims about the user, from the userinfo endpoint, proven to be about the user who signed in.
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

    /// Reads an answer. Without the `sub` of the ID token nothing in it may be used (§5.3.2).
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8], subject: &str) -> Result<Self> {
        if !status.is_success() {
            let server = ServerError {
                status: Some(status.as_u16()),
                ..ServerError::default()
            };
            let message = "the userinfo endpoint did not answer with claims";
            return Err(
                Error::new(ErrorKind::Server, Stage::Userinfo, "userinfo_refused", message)
                    .with_clause("OpenID Connect Core §5.3.3")
                    .with_server(server),
            );
        }
        if !is_json_content(headers) {
            return Err(malformed(
                "is not labelled application/json; signed userinfo was not asked for",
            ));
        }
        let object = Object::parse(body).map_err(|e| malformed(&format!("is {e}")))?;
        if object.str("sub") != Some(subject) {
            return Err(Error::protocol(
                Stage::Userinfo,
                "userinfo_subject",
                "OpenID Connect Core §5.3.2",
                "the userinfo is not about the user who signed in, so none of it is used",
            ));
        }
        Ok(Self(object))
    }
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

    fn read(status: u16, content_type: &str, body: &str) -> Result<Userinfo> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        Userinfo::read(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            "alice",
        )
    }

    #[test]
    fn oc_51_oc_52_bi_73() {
        let json = "application/json";
        assert_eq!(
            read(200, json, r#"{"sub":"alice","name":"A"}"#)
                .unwrap()
                .get("name")
                .unwrap(),
            "A"
        );
        for (status, kind, body, code) in [
            (200, json, r#"{"sub":"bob"}"#, "userinfo_subject"),
            (200, json, "{}", "userinfo_subject"),
            (200, json, r#"{"sub":7}"#, "userinfo_subject"),
            (200, "application/jwt", "e30.e30.", "userinfo_malformed"),
            (200, "text/html", "<html>", "userinfo_malformed"),
            (200, json, "<html>", "userinfo_malformed"),
            (401, json, r#"{"sub":"alice"}"#, "userinfo_refused"),
        ] {
            assert_eq!(read(status, kind, body).unwrap_err().code(), code, "{body}");
        }
    }
}
