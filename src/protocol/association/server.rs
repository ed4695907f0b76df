//! The authorization server, as far as its metadata tell.

use super::fetched::{FetchFailure, Fetched};
use super::finding::{Check, Finding, Severity};
use crate::error::Result;
use crate::protocol::endpoint::{AllowHttpOnLoopback, TransportPolicy};
use crate::protocol::issuer::Issuer;
use crate::protocol::json::Object;
use crate::protocol::metadata::{AuthorizationServer, MAX_DOCUMENT_BYTES};

/// What Gatepass can verify in every build.
const ALGORITHMS: [&str; 3] = ["RS256", "PS256", "ES256"];
/// With a feature, or in builds for desktops.
const MORE_ALGORITHMS: [&str; 4] = ["ES384", "ES512", "EdDSA", "Ed25519"];
/// More than this between two clocks is a clock that is wrong, in seconds.
const MAX_OFFSET: i64 = 60;

/// An authorization server that is looked at.
///
/// ```
/// use gatepass::association::{Fetched, ServerCheck};
///
/// let check = ServerCheck::new("https://login.example.com", None)?;
/// assert_eq!(check.metadata_urls()[0], "https://login.example.com/.well-known/openid-configuration");
/// let metadata = br#"{ "issuer": "https://login.example.com/" }"#;
/// let answer = Fetched::answer(200, [("content-type", "application/json")], *metadata);
/// let findings = check.check(&check.metadata_urls()[0], &answer, None);
/// assert_eq!(findings[0].code(), "server_issuer");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerCheck {
    issuer: Issuer,
    policy: TransportPolicy,
}

impl ServerCheck {
    /// The server of this issuer. Http to a loopback address is for test servers.
    ///
    /// # Errors
    /// Those of an issuer that cannot be one, of the kind Configuration.
    pub fn new(issuer: &str, http_on_loopback: Option<AllowHttpOnLoopback>) -> Result<Self> {
        let policy = TransportPolicy { http_on_loopback };
        Ok(Self {
            issuer: Issuer::parse(issuer, policy)?,
            policy,
        })
    }

    /// That an issuer is none, as a finding.
    #[must_use]
    pub fn refused(issuer: &str, error: &crate::error::Error) -> Finding {
        // What stands before an @ may be a password.
        let shown = match issuer.split_once("://").map(|(_, rest)| rest) {
            Some(rest) if rest.contains('@') => "the issuer",
            _ => issuer,
        };
        let message = error.to_string().replace(issuer, shown);
        Finding::new(
            Check::ServerIssuerForm,
            shown,
            format!("{message} [{}]", error.code()),
        )
    }

    /// Where its metadata may be, in the order to ask (RFC 8414 §3, OpenID Connect Discovery §4).
    #[must_use]
    pub fn metadata_urls(&self) -> Vec<String> {
        self.issuer.metadata_urls()
    }

    /// Whether to ask at the next place: this answer is no metadata at all.
    #[must_use]
    pub fn is_elsewhere(&self, fetched: &Fetched) -> bool {
        fetched.status().is_some()
            && fetched
                .file("", MAX_DOCUMENT_BYTES)
                .map_or(true, |body| Object::parse(body).is_err())
    }

    /// The metadata, if Gatepass would use them.
    #[must_use]
    pub fn metadata(&self, fetched: &Fetched) -> Option<AuthorizationServer> {
        let body = fetched.file("", MAX_DOCUMENT_BYTES).ok()?;
        AuthorizationServer::parse(body, &self.issuer, self.policy).ok()
    }

    /// Looks at the metadata. `now` is the time of this machine in seconds since 1970, at the moment of the answer.
    #[must_use]
    pub fn check(&self, url: &str, fetched: &Fetched, now: Option<i64>) -> Vec<Finding> {
        let found = |check, found: &str| Finding::new(check, url, found);
        if let Some((why, detail)) = fetched.failure() {
            let check = match why {
                FetchFailure::Tls => Check::ServerTls,
                FetchFailure::TooLong => Check::ServerNoMetadata,
                _ => Check::ServerUnreachable,
            };
            return vec![found(check, detail)];
        }
        let mut findings = Vec::new();
        self.clock(url, fetched, now, &mut findings);
        let body = match fetched.file(url, MAX_DOCUMENT_BYTES) {
            Ok(body) => body,
            Err(why) => {
                findings.push(found(Check::ServerNoMetadata, why.found()));
                return findings;
            }
        };
        let object = match Object::parse(body) {
            Ok(object) => object,
            Err(why) => {
                findings.push(found(Check::ServerMetadata, &why.to_string()));
                return findings;
            }
        };
        if !fetched.is_json() {
            findings.push(found(Check::ServerContentType, &fetched.content_type()));
        }
        let parsed = AuthorizationServer::parse(body, &self.issuer, self.policy)
            .and_then(|server| server.require_protections().map(|()| server));
        if let Err(error) = parsed {
            let check = match error.code() {
                "issuer_mismatch" => Check::ServerIssuer,
                "s256_unsupported" => Check::ServerS256,
                _ => Check::ServerMetadata,
            };
            findings.push(found(check, &format!("{error} [{}]", error.code())));
            return findings;
        }
        offers(url, &object, &mut findings);
        let worst = findings.iter().map(Finding::severity).max();
        if worst.is_none_or(|worst| worst < Severity::Warning) {
            findings.push(found(Check::ServerGood, "exact issuer, S256, endpoints, keys"));
        }
        findings
    }

    fn clock(&self, url: &str, fetched: &Fetched, now: Option<i64>, findings: &mut Vec<Finding>) {
        if let (Some(server), Some(now)) = (fetched.date(), now) {
            let offset = server.saturating_sub(now);
            if offset.saturating_abs() > MAX_OFFSET {
                let way = if offset > 0 { "ahead of" } else { "behind" };
                let found = format!("the server is {} s {way} this machine", offset.saturating_abs());
                findings.push(Finding::new(Check::ServerClock, url, found));
            }
        }
    }
}

/// What the server offers; a list that is absent means the default of RFC 8414 §2.
fn offers(url: &str, object: &Object, findings: &mut Vec<Finding>) {
    let list = |name: &str| object.strings(name);
    let has =
        |name: &str, value: &str| list(name).is_some_and(|list| list.iter().any(|known| known == value));
    let lacks =
        |name: &str, value: &str| list(name).is_some_and(|list| !list.iter().any(|known| known == value));
    let mut found = |check, text: &str| findings.push(Finding::new(check, url, text));
    if list("code_challenge_methods_supported").is_none() {
        found(Check::ServerS256Silent, "no code_challenge_methods_supported");
    }
    if object.bool("authorization_response_iss_parameter_supported") != Some(true) {
        found(
            Check::ServerNoIss,
            "no authorization_response_iss_parameter_supported",
        );
    }
    if object.get("pushed_authorization_request_endpoint").is_none() {
        found(Check::ServerNoPar, "no pushed_authorization_request_endpoint");
    }
    if !has("token_endpoint_auth_methods_supported", "none") {
        let text = match list("token_endpoint_auth_methods_supported") {
            Some(methods) => format!("token_endpoint_auth_methods_supported: {}", methods.join(", ")),
            None => "no token_endpoint_auth_methods_supported, which means client_secret_basic".to_owned(),
        };
        found(Check::ServerNoPublicClients, &text);
    }
    if !has("grant_types_supported", "refresh_token") {
        found(
            Check::ServerNoRefresh,
            "no refresh_token in grant_types_supported",
        );
    }
    if lacks("scopes_supported", "offline_access") {
        found(
            Check::ServerNoOfflineAccess,
            "no offline_access in scopes_supported",
        );
    }
    if object.get("jwks_uri").is_none() {
        found(Check::ServerNoKeys, "no jwks_uri");
    }
    if object.get("revocation_endpoint").is_none() {
        found(Check::ServerNoRevocation, "no revocation_endpoint");
    }
    if let Some(algorithms) = list("id_token_signing_alg_values_supported") {
        let text = algorithms.join(", ");
        let known =
            |one: &String| ALGORITHMS.contains(&one.as_str()) || MORE_ALGORITHMS.contains(&one.as_str());
        if !algorithms.iter().any(known) {
            found(Check::ServerAlgorithms, &text);
        }
        if algorithms
            .iter()
            .any(|one| one == "none" || one.starts_with("HS"))
        {
            found(Check::ServerAlgorithmsWeak, &text);
        }
    }
}
