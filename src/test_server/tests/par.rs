//! Pushed authorization requests (RFC 9126).

use super::{App, REDIRECT, query};
use crate::test_server::{Par, TestBrowserError, TestClient};
use serde_json::json;
use std::time::Duration;

fn offered() -> App {
    App::start_with(|builder| builder.par(Par::Offered))
}

impl App {
    /// The URL a browser opens after a push.
    fn pushed_url(&self, request_uri: &str) -> String {
        let client_id = self.server.client_id();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", client_id)
            .append_pair("request_uri", request_uri)
            .finish();
        format!("{}/authorize?{query}", self.server.issuer())
    }
}

#[tokio::test]
async fn pa_04_success_is_201_and_the_request_signs_in() {
    let app = offered();
    let pushed = app.push(&[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text);
    assert_eq!(pushed.header("cache-control"), "no-store");
    assert_eq!(pushed.json()["expires_in"], 60);
    let request_uri = pushed.member("request_uri");
    assert!(
        request_uri.starts_with("urn:ietf:params:oauth:request_uri:"),
        "{request_uri}"
    );
    let code = app.code(&app.pushed_url(&request_uri)).await;
    let tokens = app.redeem(&code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    assert_eq!(tokens.member("scope"), "openid profile email");
}

#[tokio::test]
async fn pa_06_only_client_id_and_request_uri_of_the_url_count() {
    let app = offered();
    let request_uri = app.push(&[]).await.member("request_uri");
    let url = format!(
        "{}&state=other&scope=email&redirect_uri=https://evil.example/",
        app.pushed_url(&request_uri)
    );
    let redirect = app.browser.sign_in(&url, &app.server.users()[0]).await.unwrap();
    assert!(redirect.starts_with(&format!("{REDIRECT}?code=")), "{redirect}");
    assert_eq!(query(&redirect)["state"], "a state");
}

#[tokio::test]
async fn pa_07_a_request_uri_is_good_once_and_until_it_expires() {
    let app = App::start_with(|builder| {
        builder
            .par(Par::Offered)
            .pushed_request_lifetime(Duration::from_millis(5900))
    });
    let pushed = app.push(&[]).await;
    assert_eq!(pushed.json()["expires_in"], 5);
    let url = app.pushed_url(&pushed.member("request_uri"));
    app.pass(4);
    assert_eq!(app.get(&url).await.status, 200);
    assert_eq!(app.get(&url).await.status, 400, "used before");

    let url = app.pushed_url(&app.push(&[]).await.member("request_uri"));
    app.pass(5);
    match app.browser.sign_in(&url, &app.server.users()[0]).await {
        Err(TestBrowserError::ErrorPage { status: 400, reason }) => assert!(reason.contains("expired")),
        other => panic!("{other:?}"),
    }
    let unknown = app.pushed_url("urn:ietf:params:oauth:request_uri:never-issued");
    assert_eq!(app.get(&unknown).await.status, 400);
}

#[tokio::test]
async fn pa_08_the_metadata_tells_and_required_means_it() {
    let metadata = "/.well-known/openid-configuration";
    let off = App::start();
    let said = off.get(metadata).await.json();
    assert!(said.get("pushed_authorization_request_endpoint").is_none());
    assert!(said.get("require_pushed_authorization_requests").is_none());
    assert_eq!(off.push(&[]).await.status, 404);

    for (par, required) in [(Par::Offered, false), (Par::Required, true)] {
        let app = App::start_with(|builder| builder.par(par));
        let said = app.get(metadata).await.json();
        assert_eq!(said["require_pushed_authorization_requests"], required);
        let endpoint = said["pushed_authorization_request_endpoint"].as_str().unwrap();
        assert_eq!(endpoint, format!("{}/par", app.server.issuer()));
        assert_eq!(app.get(endpoint).await.status, 405);

        let plain = app.get(&app.url(&[])).await;
        if required {
            assert_eq!(query(plain.header("location"))["error"], "invalid_request");
            assert_eq!(query(plain.header("location"))["state"], "a state");
        } else {
            assert_eq!(plain.status, 200);
        }
        let url = app.pushed_url(&app.push(&[]).await.member("request_uri"));
        assert_eq!(app.get(&url).await.status, 200);
    }
}

#[tokio::test]
async fn pa_02_and_03_what_may_not_be_pushed() {
    let app = offered();
    app.push(&[("request_uri", Some("urn:ietf:params:oauth:request_uri:a"))])
        .await
        .assert_error(400, "invalid_request");
    app.push(&[("request_uri", Some(""))])
        .await
        .assert_error(400, "invalid_request");
    for (change, status, error) in [
        (("client_id", None), 400, "invalid_request"),
        (("client_id", Some("someone-else")), 401, "invalid_client"),
        (("client_secret", Some("a")), 401, "invalid_client"),
        (
            ("redirect_uri", Some("https://evil.example/")),
            400,
            "invalid_request",
        ),
        (("code_challenge", None), 400, "invalid_request"),
        (("code_challenge_method", Some("plain")), 400, "invalid_request"),
        (("response_type", Some("token")), 400, "unsupported_response_type"),
        (("scope", Some("nothing")), 400, "invalid_scope"),
        (
            ("resource", Some("https://unknown.example")),
            400,
            "invalid_target",
        ),
        (("request", Some("a.b.c")), 400, "request_not_supported"),
    ] {
        let answer = app.push(&[change]).await;
        answer.assert_error(status, error);
    }
    let twice = app
        .send("POST", "/par", &[super::FORM], "client_id=a&client_id=b")
        .await;
    twice.assert_error(400, "invalid_request");
    let json = json!({ "client_id": app.server.client_id() }).to_string();
    app.send("POST", "/par", &[("content-type", "application/json")], &json)
        .await
        .assert_error(400, "invalid_request");
    let in_uri = app.send("POST", "/par?client_id=a", &[super::FORM], "").await;
    in_uri.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn a_pushed_request_belongs_to_its_client() {
    let app = App::start_with(|builder| {
        builder
            .par(Par::Required)
            .client(TestClient::new("other").redirect_uri(REDIRECT))
    });
    let url = app.pushed_url(&app.push(&[]).await.member("request_uri"));
    let stolen = url.replace(app.server.client_id(), "other");
    assert_eq!(app.get(&stolen).await.status, 400);
    assert_eq!(app.get(&url).await.status, 200, "nobody took it away");
}

#[tokio::test]
async fn prompt_and_hints_travel_with_the_push() {
    let app = offered();
    let silent = app.push(&[("prompt", Some("none"))]).await.member("request_uri");
    let redirect = app.get(&app.pushed_url(&silent)).await;
    assert_eq!(query(redirect.header("location"))["error"], "login_required");
    let hinted = app
        .push(&[("login_hint", Some("bob"))])
        .await
        .member("request_uri");
    assert!(
        app.get(&app.pushed_url(&hinted))
            .await
            .text
            .contains("value=\"bob\"")
    );
}
