//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0).

use ::http::{HeaderMap, StatusCode};
use url::Url;

use super::answer::is_json_content;
use super::endpoint::{self, TransportPolicy};
use super::issuer::Issuer;
use super::json::{JsonError, Object};
use crate::error::{Error, ErrorKind, Result, Stage};

/// The longest metadata document that is read.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// What an authorization server says of itself, checked against the issuer it was asked for.
///
/// ```no_run
/// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
/// let server = client.authorization_server().await?;
/// let offers_registration = server
///     .prompt_values_supported()
///     .is_some_and(|values| values.iter().any(|value| value == "create"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthorizationServer {
    issuer: Issuer,
    document: Vec<u8>,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Option<Url>,
    userinfo_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    end_session_endpoint: Option<Url>,
    pushed_authorization_request_endpoint: Option<Url>,
    code_challenge_methods: Option<Vec<String>>,
    id_token_algorithms: Option<Vec<String>>,
    userinfo_algorithms: Option<Vec<String>>,
    prompt_values: Option<Vec<String>>,
    acr_values: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    sends_iss: bool,
    requires_par: bool,
}

impl AuthorizationServer {
    /// Reads a metadata document. Nothing of it is used unless its `issuer` is the one asked for, code point by
    /// code point (RFC 8414 §3.3, §4).
    pub(crate) fn parse(document: &[u8], issuer: &Issuer, policy: TransportPolicy) -> Result<Self> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(malformed(
                "metadata_too_long",
                "the metadata document is longer than 1 MiB",
            ));
        }
        let object = Object::parse(document)
            .map_err(|e| malformed("metadata_malformed", &format!("the metadata document is {e}")))?;
        match object.str("issuer") {
            Some(found) if found == issuer.as_str() => {}
            Some(found) => {
                return Err(Error::protocol(
                    Stage::Discovery,
                    "issuer_mismatch",
                    "RFC 8414 §3.3",
                    format!(
                        "the metadata is for the issuer {:?}, asked for {issuer:?}; if the first is right, configure it exactly so",
                        super::text::clean(found, 256)
                    ),
                ));
            }
            None => return Err(missing("issuer")),
        }
        // A list that is absent means the default, which includes `code` (RFC 8414 §2).
        if object
            .strings("response_types_supported")
            .is_some_and(|types| !types.iter().any(|t| t == "code"))
        {
            return Err(Error::new(
                ErrorKind::ProtectionUnavailable,
                Stage::Discovery,
                "code_flow_unsupported",
                "the server does not offer the authorization code flow, the only one that is safe for native apps",
            )
            .with_clause("RFC 9700 §2.1.2"));
        }
        let required = |name: &str| {
            let text = object.str(name).ok_or_else(|| missing(name))?;
            endpoint::parse(text, name, Stage::Discovery, policy)
        };
        // An optional member of the wrong type counts as absent; one that is a bad URL makes the document bad.
        let optional = |name: &str| {
            object
                .str(name)
                .map(|text| endpoint::parse(text, name, Stage::Discovery, policy))
                .transpose()
        };
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            jwks_uri: optional("jwks_uri")?,
            userinfo_endpoint: optional("userinfo_endpoint")?,
            revocation_endpoint: optional("revocation_endpoint")?,
            end_session_endpoint: optional("end_session_endpoint")?,
            pushed_authorization_request_endpoint: optional("pushed_authorization_request_endpoint")?,
            code_challenge_methods: object.strings("code_challenge_methods_supported"),
            id_token_algorithms: object.strings("id_token_signing_alg_values_supported"),
            userinfo_algorithms: object.strings("userinfo_signing_alg_values_supported"),
            prompt_values: object.strings("prompt_values_supported"),
            acr_values: object.strings("acr_values_supported"),
            scopes: object.strings("scopes_supported"),
            sends_iss: object
                .bool("authorization_response_iss_parameter_supported")
                .unwrap_or(false),
            requires_par: object
                .bool("require_pushed_authorization_requests")
                .unwrap_or(false),
            document: document.to_vec(),
        })
    }

    /// Whether an answer is a metadata document at all: `200`, `application/json`, an object (RFC 8414 §3.2). What is not
    /// may be at another of the issuer's places.
    pub(crate) fn is_document(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        status == StatusCode::OK
            && is_json_content(headers)
            && body.len() <= MAX_DOCUMENT_BYTES
            && !matches!(
                Object::parse(body),
                Err(JsonError::Syntax | JsonError::NotAnObject)
            )
    }

    /// What this document, newer than `older` and of the same issuer, takes back. Names of members, for the log: a sign-in
    /// under way keeps the document it began with.
    pub(crate) fn weaker_than(&self, older: &Self) -> Vec<&'static str> {
        let lists_s256 = |server: &Self| {
            let methods = server.code_challenge_methods.as_ref();
            methods.is_some_and(|methods| methods.iter().any(|method| method == "S256"))
        };
        let taken_back = [
            (
                "code_challenge_methods_supported",
                lists_s256(older) && !lists_s256(self),
            ),
            (
                "authorization_response_iss_parameter_supported",
                older.sends_iss && !self.sends_iss,
            ),
            (
                "require_pushed_authorization_requests",
                older.requires_par && !self.requires_par,
            ),
            (
                "pushed_authorization_request_endpoint",
                older.pushed_authorization_request_endpoint.is_some()
                    && self.pushed_authorization_request_endpoint.is_none(),
            ),
            (
                "authorization_endpoint",
                older.authorization_endpoint.origin() != self.authorization_endpoint.origin(),
            ),
            (
                "token_endpoint",
                older.token_endpoint.origin() != self.token_endpoint.origin(),
            ),
        ];
        let weaker = taken_back.into_iter().filter(|(_, weaker)| *weaker);
        weaker.map(|(name, _)| name).collect()
    }

    /// Refuses a server that cannot give a protection that every sign-in has. A server that is silent about PKCE
    /// is sent S256 all the same (RFC 7636 §5); one that lists other methods only is refused, never downgraded
    /// to (RFC 7636 §7.2).
    pub(crate) fn require_protections(&self) -> Result<()> {
        if self
            .code_challenge_methods
            .as_ref()
            .is_some_and(|m| !m.iter().any(|m| m == "S256"))
        {
            return Err(Error::new(
                ErrorKind::ProtectionUnavailable,
                Stage::Discovery,
                "s256_unsupported",
                "the server offers PKCE without S256, and plain does not protect the code",
            )
            .with_clause("RFC 7636 §7.2"));
        }
        if self.requires_par && self.pushed_authorization_request_endpoint.is_none() {
            return Err(Error::new(
                ErrorKind::ProtectionUnavailable,
                Stage::Discovery,
                "par_endpoint_missing",
                "the server takes pushed authorization requests only, and does not say where",
            )
            .with_clause("RFC 9126 §5"));
        }
        Ok(())
    }

    /// The key set, which an OpenID Connect sign-in cannot do without.
    pub(crate) fn require_jwks_uri(&self) -> Result<&Url> {
        self.jwks_uri.as_ref().ok_or_else(|| missing("jwks_uri"))
    }

    pub(crate) fn document(&self) -> &[u8] {
        &self.document
    }

    pub(crate) fn issuer_identifier(&self) -> &Issuer {
        &self.issuer
    }

    /// The algorithms the server signs ID tokens with; `None` if it does not say.
    pub(crate) fn id_token_algorithms(&self) -> Option<&[String]> {
        self.id_token_algorithms.as_deref()
    }

    /// The issuer identifier, exactly as configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// Where the browser is sent (RFC 6749 §3.1).
    #[must_use]
    pub fn authorization_endpoint(&self) -> &Url {
        &self.authorization_endpoint
    }

    /// Where codes and refresh tokens are exchanged (RFC 6749 §3.2).
    #[must_use]
    pub fn token_endpoint(&self) -> &Url {
        &self.token_endpoint
    }

    /// Where the signing keys are (RFC 8414 §2). Needed for a sign-in with the scope `openid`.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&Url> {
        self.jwks_uri.as_ref()
    }

    /// Where the claims about the user are (OpenID Connect Core §5.3).
    #[must_use]
    pub fn userinfo_endpoint(&self) -> Option<&Url> {
        self.userinfo_endpoint.as_ref()
    }

    /// Where tokens are revoked (RFC 7009). Without it [`SignOut::Revoke`](crate::SignOut::Revoke) is local.
    #[must_use]
    pub fn revocation_endpoint(&self) -> Option<&Url> {
        self.revocation_endpoint.as_ref()
    }

    /// Where the user is signed out of the server itself (OpenID Connect RP-Initiated Logout 1.0).
    #[must_use]
    pub fn end_session_endpoint(&self) -> Option<&Url> {
        self.end_session_endpoint.as_ref()
    }

    /// Where authorization requests are pushed (RFC 9126). A server that names it is always pushed to.
    #[must_use]
    pub fn pushed_authorization_request_endpoint(&self) -> Option<&Url> {
        self.pushed_authorization_request_endpoint.as_ref()
    }

    /// The algorithms the server signs userinfo with, if it says so there or for ID tokens.
    pub(crate) fn userinfo_algorithms(&self) -> Option<&[String]> {
        self.userinfo_algorithms.as_deref().or(self.id_token_algorithms())
    }

    /// Whether the server announces this value of `prompt`.
    pub(crate) fn supports_prompt(&self, value: &str) -> bool {
        self.prompt_values_supported()
            .is_some_and(|known| known.iter().any(|known| known == value))
    }

    /// The scopes the server announces; `None` if it does not say. It may know more (RFC 8414 §2).
    #[must_use]
    pub fn scopes_supported(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// The authentication contexts (`acr`) the server announces; `None` if it does not say.
    #[must_use]
    pub fn acr_values_supported(&self) -> Option<&[String]> {
        self.acr_values.as_deref()
    }

    /// The values of `prompt` the server announces; `None` if it does not say.
    #[must_use]
    pub fn prompt_values_supported(&self) -> Option<&[String]> {
        self.prompt_values.as_deref()
    }

    /// Whether the server announces that each callback says who issued it (RFC 9207 §3).
    #[must_use]
    pub fn sends_iss(&self) -> bool {
        self.sends_iss
    }
}

fn malformed(code: &'static str, message: &str) -> Error {
    Error::protocol(Stage::Discovery, code, "RFC 8414 §3.2", message)
}

fn missing(name: &str) -> Error {
    Error::protocol(
        Stage::Discovery,
        "metadata_member_missing",
        "RFC 8414 §2",
        format!("the metadata has no {name} that could be used"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://as.example";

    fn parse(document: &str) -> Result<AuthorizationServer> {
        let policy = TransportPolicy::default();
        AuthorizationServer::parse(
            document.as_bytes(),
            &Issuer::parse(ISSUER, policy).unwrap(),
            policy,
        )
    }

    fn with(members: &str) -> String {
        format!(
            r#"{{"issuer":"{ISSUER}","authorization_endpoint":"https://as.example/a","token_endpoint":"https://login.example/t"{members}}}"#
        )
    }

    fn code(document: &str) -> &'static str {
        parse(document).unwrap_err().code()
    }

    #[test]
    fn am_05_am_17_a_small_document_is_enough() {
        let server = parse(&with("")).unwrap();
        assert_eq!(server.token_endpoint().as_str(), "https://login.example/t");
        assert!(!server.sends_iss());
        assert_eq!(
            server.require_jwks_uri().unwrap_err().code(),
            "metadata_member_missing"
        );
        server.require_protections().unwrap();
    }

    #[test]
    fn bi_76_am_06_am_07_the_issuer_must_be_the_same_text() {
        for other in [
            "https://as.example/",
            "https://AS.example",
            "https://as.example:443",
            "http://as.example",
        ] {
            assert_eq!(
                code(&with("").replace(ISSUER, other)),
                "issuer_mismatch",
                "{other}"
            );
        }
    }

    #[test]
    fn oa_06_am_09_bi_77_80_81_82_endpoints() {
        assert_eq!(
            code(&with("").replace("https://login", "http://login")),
            "endpoint_insecure"
        );
        assert_eq!(code(&with("").replace("/t\"", "/t#x\"")), "endpoint_fragment");
        assert_eq!(
            code(&with("").replace("https://login.example/t", "")),
            "endpoint_malformed"
        );
        assert_eq!(
            code(r#"{"issuer":"https://as.example","token_endpoint":"https://as.example/t"}"#),
            "metadata_member_missing"
        );
        assert_eq!(
            code(&with("").replace("\"https://login.example/t\"", "[]")),
            "metadata_member_missing"
        );
        assert_eq!(
            code(&with(r#","jwks_uri":"http://as.example/jwks""#)),
            "endpoint_insecure"
        );
        let lenient = parse(&with(
            r#","userinfo_endpoint":null,"code_challenge_methods_supported":"S256""#,
        ))
        .unwrap();
        assert!(lenient.userinfo_endpoint().is_none());
        lenient.require_protections().unwrap();
    }

    #[test]
    fn bi_79_83_what_is_no_document() {
        for bad in ["", "<html>", "[]", "{", "{\"issuer\":\"a\",\"issuer\":\"b\"}"] {
            assert_eq!(code(bad), "metadata_malformed", "{bad}");
        }
        assert_eq!(code(&" ".repeat(MAX_DOCUMENT_BYTES + 1)), "metadata_too_long");
    }

    #[test]
    fn pk_11_a_server_without_s256_is_refused_never_downgraded_to() {
        let plain = parse(&with(r#","code_challenge_methods_supported":["plain"]"#)).unwrap();
        let error = plain.require_protections().unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::ProtectionUnavailable, "s256_unsupported")
        );
        let both = parse(&with(r#","code_challenge_methods_supported":["plain","S256"]"#)).unwrap();
        both.require_protections().unwrap();
        assert_eq!(
            code(&with(r#","response_types_supported":["token"]"#)),
            "code_flow_unsupported"
        );
    }

    #[test]
    fn pa_08_a_server_that_requires_pushing_must_say_where() {
        let required = r#","require_pushed_authorization_requests":true"#;
        let error = parse(&with(required)).unwrap().require_protections().unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::ProtectionUnavailable, "par_endpoint_missing")
        );
        let endpoint = r#","pushed_authorization_request_endpoint":"https://as.example/par""#;
        let both = parse(&with(&format!("{required}{endpoint}"))).unwrap();
        both.require_protections().unwrap();
        assert_eq!(
            both.pushed_authorization_request_endpoint().map(Url::as_str),
            Some("https://as.example/par")
        );
        let insecure = endpoint.replace("https", "http");
        assert_eq!(code(&with(&insecure)), "endpoint_insecure", "PA-01");
    }

    #[test]
    fn am_05_lists_are_taken_whole_or_not_at_all() {
        let server = parse(&with(
            r#","scopes_supported":["openid","a"],"acr_values_supported":["urn:a",7],"prompt_values_supported":"none","userinfo_signing_alg_values_supported":[]"#,
        ))
        .unwrap();
        assert_eq!(server.scopes_supported().unwrap(), ["openid", "a"]);
        assert_eq!(server.acr_values_supported(), None, "BI-80");
        assert_eq!(server.prompt_values_supported(), None, "BI-80");
        assert!(!server.supports_prompt("none"));
        let announced = parse(&with(r#","id_token_signing_alg_values_supported":["ES256"]"#)).unwrap();
        assert_eq!(announced.userinfo_algorithms().unwrap(), ["ES256"]);
        let own = parse(&with(
            r#","id_token_signing_alg_values_supported":["ES256"],"userinfo_signing_alg_values_supported":["PS256"]"#,
        ))
        .unwrap();
        assert_eq!(own.userinfo_algorithms().unwrap(), ["PS256"]);
        assert_eq!(parse(&with("")).unwrap().userinfo_algorithms(), None);
    }

    #[test]
    fn am_08_am_15_am_16_what_is_not_said_has_the_default_of_the_standard() {
        // RFC 8414 §2: code is among the default response types, S256 is sent to a server that is silent about it.
        let silent = parse(&with("")).unwrap();
        silent.require_protections().unwrap();
        assert!(!silent.sends_iss());
        // OpenID Connect Discovery §3 wants RS256 among the algorithms; servers of FAPI leave it out.
        let fapi = parse(&with(r#","id_token_signing_alg_values_supported":["PS256"]"#)).unwrap();
        assert_eq!(fapi.id_token_algorithms().unwrap(), ["PS256"]);
    }

    #[test]
    fn am_05_bi_79_what_is_a_document() {
        let is = |status: u16, content_type: &str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", content_type.parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            AuthorizationServer::is_document(status, &headers, body.as_bytes())
        };
        let json = "application/json; charset=utf-8";
        assert!(is(200, json, &with("")));
        assert!(is(200, json, "{}"), "one that is bad is still the one");
        assert!(is(200, json, r#"{"issuer":"a","issuer":"b"}"#));
        for (status, content_type, body) in [
            (404, json, "{}"),
            (204, json, ""),
            (302, json, "{}"),
            (200, "text/html", "<html>"),
            (200, "text/html", "{}"),
            (200, json, "<html>"),
            (200, json, "[]"),
            (200, json, ""),
        ] {
            assert!(!is(status, content_type, body), "{status} {content_type} {body}");
        }
        assert!(!is(200, json, &" ".repeat(MAX_DOCUMENT_BYTES + 1)), "BI-83");
    }

    #[test]
    fn bi_84_what_a_newer_document_takes_back() {
        let strong = parse(&with(
            r#","code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true,"require_pushed_authorization_requests":true,"pushed_authorization_request_endpoint":"https://as.example/par""#,
        ))
        .unwrap();
        let weak = parse(&with("").replace("https://login.example", "https://other.example")).unwrap();
        assert_eq!(
            weak.weaker_than(&strong),
            [
                "code_challenge_methods_supported",
                "authorization_response_iss_parameter_supported",
                "require_pushed_authorization_requests",
                "pushed_authorization_request_endpoint",
                "token_endpoint",
            ]
        );
        assert!(strong.weaker_than(&strong).is_empty());
        let gained = parse(&with("")).unwrap();
        assert!(strong.weaker_than(&gained).is_empty());
    }

    #[test]
    fn am_17_rv_01_lo_01_pa_01_every_endpoint_must_be_https() {
        for name in [
            "jwks_uri",
            "userinfo_endpoint",
            "revocation_endpoint",
            "end_session_endpoint",
            "pushed_authorization_request_endpoint",
        ] {
            let member = |url: &str| with(&format!(r#","{name}":"{url}""#));
            assert_eq!(
                code(&member("http://as.example/x")),
                "endpoint_insecure",
                "{name}"
            );
            assert_eq!(
                code(&member("https://as.example/x#y")),
                "endpoint_fragment",
                "{name}"
            );
            assert!(
                parse(&member("https://other.example/x?y=1")).is_ok(),
                "{name}: of any host"
            );
        }
        let server = parse(&with(r#","end_session_endpoint":"https://as.example/out""#)).unwrap();
        assert_eq!(
            server.end_session_endpoint().map(Url::as_str),
            Some("https://as.example/out")
        );
        assert!(server.revocation_endpoint().is_none() && server.jwks_uri().is_none());
    }
}
