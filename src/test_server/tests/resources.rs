//! `/userinfo`, the protected API and `/revoke`.

use super::App;
use std::time::Duration;

#[tokio::test]
async fn a_good_token_tells_who_is_signed_in() {
    let app = App::start();
    let token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("access_token");
    let alice = &app.server.users()[0];
    assert_eq!(app.server.api_url(), format!("{}/api/me", app.server.issuer()));
    let authorization = format!("bearer {token}");
    for (method, path) in [("GET", "/userinfo"), ("POST", "/userinfo"), ("GET", "/api/me")] {
        let answer = app
            .send(method, path, &[("authorization", &authorization)], "")
            .await;
        assert_eq!(answer.status, 200, "{method} {path}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.member("sub"), alice.subject());
        assert_eq!(answer.member("name"), alice.name());
        assert_eq!(answer.member("email"), alice.email());
    }
}

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error() {
    let app = App::start();
    let token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("access_token");
    for path in [
        "/userinfo".to_owned(),
        "/api/me".to_owned(),
        format!("/api/me?access_token={token}"),
    ] {
        let answer = app.get(&path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"gatepass-test\""
        );
    }
    let in_form = app.post("/userinfo", &[("access_token", &token)]).await;
    assert_eq!(in_form.status, 401, "only the header counts");
    let basic = app
        .send("GET", "/api/me", &[("authorization", "Basic YTpi")], "")
        .await;
    assert_eq!(basic.header("www-authenticate"), "Bearer realm=\"gatepass-test\"");
}

#[tokio::test]
async fn a_bad_token_is_invalid_token() {
    let app = App::start();
    let tokens = app.tokens().await;
    for token in [
        "gpt_at_unknown",
        &tokens.member("refresh_token"),
        &tokens.member("id_token"),
    ] {
        let answer = app.me(token).await;
        assert_eq!(answer.status, 401);
        assert!(
            answer
                .header("www-authenticate")
                .contains("error=\"invalid_token\"")
        );
    }
}

#[tokio::test]
async fn access_tokens_end_by_the_server_s_clock() {
    let app = App::start_with(|builder| builder.access_token_lifetime(Duration::from_secs(10)));
    let tokens = app.redeem(&app.code(&app.url(&[])).await).await;
    assert_eq!(tokens.json()["expires_in"], 10);
    let token = tokens.member("access_token");
    app.pass(9);
    assert_eq!(app.me(&token).await.status, 200);
    app.pass(1);
    assert_eq!(app.me(&token).await.status, 401);
}

#[tokio::test]
async fn a_scope_too_small_is_insufficient_scope() {
    let app = App::start();
    for (granted, path, needed) in [
        ("openid", "/api/me", "profile"),
        ("profile", "/userinfo", "openid"),
    ] {
        let url = app.url(&[("scope", Some(granted))]);
        let token = app.redeem(&app.code(&url).await).await.member("access_token");
        let answer = app
            .send("GET", path, &[("authorization", &format!("Bearer {token}"))], "")
            .await;
        assert_eq!(answer.status, 403, "{path}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains(&format!("scope=\"{needed}\"")), "{challenge}");
    }
}

#[tokio::test]
async fn a_token_in_two_places_or_malformed_is_invalid_request() {
    let app = App::start();
    let token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("access_token");
    let bearer = format!("Bearer {token}");
    let header = ("authorization", bearer.as_str());
    let query = format!("/api/me?access_token={token}");
    for answer in [
        app.send("GET", &query, &[header], "").await,
        app.send("POST", "/userinfo", &[header, super::FORM], "access_token=a")
            .await,
        app.send("GET", "/api/me", &[header, header], "").await,
        app.send("GET", "/api/me", &[("authorization", "Bearer a b")], "")
            .await,
        app.send("GET", "/api/me", &[("authorization", "Bearer ")], "")
            .await,
    ] {
        assert_eq!(answer.status, 400);
        assert!(
            answer
                .header("www-authenticate")
                .contains("error=\"invalid_request\"")
        );
    }
}

#[tokio::test]
async fn revoking_the_refresh_token_ends_the_grant() {
    let app = App::start();
    let tokens = app.tokens().await;
    let (access_token, refresh_token) = (tokens.member("access_token"), tokens.member("refresh_token"));
    let client = ("client_id", app.server.client_id());
    // A wrong hint is no obstacle (RFC 7009 §2.1).
    let form = [
        client,
        ("token", &refresh_token),
        ("token_type_hint", "access_token"),
    ];
    for _ in 0..2 {
        let answer = app.post("/revoke", &form).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    }
    assert_eq!(app.me(&access_token).await.status, 401);
    app.refresh(&refresh_token, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn revoking_a_rotated_refresh_token_ends_the_grant_too() {
    let app = App::start();
    let old = app.tokens().await.member("refresh_token");
    let new = app.refresh(&old, &[]).await.member("refresh_token");
    app.post(
        "/revoke",
        &[("client_id", app.server.client_id()), ("token", &old)],
    )
    .await;
    app.refresh(&new, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn revoking_an_access_token_ends_it_alone() {
    let app = App::start();
    let tokens = app.tokens().await;
    let access_token = tokens.member("access_token");
    app.post(
        "/revoke",
        &[("client_id", app.server.client_id()), ("token", &access_token)],
    )
    .await;
    assert_eq!(app.me(&access_token).await.status, 401);
    assert_eq!(
        app.refresh(&tokens.member("refresh_token"), &[]).await.status,
        200
    );
}

#[tokio::test]
async fn revocation_knows_its_client_and_forgives_unknown_tokens() {
    let app = App::start();
    let client = ("client_id", app.server.client_id());
    assert_eq!(
        app.post("/revoke", &[client, ("token", "never issued")])
            .await
            .status,
        200
    );
    app.post("/revoke", &[client])
        .await
        .assert_error(400, "invalid_request");
    app.post("/revoke", &[("token", "a")])
        .await
        .assert_error(400, "invalid_request");
    app.post("/revoke", &[("client_id", "other"), ("token", "a")])
        .await
        .assert_error(401, "invalid_client");
    app.post("/revoke", &[client, ("token", "a"), ("token", "b")])
        .await
        .assert_error(400, "invalid_request");
    assert_eq!(app.get("/revoke?token=a").await.status, 405);
}
