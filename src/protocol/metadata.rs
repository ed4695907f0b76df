//! Authorization server metadata (RFC 8414, OpenID Connect Discovery 1.0).

use url::Url;

use super::endpoint::{self, TransportPolicy};
use super::issuer::Issuer;
use super::json::Object;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The longest metadata document that is read.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// What an authorization server says of itself, checked against the issuer it was asked for.
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
    prompt_values: Vec<String>,
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
            prompt_values: object.strings("prompt_values_supported").unwrap_or_default(),
            sends_iss: object
                .bool("authorization_response_iss_parameter_supported")
                .unwrap_or(false),
            requires_par: object
                .bool("require_pushed_authorization_requests")
                .unwrap_or(false),
            document: document.to_vec(),
        })
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

    /// Where the browser is sent.
    #[must_use]
    pub fn authorization_endpoint(&self) -> &Url {
        &self.authorization_endpoint
    }

    /// Where codes and refresh tokens are exchanged.
    #[must_use]
    pub fn token_endpoint(&self) -> &Url {
        &self.token_endpoint
    }

    /// Where the signing keys are.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&Url> {
        self.jwks_uri.as_ref()
    }

    /// Where the claims about the user are (OpenID Connect Core §5.3).
    #[must_use]
    pub fn userinfo_endpoint(&self) -> Option<&Url> {
        self.userinfo_endpoint.as_ref()
    }

    /// Where tokens are revoked (RFC 7009).
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

    /// Whether the server announces this value of `prompt`.
    pub(crate) fn supports_prompt(&self, value: &str) -> bool {
        self.prompt_values.iter().any(|known| known == value)
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
    fn bi_77_80_81_82_endpoints() {
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
}
