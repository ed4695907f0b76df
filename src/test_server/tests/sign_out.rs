//! `/end_session`.

use super::{App, query};

const SIGNED_OUT: &str = "http://127.0.0.1:49152/signed-out";

fn url(app: &App, params: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(params)
        .finish();
    format!("{}/end_session?{query}", app.server.issuer())
}

async fn is_signed_in(app: &App) -> bool {
    let silent = app.url(&[("prompt", Some("none"))]);
    let redirect = app
        .browser
        .sign_in(&silent, &app.server.users()[0])
        .await
        .unwrap();
    query(&redirect).contains_key("code")
}

#[tokio::test]
async fn a_hint_of_the_signed_in_user_ends_the_session_at_once_even_when_expired() {
    let app = App::start();
    let id_token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("id_token");
    app.pass(10 * 24 * 3600);
    app.server.rotate_keys();
    assert!(is_signed_in(&app).await);
    let before = app.server.requests().len();
    let out = url(
        &app,
        &[
            ("id_token_hint", &id_token),
            ("post_logout_redirect_uri", SIGNED_OUT),
            ("state", "a state"),
        ],
    );
    let redirect = app.browser.sign_out(&out).await.unwrap().unwrap();
    assert_eq!(redirect, format!("{SIGNED_OUT}?state=a+state"));
    assert_eq!(app.server.requests().len(), before + 1, "nobody was asked");
    assert!(!is_signed_in(&app).await);
}

#[tokio::test]
async fn without_a_hint_the_user_is_asked() {
    let app = App::start();
    app.code(&app.url(&[])).await;
    let out = url(
        &app,
        &[
            ("client_id", app.server.client_id()),
            ("post_logout_redirect_uri", SIGNED_OUT),
        ],
    );
    let before = app.server.requests().len();
    assert_eq!(
        app.browser.sign_out(&out).await.unwrap().as_deref(),
        Some(SIGNED_OUT)
    );
    assert_eq!(
        app.server.requests().len(),
        before + 2,
        "a page was shown and answered"
    );
    assert!(!is_signed_in(&app).await);
    // Nobody is signed in any more: there is nothing to ask.
    assert_eq!(app.get(&out).await.status, 303);
    assert_eq!(app.browser.sign_out(&url(&app, &[])).await.unwrap(), None);
}

#[tokio::test]
async fn a_hint_of_someone_else_ends_nothing_unasked() {
    let app = App::start();
    let bob = app.server.users()[1].clone();
    let redirect = app.server.browser().sign_in(&app.url(&[]), &bob).await.unwrap();
    let id_token = app.redeem(&query(&redirect)["code"]).await.member("id_token");
    app.code(&app.url(&[])).await;
    let before = app.server.requests().len();
    app.browser
        .sign_out(&url(&app, &[("id_token_hint", &id_token)]))
        .await
        .unwrap();
    assert_eq!(app.server.requests().len(), before + 2);
}

#[tokio::test]
async fn sign_out_keeps_the_tokens_of_the_app() {
    let app = App::start();
    let tokens = app.tokens().await;
    app.browser
        .sign_out(&url(&app, &[("id_token_hint", &tokens.member("id_token"))]))
        .await
        .unwrap();
    assert_eq!(
        app.refresh(&tokens.member("refresh_token"), &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_redirect_after_sign_out_must_be_registered_and_its_client_known() {
    let app = App::start();
    let id_token = app
        .redeem(&app.code(&app.url(&[])).await)
        .await
        .member("id_token");
    let client = ("client_id", app.server.client_id());
    let forged = format!("{}A", &id_token[..id_token.len() - 4]);
    let redirect = ("post_logout_redirect_uri", SIGNED_OUT);
    for refused in [
        vec![
            client,
            ("post_logout_redirect_uri", "https://evil.example/signed-out"),
        ],
        vec![
            client,
            ("post_logout_redirect_uri", "http://127.0.0.1:1/signed-out?x=y"),
        ],
        vec![redirect],
        vec![("client_id", "someone-else"), redirect],
        vec![
            ("id_token_hint", id_token.as_str()),
            ("client_id", "someone-else"),
        ],
        vec![("id_token_hint", forged.as_str()), redirect],
        vec![("id_token_hint", "none"), redirect],
        vec![client, redirect, ("state", "a"), ("state", "b")],
    ] {
        let answer = app.get(&url(&app, &refused)).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (400, ""),
            "{refused:?}"
        );
    }
    assert!(is_signed_in(&app).await);
}

#[tokio::test]
async fn the_id_token_of_another_server_is_no_hint() {
    let (app, other) = (App::start(), App::start());
    let foreign = other
        .redeem(&other.code(&other.url(&[])).await)
        .await
        .member("id_token");
    assert_eq!(
        app.get(&url(&app, &[("id_token_hint", &foreign)])).await.status,
        400
    );
}

#[tokio::test]
async fn a_user_who_stays_is_still_signed_in_and_the_page_answers_once() {
    let app = App::start();
    app.code(&app.url(&[])).await;
    assert!(is_signed_in(&app).await);
    let cookie = app
        .server
        .requests()
        .last()
        .unwrap()
        .header("cookie")
        .unwrap()
        .to_owned();

    let asked = app.send("GET", "/end_session", &[("cookie", &cookie)], "").await;
    let page = asked
        .text
        .split_once("name=\"page\" value=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let answers = [("cancel", 200), ("sign-out", 400)];
    for (action, status) in answers {
        let body = format!("page={page}&action={action}");
        let headers = [super::FORM, ("cookie", cookie.as_str())];
        let answer = app.send("POST", "/end_session/confirm", &headers, &body).await;
        assert_eq!(answer.status, status, "{action}");
        assert!(is_signed_in(&app).await);
    }
}
