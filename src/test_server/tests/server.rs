//! The server itself: metadata, HTTP manners, limits, its record, its start and its end.

use super::{App, START, VERIFIER};
use crate::test_server::{SigningAlgorithm, TestServer};
use serde_json::json;

#[tokio::test]
async fn metadata_says_what_the_server_does_at_both_places() {
    let app = App::start();
    let openid = app.get("/.well-known/openid-configuration").await;
    let oauth = app.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(
        (openid.status, openid.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(openid.json(), oauth.json());
    let metadata = openid.json();
    let issuer = app.server.issuer();
    assert!(issuer.starts_with("http://127.0.0.1:") && !issuer.ends_with('/'));
    assert_eq!(metadata["issuer"], issuer);
    for (name, value) in [
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("token_endpoint_auth_methods_supported", json!(["none"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        ("response_types_supported", json!(["code"])),
        (
            "grant_types_supported",
            json!(["authorization_code", "refresh_token"]),
        ),
        (
            "prompt_values_supported",
            json!(["none", "login", "consent", "select_account"]),
        ),
        (
            "scopes_supported",
            json!(["openid", "profile", "email", "offline_access"]),
        ),
        ("request_uri_parameter_supported", json!(false)),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    for (name, status) in [
        ("authorization_endpoint", 400),
        ("token_endpoint", 405),
        ("userinfo_endpoint", 401),
        ("jwks_uri", 200),
        ("revocation_endpoint", 405),
        ("end_session_endpoint", 200),
    ] {
        let url = metadata[name].as_str().unwrap();
        assert!(url.starts_with(issuer), "{name}");
        assert_eq!(app.get(url).await.status, status, "{name}");
    }
    let es256 = App::start_with(|builder| builder.signing_algorithm(SigningAlgorithm::Es256));
    let metadata = es256.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        json!(["ES256", "RS256"])
    );
}

#[tokio::test]
async fn unknown_paths_wrong_methods_and_foreign_hosts_are_refused() {
    let app = App::start();
    for path in ["/", "/authorize/", "/Token", "/.well-known/openid-configuration/"] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
    for (method, path, allow) in [
        ("DELETE", "/authorize", "GET, POST"),
        ("GET", "/token", "POST"),
        ("PUT", "/userinfo", "GET, POST"),
        ("POST", "/api/me", "GET"),
        ("POST", "/jwks", "GET"),
    ] {
        let answer = app.send(method, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, allow),
            "{method} {path}"
        );
    }
    let foreign = app.send("GET", "/jwks", &[("host", "evil.example")], "").await;
    assert_eq!(foreign.status, 421);
}

#[tokio::test]
async fn the_date_is_that_of_the_server_s_clock() {
    let app = App::start();
    assert_eq!(START % 1000, 0);
    assert_eq!(
        app.get("/jwks").await.header("date"),
        "Sun, 01 Mar 2026 12:00:00 GMT"
    );
    app.pass(3600);
    assert_eq!(
        app.get("/nowhere").await.header("date"),
        "Sun, 01 Mar 2026 13:00:00 GMT"
    );
}

#[tokio::test]
async fn a_body_or_a_head_too_large_is_cut_off() {
    let app = App::start();
    let body = format!("token={}", "a".repeat(64 * 1024));
    let answer = app.send("POST", "/revoke", &[super::FORM], &body).await;
    assert_eq!(answer.status, 413);
    let long = "a".repeat(128 * 1024);
    let answer = app.send("GET", "/jwks", &[("x-long", &long)], "").await;
    assert_eq!(answer.status, 431);
    assert_eq!(app.get("/jwks").await.status, 200);
}

#[tokio::test]
async fn requests_are_recorded_in_order_with_what_was_sent_and_answered() {
    let app = App::start();
    let tokens = app.tokens().await;
    app.me(&tokens.member("access_token")).await;
    let requests = app.server.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| (r.method(), r.path(), r.status().unwrap()))
        .collect();
    let expected = [
        ("GET", "/authorize", 200),
        ("POST", "/sign-in", 303),
        ("POST", "/token", 200),
        ("GET", "/api/me", 200),
    ];
    assert_eq!(seen, expected);
    assert_eq!(requests[0].query_value("state"), Some("a state"));
    assert_eq!(requests[1].form_value("username"), Some("alice"));
    assert_eq!(requests[2].form_value("code_verifier"), Some(VERIFIER));
    assert_eq!(
        requests[2].form()[0],
        ("grant_type".to_owned(), "authorization_code".to_owned())
    );
    assert!(String::from_utf8_lossy(requests[2].body()).starts_with("grant_type="));
    let authorization = format!("Bearer {}", tokens.member("access_token"));
    assert_eq!(requests[3].header("authorization"), Some(authorization.as_str()));
}

#[tokio::test]
async fn what_is_printed_has_no_secret_in_it() {
    let app = App::start();
    let tokens = app.tokens().await;
    app.refresh(&tokens.member("refresh_token"), &[]).await;
    app.me(&tokens.member("access_token")).await;
    app.get("/api/me?access_token=query-secret").await;
    app.browser
        .sign_out(&format!("{}/end_session", app.server.issuer()))
        .await
        .unwrap();
    let printed = format!(
        "{:?} {:#?} {:?} {:?} {:?}",
        app.server.requests(),
        app.server.requests(),
        app.server,
        app.browser,
        app.server.users(),
    );
    for secret in [
        "gpt_",
        VERIFIER,
        "a state",
        "a nonce",
        "query-secret",
        app.server.users()[0].password(),
        "eyJ",
    ] {
        assert!(!printed.contains(secret), "{secret}");
    }
    for shown in ["refresh_token", "authorization_code", "/callback", "alice"] {
        assert!(printed.contains(shown), "{shown}");
    }
}

#[test]
fn handles_and_browsers_go_between_threads() {
    fn is_send_and_sync<T: Send + Sync + 'static>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let app = App::start();
    is_send_and_sync(&app.server);
    is_send_and_sync(&app.browser);
    is_send(&app.browser.sign_in("", &app.server.users()[0]));
}

#[test]
fn the_last_handle_frees_the_port() {
    let server = TestServer::start().unwrap();
    let port: u16 = server.issuer().rsplit(':').next().unwrap().parse().unwrap();
    let clone = server.clone();
    drop(server);
    assert!(
        TestServer::builder().port(port).start().is_err(),
        "a clone keeps it running"
    );
    drop(clone);
    let again = TestServer::builder().port(port).start().unwrap();
    assert_eq!(again.issuer(), format!("http://127.0.0.1:{port}"));
}

#[tokio::test]
async fn two_servers_do_not_know_each_other_s_tokens() {
    let (one, two) = (App::start(), App::start());
    assert_ne!(one.server.issuer(), two.server.issuer());
    let tokens = one.tokens().await;
    assert_eq!(two.me(&tokens.member("access_token")).await.status, 401);
    two.refresh(&tokens.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(
        one.refresh(&tokens.member("refresh_token"), &[]).await.status,
        200
    );
}
