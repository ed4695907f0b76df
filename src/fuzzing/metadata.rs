//! Metadata: nothing of it counts unless it is the issuer's that was asked for, and no endpoint is less than https.

use ::http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use super::samples::ISSUER;
use crate::error::ErrorKind;
use crate::protocol::endpoint::{AllowHttpOnLoopback, TransportPolicy};
use crate::protocol::issuer::Issuer;
use crate::protocol::metadata::AuthorizationServer;

const STRICT: TransportPolicy = TransportPolicy {
    http_on_loopback: None,
};
const LOOPBACK: TransportPolicy = TransportPolicy {
    http_on_loopback: Some(AllowHttpOnLoopback),
};

/// The input is a metadata document, asked for at `https://as.example`.
pub fn metadata(data: &[u8]) {
    let issuer = |text| Issuer::parse(text, STRICT).unwrap();
    let json: HeaderMap = [(::http::header::CONTENT_TYPE, "application/json".parse().unwrap())]
        .into_iter()
        .collect();
    let is_document = AuthorizationServer::is_document(StatusCode::OK, &json, data);
    assert!(!AuthorizationServer::is_document(
        StatusCode::NOT_FOUND,
        &json,
        data
    ));
    assert!(!AuthorizationServer::is_document(
        StatusCode::OK,
        &HeaderMap::new(),
        data
    ));

    let strict = AuthorizationServer::parse(data, &issuer(ISSUER), STRICT);
    let loopback = AuthorizationServer::parse(data, &issuer(ISSUER), LOOPBACK);
    let server = match (strict, &loopback) {
        (Ok(server), Ok(_)) => server,
        (Ok(_), Err(_)) => panic!("what allows more refused it"),
        (Err(error), loopback) => {
            assert!(matches!(
                error.kind(),
                ErrorKind::Protocol | ErrorKind::ProtectionUnavailable
            ));
            assert!(error.clause().is_some() && !error.to_string().is_empty());
            if let Ok(server) = loopback {
                assert_eq!(error.code(), "endpoint_insecure");
                assert!(endpoints(server).any(|(_, url)| url.scheme() == "http"));
                check(server, data, true);
            }
            return;
        }
    };
    assert!(is_document);
    check(&server, data, false);
    // Of that issuer alone, letter by letter.
    for other in [
        "https://as.example/",
        "https://as.example:443",
        "https://AS.example",
        "https://other.example",
    ] {
        let error = AuthorizationServer::parse(data, &issuer(other), LOOPBACK).unwrap_err();
        assert_eq!(error.code(), "issuer_mismatch", "{other}");
    }
    // It is kept as it came, and reads the same the next time.
    let again = AuthorizationServer::parse(server.document(), server.issuer_identifier(), STRICT).unwrap();
    assert_eq!(format!("{again:?}"), format!("{server:?}"));
    assert!(server.weaker_than(&again).is_empty());
}

fn endpoints(server: &AuthorizationServer) -> impl Iterator<Item = (&'static str, &Url)> {
    let optional = [
        ("jwks_uri", server.jwks_uri()),
        ("userinfo_endpoint", server.userinfo_endpoint()),
        ("revocation_endpoint", server.revocation_endpoint()),
        ("end_session_endpoint", server.end_session_endpoint()),
        (
            "pushed_authorization_request_endpoint",
            server.pushed_authorization_request_endpoint(),
        ),
    ];
    let required = [
        ("authorization_endpoint", server.authorization_endpoint()),
        ("token_endpoint", server.token_endpoint()),
    ];
    let optional = optional.into_iter().filter_map(|(name, url)| Some((name, url?)));
    required.into_iter().chain(optional)
}

fn check(server: &AuthorizationServer, data: &[u8], http_on_loopback: bool) {
    let body = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let document: Value = serde_json::from_slice(body).unwrap();
    let listed = |name: &str| -> Option<Vec<&str>> {
        let list = document[name].as_array()?;
        list.iter().map(Value::as_str).collect()
    };
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(server.issuer(), ISSUER);
    for (name, url) in endpoints(server) {
        let loopback = url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]"));
        assert!(url.scheme() == "https" || (http_on_loopback && loopback), "{url}");
        assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
        assert!(url.host().is_some());
        let text = document[name].as_str().unwrap();
        assert_eq!(&Url::parse(text).unwrap(), url, "{name}");
        // Nothing that a parser would have dropped or repaired.
        assert!(
            !text.contains([' ', '\\', '\t', '\r', '\n']) && !text.contains('#'),
            "{text}"
        );
    }
    let named = endpoints(server).count();
    let texts = [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
        "pushed_authorization_request_endpoint",
    ];
    assert_eq!(
        named,
        texts.iter().filter(|name| document[**name].is_string()).count()
    );
    if let Some(types) = listed("response_types_supported") {
        assert!(types.contains(&"code"));
    }
    let s256 = listed("code_challenge_methods_supported").map(|methods| methods.contains(&"S256"));
    let par_only = document["require_pushed_authorization_requests"] == true;
    let no_par = server.pushed_authorization_request_endpoint().is_none();
    let refused = s256 == Some(false) || (par_only && no_par);
    assert_eq!(server.require_protections().is_err(), refused, "a downgrade");
    assert_eq!(server.require_jwks_uri().is_ok(), server.jwks_uri().is_some());
    assert_eq!(
        server.sends_iss(),
        document["authorization_response_iss_parameter_supported"] == true
    );
    let known = [
        (server.scopes_supported(), "scopes_supported"),
        (server.acr_values_supported(), "acr_values_supported"),
        (server.prompt_values_supported(), "prompt_values_supported"),
        (
            server.id_token_algorithms(),
            "id_token_signing_alg_values_supported",
        ),
    ];
    for (found, name) in known {
        let expected = listed(name).map(|list| list.into_iter().map(str::to_owned).collect());
        assert_eq!(found.map(<[String]>::to_vec), expected, "{name}");
    }
    let login = listed("prompt_values_supported").is_some_and(|values| values.contains(&"login"));
    assert_eq!(server.supports_prompt("login"), login);
    assert!(server.userinfo_algorithms().is_some() || server.id_token_algorithms().is_none());

    // A newer document that takes back what this one gives is seen to.
    let bare = format!(
        r#"{{"issuer":"{ISSUER}","authorization_endpoint":"https://a.invalid/","token_endpoint":"https://t.invalid/"}}"#
    );
    let issuer = Issuer::parse(ISSUER, STRICT).unwrap();
    let bare = AuthorizationServer::parse(bare.as_bytes(), &issuer, STRICT).unwrap();
    let weaker = bare.weaker_than(server);
    let says = |name: &str| weaker.contains(&name);
    assert_eq!(says("code_challenge_methods_supported"), s256 == Some(true));
    assert_eq!(says("require_pushed_authorization_requests"), par_only);
    assert_eq!(
        says("authorization_response_iss_parameter_supported"),
        server.sends_iss()
    );
    assert_eq!(says("pushed_authorization_request_endpoint"), !no_par);
}
