//! `doctor` and the authorization server: its metadata, its clock, and whether it knows the redirect.

use std::time::{Duration, SystemTime};

use gatepass::test_server::{Par, TestServer};
use serde_json::{Value, json};

use crate::hosts::{Diagnosis, Flaw, Reply, Web};
use crate::support::World;

const ISSUER: &str = "https://login.example.com";
const URL: &str = "https://login.example.com/.well-known/openid-configuration";
const AUTHORIZE: &str = "https://login.example.com/authorize";

fn good() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": AUTHORIZE,
        "token_endpoint": "https://login.example.com/token",
        "jwks_uri": "https://login.example.com/jwks",
        "revocation_endpoint": "https://login.example.com/revoke",
        "pushed_authorization_request_endpoint": "https://login.example.com/par",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": ["openid", "offline_access"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

fn with(name: &str, value: Value) -> Reply {
    let mut metadata = good();
    match value {
        Value::Null => drop(metadata.as_object_mut().unwrap().remove(name)),
        value => metadata[name] = value,
    }
    Reply::json(metadata.to_string())
}

#[test]
fn am_06_am_17_what_the_metadata_say() {
    let web = Web::new();
    let mut wrong = Vec::new();
    for (name, reply, expected) in [
        ("all is well", Reply::json(good().to_string()), &[][..]),
        ("no metadata", Reply::status(404), &["server_no_metadata"]),
        (
            "a web page",
            Reply::of("text/html", "<html>"),
            &["server_no_metadata"],
        ),
        (
            "a redirect",
            Reply::redirect(302, "https://elsewhere.example/"),
            &["server_no_metadata"],
        ),
        ("nobody answers", Reply::HangUp, &["server_unreachable"]),
        ("not JSON", Reply::json("{"), &["server_metadata"]),
        (
            "a text",
            Reply::of("text/plain", good().to_string()),
            &["server_content_type"],
        ),
        (
            "another issuer",
            with("issuer", json!("https://login.example.com/")),
            &["server_issuer"],
        ),
        ("no issuer", with("issuer", Value::Null), &["server_metadata"]),
        (
            "no token endpoint",
            with("token_endpoint", Value::Null),
            &["server_metadata"],
        ),
        (
            "an endpoint over http",
            with("token_endpoint", json!("http://login.example.com/token")),
            &["server_metadata"],
        ),
        (
            "no code flow",
            with("response_types_supported", json!(["token"])),
            &["server_metadata"],
        ),
        (
            "plain PKCE",
            with("code_challenge_methods_supported", json!(["plain"])),
            &["server_s256"],
        ),
        (
            "silent about PKCE",
            with("code_challenge_methods_supported", Value::Null),
            &["server_s256_silent"],
        ),
        (
            "no iss",
            with("authorization_response_iss_parameter_supported", Value::Null),
            &["server_no_iss"],
        ),
        (
            "no PAR",
            with("pushed_authorization_request_endpoint", Value::Null),
            &["server_no_par"],
        ),
        (
            "secrets only",
            with(
                "token_endpoint_auth_methods_supported",
                json!(["client_secret_basic"]),
            ),
            &["server_no_public_clients"],
        ),
        (
            "silent about clients",
            with("token_endpoint_auth_methods_supported", Value::Null),
            &["server_no_public_clients"],
        ),
        (
            "no refresh",
            with("grant_types_supported", json!(["authorization_code"])),
            &["server_no_refresh"],
        ),
        (
            "no offline access",
            with("scopes_supported", json!(["openid"])),
            &["server_no_offline_access"],
        ),
        ("no keys", with("jwks_uri", Value::Null), &["server_no_keys"]),
        (
            "no revocation",
            with("revocation_endpoint", Value::Null),
            &["server_no_revocation"],
        ),
        (
            "unknown algorithms",
            with("id_token_signing_alg_values_supported", json!(["RS1"])),
            &["server_algorithms"],
        ),
        (
            "weak algorithms",
            with("id_token_signing_alg_values_supported", json!(["RS256", "none"])),
            &["server_algorithms_weak"],
        ),
    ] {
        web.at(URL, reply);
        let diagnosis = web.doctor(&["--issuer", ISSUER]);
        if diagnosis.codes() != expected {
            wrong.push(format!("{name}: {:?}, expected {expected:?}", diagnosis.findings));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn am_02_the_metadata_may_be_at_either_place() {
    let web = Web::new();
    web.at(
        "https://login.example.com/.well-known/oauth-authorization-server",
        Reply::json(good().to_string()),
    );
    assert_eq!(web.doctor(&["--issuer", ISSUER]).codes(), [""; 0]);
}

#[test]
fn am_11_the_connection_and_the_issuer() {
    let web = Web::flawed(Flaw::Expired);
    web.at(URL, Reply::json(good().to_string()));
    let diagnosis = web.doctor(&["--issuer", ISSUER]);
    assert_eq!(
        (diagnosis.codes(), diagnosis.exit),
        (vec!["server_tls"], Some(12))
    );
    for issuer in [
        "login.example.com",
        "http://login.example.com",
        "https://login.example.com/?a=b",
    ] {
        assert_eq!(
            web.doctor(&["--issuer", issuer]).codes(),
            ["server_issuer_form"],
            "{issuer}"
        );
    }
    let secret = web.doctor(&["--issuer", "https://user:hunter2-canary@login.example.com"]);
    assert_eq!(secret.codes(), ["server_issuer_form"]);
    assert!(!format!("{secret:?}").contains("hunter2-canary"), "{secret:?}");
}

#[test]
fn a_clock_that_is_wrong() {
    let web = Web::new();
    // A day off, whatever time it is: far more than the minute that is allowed.
    let date = |time| format!("Date: {}", httpdate::fmt_http_date(time));
    let day = Duration::from_secs(24 * 60 * 60);
    for (time, expected) in [
        (SystemTime::now(), &[][..]),
        (SystemTime::now() + day, &["server_clock"]),
        (SystemTime::now() - day, &["server_clock"]),
    ] {
        web.at(URL, Reply::json(good().to_string()).with(&date(time)));
        assert_eq!(web.doctor(&["--issuer", ISSUER]).codes(), expected);
    }
}

const REDIRECT: &str = "com.example.app:/callback";
/// What asks whether the server knows it.
const REGISTRATION: [&str; 6] = [
    "--issuer",
    ISSUER,
    "--client-id",
    "my-app",
    "--redirect",
    REDIRECT,
];

#[test]
fn na_16_whether_the_server_knows_the_redirect() {
    let web = Web::new();
    web.at(URL, with("pushed_authorization_request_endpoint", Value::Null));
    let code = |reply: Reply| {
        web.at(AUTHORIZE, reply);
        let diagnosis: Diagnosis = web.doctor(&REGISTRATION);
        let code = diagnosis.findings.iter().find(|finding| {
            let code = finding["code"].as_str().unwrap();
            ["redirect_registered", "redirect_refused", "redirect_unknown"].contains(&code)
        });
        code.unwrap()["code"].as_str().unwrap().to_owned()
    };
    let back = |query: &str| Reply::redirect(302, &format!("{REDIRECT}?{query}"));
    assert_eq!(
        code(back("error=login_required&state=gatepass-doctor")),
        "redirect_registered"
    );
    assert_eq!(code(back("error=unauthorized_client")), "redirect_refused");
    assert_eq!(code(Reply::status(400)), "redirect_refused");
    assert_eq!(code(Reply::status(200)), "redirect_unknown");
    assert_eq!(
        code(Reply::redirect(302, "https://login.example.com/error")),
        "redirect_unknown"
    );
    assert_eq!(code(Reply::HangUp), "redirect_unknown");
    // What was asked is a sign-in that no user may see, and that nobody can redeem.
    let asked = web.requests();
    let probe = asked
        .iter()
        .find(|request| request.starts_with("login.example.com/authorize?"))
        .unwrap();
    for parameter in [
        "prompt=none",
        "client_id=my-app",
        "code_challenge_method=S256",
        "response_type=code",
    ] {
        assert!(probe.contains(parameter), "{probe}");
    }
    let before = web.requests().len();
    web.doctor(&[&REGISTRATION[..], &["--no-probe"]].concat());
    assert_eq!(web.requests().len(), before + 1, "only the metadata");
}

#[test]
fn the_test_server_is_in_order() {
    for par in [Par::Off, Par::Offered, Par::Required] {
        is_in_order(&TestServer::builder().par(par).start().unwrap());
    }
}

fn is_in_order(server: &TestServer) {
    let world = World::new();
    let arguments = [
        "doctor",
        "--json",
        "--allow-http-on-loopback",
        "--issuer",
        server.issuer(),
        "--client-id",
        server.client_id(),
        "--redirect",
    ];
    let run = |redirect: &str| Diagnosis::of(&world.run(&[&arguments[..], &[redirect]].concat()));
    let known = run("http://127.0.0.1/callback");
    known.finding("redirect_registered");
    assert!(known.exit != Some(12), "{known:?}");
    let unknown = run("http://127.0.0.1/nobody-knows-this");
    unknown.finding("redirect_refused");
    assert_eq!(unknown.exit, Some(12));
}

#[test]
fn pa_04_a_server_that_takes_pushed_requests_is_asked_by_one() {
    let web = Web::new();
    web.at(URL, with("require_pushed_authorization_requests", json!(true)));
    let urn = json!({ "request_uri": "urn:example:1", "expires_in": 60 }).to_string();
    let answer = |status: u16, body: &str| {
        Reply::Answer(
            status,
            vec!["Content-Type: application/json".to_owned()],
            body.as_bytes().to_vec(),
        )
    };
    let refused = |code: &str, text: &str| {
        answer(
            400,
            &json!({ "error": code, "error_description": text }).to_string(),
        )
    };
    let back = Reply::redirect(
        302,
        &format!("{REDIRECT}?error=login_required&state=gatepass-doctor"),
    );
    let mut wrong = Vec::new();
    for (name, pushed, then, expected) in [
        ("taken", answer(201, &urn), back.clone(), "redirect_registered"),
        (
            "taken, then a page",
            answer(201, &urn),
            Reply::status(200),
            "redirect_registered",
        ),
        (
            "taken, then refused",
            answer(201, &urn),
            Reply::status(400),
            "redirect_refused",
        ),
        (
            "the redirect",
            refused("invalid_request", "Unknown redirect_uri."),
            back.clone(),
            "redirect_refused",
        ),
        (
            "the redirect by its code",
            refused("invalid_redirect_uri", ""),
            back.clone(),
            "redirect_refused",
        ),
        (
            "the client",
            refused("unauthorized_client", ""),
            back.clone(),
            "redirect_refused",
        ),
        (
            "something else",
            refused("invalid_request", "claims"),
            back.clone(),
            "redirect_unknown",
        ),
        (
            "a scope",
            refused("invalid_scope", "openid"),
            back.clone(),
            "redirect_unknown",
        ),
        ("a failure", answer(500, "{}"), back.clone(), "redirect_unknown"),
        ("a page", Reply::status(200), back.clone(), "redirect_unknown"),
        ("no JSON", answer(201, "x"), back.clone(), "redirect_unknown"),
        (
            "a name of another host",
            answer(201, &urn.replace("urn:example:1", "https://evil.example/")),
            back.clone(),
            "redirect_unknown",
        ),
        ("nobody answers", Reply::HangUp, back.clone(), "redirect_unknown"),
    ] {
        web.at("https://login.example.com/par", pushed);
        web.at(AUTHORIZE, then);
        let diagnosis = web.doctor(&REGISTRATION);
        let is_probe = |finding: &&Value| {
            finding["subject"]
                .as_str()
                .is_some_and(|subject| subject.contains("at the server"))
        };
        let found: Vec<_> = diagnosis
            .findings
            .iter()
            .filter(is_probe)
            .map(|finding| &finding["code"])
            .collect();
        if found != [expected] {
            wrong.push(format!("{name}: {:?}, expected {expected}", diagnosis.findings));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // The browser would carry a name for the request, and nothing of the request.
    let asked = web.requests();
    let probe = asked
        .iter()
        .find(|request| request.starts_with("login.example.com/authorize?"));
    assert_eq!(
        probe.map(String::as_str),
        Some("login.example.com/authorize?client_id=my-app&request_uri=urn%3Aexample%3A1")
    );
}
