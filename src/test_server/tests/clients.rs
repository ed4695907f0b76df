//! Registrations: other client ids, redirect URIs, users, and what keeps clients apart.

use super::{App, REDIRECT, VERIFIER, claims, query};
use crate::test_server::{TestClient, TestServer, TestUser};

fn two_clients() -> App {
    App::start_with(|builder| {
        builder.client(
            TestClient::new("other")
                .redirect_uri("http://127.0.0.1/callback")
                .post_logout_redirect_uri("com.example.other:/bye"),
        )
    })
}

#[tokio::test]
async fn the_first_client_can_be_the_app_s_own() {
    let app = App::start_with(|builder| {
        builder
            .client_id("our-app")
            .redirect_uri("com.example.ours:/done")
            .post_logout_redirect_uri("com.example.ours:/bye")
    });
    assert_eq!(app.server.client_id(), "our-app");
    let ours = app.url(&[("redirect_uri", Some("com.example.ours:/done"))]);
    let code = app.code(&ours).await;
    let tokens = app
        .redeem_with(&code, &[("redirect_uri", "com.example.ours:/done")])
        .await;
    assert_eq!(claims(&tokens.member("id_token"))["aud"], "our-app");
    let out = format!(
        "/end_session?id_token_hint={}&client_id=our-app&post_logout_redirect_uri=com.example.ours:/bye&state=s",
        tokens.member("id_token")
    );
    assert_eq!(
        app.get(&out).await.header("location"),
        "com.example.ours:/bye?state=s"
    );
    let foreign = app.url(&[("client_id", Some("gatepass-test"))]);
    assert_eq!(app.get(&foreign).await.status, 400);
}

#[tokio::test]
async fn what_one_client_got_is_worth_nothing_to_another() {
    let app = two_clients();
    let code = app.code(&app.offline_url()).await;
    let stolen = [
        ("grant_type", "authorization_code"),
        ("client_id", "other"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    app.token(&stolen).await.assert_error(400, "invalid_grant");
    let tokens = app.redeem(&code).await;
    assert_eq!(tokens.status, 200, "the code is still good for its own client");

    let (refresh, access) = (tokens.member("refresh_token"), tokens.member("access_token"));
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "other"),
        ("refresh_token", &refresh),
    ];
    app.token(&form).await.assert_error(400, "invalid_grant");
    for token in [&refresh, &access] {
        app.post("/revoke", &[("client_id", "other"), ("token", token)])
            .await
            .assert_error(400, "invalid_grant");
    }
    assert_eq!(app.me(&access).await.status, 200);
    assert_eq!(app.refresh(&refresh, &[]).await.status, 200);

    let hint = tokens.member("id_token");
    let page = app
        .get(&format!("/end_session?id_token_hint={hint}&client_id=other"))
        .await;
    assert_eq!(page.status, 400);
    let bye = app
        .get(&format!(
            "/end_session?id_token_hint={hint}&post_logout_redirect_uri=com.example.other:/bye"
        ))
        .await;
    assert_eq!(bye.status, 400, "registered for the other client");
    let hinted = app.url(&[("client_id", Some("other")), ("id_token_hint", Some(&hint))]);
    let refused = app.get(&hinted).await;
    assert_eq!(query(refused.header("location"))["error"], "invalid_request");
}

#[tokio::test]
async fn both_clients_sign_in_with_one_browser_session() {
    let app = two_clients();
    app.code(&app.url(&[])).await;
    let silent = app.url(&[("client_id", Some("other")), ("prompt", Some("none"))]);
    let redirect = app
        .browser
        .sign_in(&silent, &app.server.users()[0])
        .await
        .unwrap();
    assert!(query(&redirect).contains_key("code"), "{redirect}");
}

#[tokio::test]
async fn several_accounts_take_turns_in_one_browser() {
    let carol = TestUser::new("carol", "carol-has-a-password").with_subject("c-3");
    let app = App::start_with(|builder| builder.user(carol.clone()));
    assert_eq!(app.server.users().len(), 3);
    let subject = async |changes: &[(&str, Option<&str>)], user: &TestUser| {
        let redirect = app.browser.sign_in(&app.url(changes), user).await.unwrap();
        let tokens = app.redeem(&query(&redirect)["code"]).await;
        claims(&tokens.member("id_token"))["sub"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let users = app.server.users();
    assert_eq!(subject(&[], &users[0]).await, users[0].subject());
    // Without a prompt alice's session answers, whoever sits there.
    assert_eq!(subject(&[], &carol).await, users[0].subject());
    let other_account = [("prompt", Some("select_account"))];
    assert_eq!(subject(&other_account, &carol).await, "c-3");
    assert_eq!(subject(&[], &users[0]).await, "c-3");
    assert_eq!(subject(&other_account, &users[1]).await, users[1].subject());
}

#[test]
fn a_server_with_a_registration_that_cannot_be_does_not_start() {
    for builder in [
        TestServer::builder().client_id(""),
        TestServer::builder().redirect_uri("http://app.example.com/callback"),
        TestServer::builder().redirect_uri("relative"),
        TestServer::builder().post_logout_redirect_uri("a.b:/c#d"),
        TestServer::builder().client(TestClient::new("no-redirect")),
        TestServer::builder().client(TestClient::new("gatepass-test").redirect_uri("a.b:/c")),
        TestServer::builder().user(TestUser::new("alice", "x")),
        TestServer::builder().pushed_request_lifetime(std::time::Duration::from_millis(999)),
    ] {
        let refused = builder.clone().start().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{builder:?}");
    }
}
