//! `/authorize` and the sign-in page.

use super::{App, CHALLENGE, REDIRECT, claims, query};
use crate::test_server::{TestApi, TestBrowserError};

/// Asserts that a request gets its error by a redirect that carries `state` and `iss`.
async fn assert_redirected(app: &App, changes: &[(&str, Option<&str>)], error: &str) {
    let answer = app.get(&app.url(changes)).await;
    assert_eq!(answer.status, 303, "{changes:?}");
    let location = answer.header("location");
    assert!(location.starts_with(&format!("{REDIRECT}?")), "{location}");
    let sent = query(location);
    assert_eq!(sent["error"], error, "{changes:?}");
    assert_eq!(sent["iss"], app.server.issuer());
    assert!(super::is_description(&sent["error_description"]));
    assert!(!sent.contains_key("code"));
    if !changes.iter().any(|(name, _)| *name == "state") {
        assert_eq!(sent["state"], "a state");
    }
}

async fn assert_shown(app: &App, url: &str) {
    let answer = app.get(url).await;
    assert_eq!(answer.status, 400, "{url}");
    assert_eq!(answer.header("location"), "", "{url}");
    assert!(answer.text.contains("role=\"alert\""), "{url}");
}

#[tokio::test]
async fn a_sign_in_ends_with_a_303_that_carries_code_state_and_iss() {
    let app = App::start();
    let redirect = app
        .browser
        .sign_in(&app.url(&[]), &app.server.users()[1])
        .await
        .unwrap();
    assert!(
        redirect.starts_with(&format!("{REDIRECT}?code=gpt_co_")),
        "{redirect}"
    );
    let sent = query(&redirect);
    assert_eq!(sent["state"], "a state");
    assert_eq!(sent["iss"], app.server.issuer());
    assert_eq!(sent.len(), 3);
    assert_eq!(app.server.requests().last().unwrap().status(), Some(303));
}

#[tokio::test]
async fn every_registered_redirect_works_and_without_state_none_is_sent() {
    let app = App::start();
    for uri in [
        "http://127.0.0.1/callback",
        "http://[::1]:5000/callback",
        "https://app.example.com/callback",
        "com.example.app:/callback",
    ] {
        let url = app.url(&[("redirect_uri", Some(uri)), ("state", None)]);
        let redirect = app.browser.sign_in(&url, &app.server.users()[0]).await.unwrap();
        assert!(redirect.starts_with(&format!("{uri}?code=")), "{redirect}");
        assert!(!query(&redirect).contains_key("state"));
    }
}

#[tokio::test]
async fn an_unregistered_redirect_or_client_is_never_redirected_to() {
    let app = App::start();
    for uri in [
        "http://127.0.0.1:49152/callback/",
        "http://127.0.0.1:49152/other",
        "http://127.0.0.1:49152@evil.example/callback",
        "http://localhost:49152/callback",
        "https://app.example.com/callback?next=evil",
        "https://evil.example/callback",
        "com.example.app://callback",
        "javascript:alert(1)",
        "",
    ] {
        assert_shown(&app, &app.url(&[("redirect_uri", Some(uri))])).await;
        // Nor when something else is wrong too.
        assert_shown(
            &app,
            &app.url(&[("redirect_uri", Some(uri)), ("response_type", None)]),
        )
        .await;
    }
    assert_shown(&app, &app.url(&[("redirect_uri", None)])).await;
    assert_shown(&app, &app.url(&[("client_id", Some("someone-else"))])).await;
    assert_shown(&app, &app.url(&[("client_id", None)])).await;
    assert_shown(&app, &format!("{}&client_id=gatepass-test", app.url(&[]))).await;
    assert_shown(
        &app,
        &format!("{}&redirect_uri=com.example.app:/callback", app.url(&[])),
    )
    .await;
    assert_shown(&app, &format!("{}&broken=%FF", app.url(&[]))).await;
}

#[tokio::test]
async fn pkce_with_s256_is_demanded() {
    let app = App::start();
    assert_redirected(&app, &[("code_challenge", None)], "invalid_request").await;
    let none = [("code_challenge", None), ("code_challenge_method", None)];
    assert_redirected(&app, &none, "invalid_request").await;
    // An absent method means plain (RFC 7636 §4.3).
    assert_redirected(&app, &[("code_challenge_method", None)], "invalid_request").await;
    for method in ["plain", "s256", "S512"] {
        assert_redirected(
            &app,
            &[("code_challenge_method", Some(method))],
            "invalid_request",
        )
        .await;
    }
    for challenge in [
        "short",
        &format!("{CHALLENGE}A"),
        &format!("{}=", &CHALLENGE[1..]),
        "å",
    ] {
        assert_redirected(&app, &[("code_challenge", Some(challenge))], "invalid_request").await;
    }
}

#[tokio::test]
async fn only_the_code_flow_in_the_query_is_offered() {
    let app = App::start();
    assert_redirected(&app, &[("response_type", None)], "invalid_request").await;
    for response_type in ["token", "id_token", "code id_token", "Code"] {
        let changes = [("response_type", Some(response_type))];
        assert_redirected(&app, &changes, "unsupported_response_type").await;
    }
    assert_redirected(&app, &[("response_mode", Some("fragment"))], "invalid_request").await;
    assert_redirected(&app, &[("request", Some("e30."))], "request_not_supported").await;
    assert_redirected(
        &app,
        &[("request_uri", Some("urn:a"))],
        "request_uri_not_supported",
    )
    .await;
    assert_redirected(
        &app,
        &[("registration", Some("{}"))],
        "registration_not_supported",
    )
    .await;
}

#[tokio::test]
async fn a_parameter_sent_twice_is_refused_and_a_doubtful_state_is_not_echoed() {
    let app = App::start();
    for again in [
        "scope=openid",
        "nonce=a",
        "code_challenge=b",
        "unheard_of=1&unheard_of=1",
        "nonce=",
    ] {
        let answer = app.get(&format!("{}&{again}", app.url(&[]))).await;
        assert_eq!(
            query(answer.header("location"))["error"],
            "invalid_request",
            "{again}"
        );
    }
    let answer = app.get(&format!("{}&state=another", app.url(&[]))).await;
    let sent = query(answer.header("location"));
    assert_eq!(sent["error"], "invalid_request");
    assert!(!sent.contains_key("state"));
}

#[tokio::test]
async fn malformed_values_are_refused() {
    let app = App::start();
    for scope in ["openid  profile", " openid", "openid\"", "open\\id", "öpenid"] {
        assert_redirected(&app, &[("scope", Some(scope))], "invalid_scope").await;
    }
    assert_redirected(&app, &[("scope", None)], "invalid_scope").await;
    assert_redirected(&app, &[("scope", Some("unheard_of"))], "invalid_scope").await;
    assert_redirected(&app, &[("state", Some("täglich"))], "invalid_request").await;
    assert_redirected(&app, &[("nonce", Some("new\nline"))], "invalid_request").await;
    for age in ["-1", "1.5", "soon", "+1"] {
        assert_redirected(&app, &[("max_age", Some(age))], "invalid_request").await;
    }
    for prompt in ["none login", "login none", "create", "login  consent", "Login"] {
        assert_redirected(&app, &[("prompt", Some(prompt))], "invalid_request").await;
    }
    for resource in [
        "/api",
        "https://api.example.com/#part",
        "https://unknown.example.com",
    ] {
        assert_redirected(&app, &[("resource", Some(resource))], "invalid_target").await;
    }
    assert_redirected(&app, &[("id_token_hint", Some("a.b.c"))], "invalid_request").await;
}

#[tokio::test]
async fn several_resources_are_accepted_and_recorded() {
    let app = App::start_with(|builder| {
        builder
            .api(TestApi::new("a").audience("https://a.example"))
            .api(TestApi::new("b").audience("https://b.example"))
    });
    let url = format!(
        "{}&resource=https://a.example&resource=https://b.example",
        app.url(&[])
    );
    app.code(&url).await;
    let requests = app.server.requests();
    let resources = requests[0]
        .query()
        .iter()
        .filter(|(name, _)| name == "resource")
        .count();
    assert_eq!(resources, 2);
}

#[tokio::test]
async fn prompt_none_answers_only_when_someone_is_signed_in() {
    let app = App::start();
    let silent = app.url(&[("prompt", Some("none"))]);
    let alice = &app.server.users()[0];
    let sent = query(&app.browser.sign_in(&silent, alice).await.unwrap());
    assert_eq!(
        (sent["error"].as_str(), sent["state"].as_str()),
        ("login_required", "a state")
    );

    app.code(&app.url(&[])).await;
    let before = app.server.requests().len();
    assert!(query(&app.browser.sign_in(&silent, alice).await.unwrap()).contains_key("code"));
    assert_eq!(
        app.server.requests().len(),
        before + 1,
        "the session answered without a page"
    );

    let fresh = query(&app.server.browser().sign_in(&silent, alice).await.unwrap());
    assert_eq!(
        fresh["error"], "login_required",
        "another browser has its own session"
    );
}

#[tokio::test]
async fn a_session_answers_until_prompt_or_max_age_ask_for_more() {
    let app = App::start();
    app.code(&app.url(&[])).await;
    app.pass(100);
    let pages = |app: &App| {
        app.server
            .requests()
            .iter()
            .filter(|r| r.path() == "/sign-in")
            .count()
    };
    app.code(&app.url(&[("max_age", Some("100"))])).await;
    assert_eq!(pages(&app), 1, "a session is good up to max_age");
    for (asked, changes) in [
        ("max_age", [("max_age", Some("99"))]),
        ("max_age=0", [("max_age", Some("0"))]),
        ("login", [("prompt", Some("login"))]),
        ("consent", [("prompt", Some("consent login"))]),
        ("select_account", [("prompt", Some("select_account"))]),
    ] {
        let before = pages(&app);
        app.code(&app.url(&changes)).await;
        assert_eq!(pages(&app), before + 1, "{asked} shows the page");
        app.pass(100);
    }
}

#[tokio::test]
async fn auth_time_is_that_of_the_sign_in_and_not_of_the_request() {
    let app = App::start();
    let first = claims(
        &app.redeem(&app.code(&app.url(&[])).await)
            .await
            .member("id_token"),
    );
    app.pass(50);
    let second = claims(
        &app.redeem(&app.code(&app.url(&[])).await)
            .await
            .member("id_token"),
    );
    assert_eq!(first["auth_time"], second["auth_time"]);
    assert_ne!(first["iat"], second["iat"]);
}

#[tokio::test]
async fn an_id_token_hint_keeps_everyone_else_out() {
    let app = App::start();
    let id_token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("id_token");
    let hinted = app.url(&[("id_token_hint", Some(&id_token))]);
    let (alice, bob) = (&app.server.users()[0], &app.server.users()[1]);
    let fresh = app.server.browser();
    let sent = query(&fresh.sign_in(&hinted, bob).await.unwrap());
    assert_eq!(sent["error"], "login_required");
    assert!(query(&fresh.sign_in(&hinted, alice).await.unwrap()).contains_key("code"));
}

#[tokio::test]
async fn offline_access_needs_prompt_consent() {
    let app = App::start();
    for (prompt, offline) in [
        (None, false),
        (Some("login"), false),
        (Some("login consent"), true),
    ] {
        let url = app.url(&[("scope", Some("openid offline_access")), ("prompt", prompt)]);
        let tokens = app.redeem(&app.code(&url).await).await;
        assert_eq!(
            tokens.json().get("refresh_token").is_some(),
            offline,
            "{prompt:?}"
        );
        assert_eq!(tokens.member("scope").contains("offline_access"), offline);
    }
}

#[tokio::test]
async fn cancel_is_access_denied_and_the_page_answers_once() {
    let app = App::start();
    let sent = query(&app.browser.deny(&app.url(&[])).await.unwrap());
    assert_eq!(sent["error"], "access_denied");
    assert_eq!(
        (sent["state"].as_str(), sent["iss"].as_str()),
        ("a state", app.server.issuer())
    );

    let requests = app.server.requests();
    let page = requests.last().unwrap().form_value("page").unwrap();
    let again = app
        .post("/sign-in", &[("page", page), ("action", "cancel")])
        .await;
    assert_eq!((again.status, again.header("location")), (400, ""));
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_the_right_one_goes_on() {
    let app = App::start();
    let alice = &app.server.users()[0];
    let refused = app
        .browser
        .sign_in(&app.url(&[]), &alice.with_password("wrong"))
        .await;
    assert!(
        matches!(refused, Err(TestBrowserError::SignInRefused(_))),
        "{refused:?}"
    );
    let requests = app.server.requests();
    let typed = requests.last().unwrap();
    assert_eq!(typed.status(), Some(403));
    let form = [
        ("page", typed.form_value("page").unwrap()),
        ("username", alice.username()),
        ("password", alice.password()),
    ];
    assert_eq!(app.post("/sign-in", &form).await.status, 303);
}

#[tokio::test]
async fn a_sign_in_page_grows_too_old() {
    let app = App::start();
    let page = app.get(&app.url(&[])).await;
    let id = page
        .text
        .split_once("name=\"page\" value=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    app.pass(15 * 60);
    let answer = app.post("/sign-in", &[("page", id), ("action", "cancel")]).await;
    assert_eq!((answer.status, answer.header("location")), (400, ""));
}

#[tokio::test]
async fn the_page_has_no_script_and_escapes_what_it_shows() {
    let app = App::start();
    let nasty = "\"><script>alert(1)</script>";
    let page = app.get(&app.url(&[("login_hint", Some(nasty))])).await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert!(page.text.contains("&quot;&gt;&lt;script&gt;"));
    for user in app.server.users() {
        assert!(page.text.contains(user.username()) && page.text.contains(user.password()));
    }
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'sha256-",
        "form-action 'self' http://127.0.0.1:49152;",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_authorization_request_may_be_posted() {
    let app = App::start();
    let url = app.url(&[]);
    let body = url.split_once('?').unwrap().1;
    let page = app.send("POST", "/authorize", &[super::FORM], body).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("Sign in"));
}
