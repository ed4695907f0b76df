//! The `claims` parameter (OpenID Connect Core §5.5): which claims an app asks for, one by one.

use serde_json::Value;

use super::json::Object;
use crate::error::{Error, Result};

/// The longest request for claims that is sent.
const MAX_BYTES: usize = 4 * 1024;

/// A request for claims that is a JSON object, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsRequest {
    json: String,
    acr_values: Vec<String>,
    auth_time: bool,
}

impl ClaimsRequest {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::configuration(
                "claims_malformed",
                "OpenID Connect Core §5.5",
                format!("the request for claims {why}"),
            ))
        };
        if text.len() > MAX_BYTES {
            return refuse("is longer than 4 KiB");
        }
        let object = match Object::parse(text.as_bytes()) {
            Ok(object) => object,
            Err(e) => return refuse(&format!("is {e}")),
        };
        for member in ["id_token", "userinfo"] {
            if object.get(member).is_some_and(|claims| !claims.is_object()) {
                return refuse(&format!("has a member {member} that is not an object"));
            }
        }
        Ok(Self {
            acr_values: essential_acr(&object),
            auth_time: essential(&object, "auth_time").is_some(),
            json: Value::Object(object.0).to_string(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.json
    }

    /// The authentication contexts that are essential: an ID token that names none of them is a failed sign-in
    /// (§5.5.1.1).
    pub(crate) fn essential_acr_values(&self) -> &[String] {
        &self.acr_values
    }

    /// Whether the time of authentication is essential: an ID token must then name it (§2).
    pub(crate) fn is_auth_time_essential(&self) -> bool {
        self.auth_time
    }
}

/// What is asked of a claim of the ID token, if it is essential.
fn essential<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    let claim = object.get("id_token").and_then(|claims| claims.get(name));
    claim.filter(|claim| claim.get("essential") == Some(&Value::Bool(true)))
}

fn essential_acr(object: &Object) -> Vec<String> {
    let Some(acr) = essential(object, "acr") else {
        return Vec::new();
    };
    let several = acr.get("values").and_then(Value::as_array).into_iter().flatten();
    acr.get("value")
        .into_iter()
        .chain(several)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oc_09_a_request_for_claims_is_an_object() {
        // The example of §5.5.
        let example = r#"{"userinfo":{"given_name":{"essential":true},"nickname":null},"id_token":{"auth_time":{"essential":true},"acr":{"values":["urn:mace:incommon:iap:silver"]}}}"#;
        let request = ClaimsRequest::parse(example).unwrap();
        let sent: Value = serde_json::from_str(request.as_str()).unwrap();
        assert_eq!(sent, serde_json::from_str::<Value>(example).unwrap());
        assert!(request.essential_acr_values().is_empty(), "voluntary");
        assert!(request.is_auth_time_essential());
        for voluntary in [
            "{}",
            r#"{"id_token":{"auth_time":null}}"#,
            r#"{"id_token":{"auth_time":{"essential":false}}}"#,
            r#"{"userinfo":{"auth_time":{"essential":true}}}"#,
        ] {
            let request = ClaimsRequest::parse(voluntary).unwrap();
            assert!(!request.is_auth_time_essential(), "{voluntary}");
        }
        for bad in [
            "",
            "acr",
            "[]",
            "{} {}",
            r#"{"id_token":7}"#,
            r#"{"userinfo":null}"#,
            r#"{"id_token":{"acr":null,"acr":null}}"#,
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES)),
        ] {
            assert_eq!(
                ClaimsRequest::parse(bad).unwrap_err().code(),
                "claims_malformed",
                "{bad}"
            );
        }
    }

    #[test]
    fn oc_10_essential_contexts_are_known() {
        let of = |acr: &str| {
            let request = ClaimsRequest::parse(&format!(r#"{{"id_token":{{"acr":{acr}}}}}"#)).unwrap();
            request.essential_acr_values().join(" ")
        };
        assert_eq!(
            of(r#"{"essential":true,"values":["urn:a","urn:b"]}"#),
            "urn:a urn:b"
        );
        assert_eq!(of(r#"{"essential":true,"value":"urn:a"}"#), "urn:a");
        for none in [
            "null",
            "{}",
            r#"{"essential":true}"#,
            r#"{"essential":false,"value":"urn:a"}"#,
            r#"{"essential":"true","value":"urn:a"}"#,
            r#"{"essential":true,"values":"urn:a"}"#,
            r#"{"value":"urn:a"}"#,
        ] {
            assert_eq!(of(none), "", "{none}");
        }
    }
}
