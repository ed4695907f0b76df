//! Resource indicators (RFC 8707) and what the protected APIs make of them (RFC 6750).

use super::App;
use crate::test_server::TestApi;

/// A token for `resources`, asked for at `/authorize`.
async fn token_for(app: &App, resources: &[&str], scope: &str) -> String {
    let mut url = app.url(&[("scope", Some(scope))]);
    for resource in resources {
        url.push_str(&format!("&resource={resource}"));
    }
    let tokens = app.redeem(&app.code(&url).await).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    tokens.member("access_token")
}

#[tokio::test]
async fn a_token_opens_the_apis_it_is_for() {
    let app = App::start();
    let (issuer, other) = (app.server.issuer().to_owned(), app.server.url_of_api("other"));
    assert_eq!(other, format!("{issuer}/api/other"));
    for (resources, me, at_other) in [
        (vec![], 200, 401),
        (vec![issuer.as_str()], 200, 401),
        (vec![other.as_str()], 401, 200),
        (vec![issuer.as_str(), other.as_str()], 200, 200),
    ] {
        let token = token_for(&app, &resources, "openid profile").await;
        let answers = (
            app.call("me", &token).await.status,
            app.call("other", &token).await.status,
        );
        assert_eq!(answers, (me, at_other), "{resources:?}");
        assert_eq!(app.bearer("/userinfo", &token).await.status, 200);
    }
    let token = token_for(&app, &[&other], "openid").await;
    let answer = app.call("other", &token).await.json();
    assert_eq!(answer["aud"], serde_json::json!([other]));
    assert_eq!(answer["scope"], "openid");
    assert_eq!(answer["client_id"], app.server.client_id());
}

#[tokio::test]
async fn the_challenges_are_those_of_rfc_6750_3() {
    let app =
        App::start_with(|builder| builder.api(TestApi::new("orders").scope("orders.read orders.write")));
    let orders = app.server.url_of_api("orders");
    for path in ["/api/me", "/api/other", "/api/orders"] {
        let bare = app.get(path).await;
        assert_eq!(bare.status, 401);
        assert_eq!(bare.header("www-authenticate"), "Bearer realm=\"gatepass-test\"");
    }
    let elsewhere = token_for(&app, &[], "profile orders.read orders.write").await;
    let wrong = app.call("orders", &elsewhere).await;
    assert_eq!(wrong.status, 401);
    assert!(
        wrong
            .header("www-authenticate")
            .contains("error=\"invalid_token\"")
    );

    let narrow = token_for(&app, &[&orders], "orders.read").await;
    let refused = app.call("orders", &narrow).await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer realm=\"gatepass-test\", error=\"insufficient_scope\", scope=\"orders.read orders.write\""
    );
    let wide = token_for(&app, &[&orders], "orders.write orders.read").await;
    let bearer = format!("Bearer {wide}");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let answer = app
            .send(method, "/api/orders", &[("authorization", &bearer)], "")
            .await;
        assert_eq!(answer.status, 200, "{method}");
    }
    assert_eq!(app.call("nowhere", &wide).await.status, 404);
}

#[tokio::test]
async fn ri_03_a_token_request_narrows_and_a_refresh_chooses_anew() {
    let app = App::start();
    let (issuer, other) = (app.server.issuer().to_owned(), app.server.url_of_api("other"));
    let url = format!("{}&resource={issuer}&resource={other}", app.offline_url());
    let code = app.code(&url).await;
    let first = app.redeem_with(&code, &[("resource", &other)]).await;
    assert_eq!(
        app.call("me", &first.member("access_token")).await.status,
        401,
        "narrowed"
    );
    assert_eq!(app.call("other", &first.member("access_token")).await.status, 200);

    let second = app
        .refresh(&first.member("refresh_token"), &[("resource", &issuer)])
        .await;
    assert_eq!(app.call("me", &second.member("access_token")).await.status, 200);
    assert_eq!(
        app.call("other", &second.member("access_token")).await.status,
        401
    );
    // Without one the refresh is for all that was granted.
    let third = app.refresh(&second.member("refresh_token"), &[]).await;
    for api in ["me", "other"] {
        assert_eq!(app.call(api, &third.member("access_token")).await.status, 200);
    }
}

#[tokio::test]
async fn ri_04_a_bad_resource_uses_nothing_up() {
    let app = App::start();
    let other = app.server.url_of_api("other");
    let code = app.code(&format!("{}&resource={other}", app.offline_url())).await;
    for bad in [
        "https://unknown.example",
        "relative",
        &format!("{other}#part"),
        &format!("{other}/"),
        app.server.issuer(),
    ] {
        app.redeem_with(&code, &[("resource", bad)])
            .await
            .assert_error(400, "invalid_target");
    }
    let tokens = app.redeem(&code).await;
    let refresh_token = tokens.member("refresh_token");
    app.refresh(&refresh_token, &[("resource", "https://unknown.example")])
        .await
        .assert_error(400, "invalid_target");
    assert_eq!(app.refresh(&refresh_token, &[]).await.status, 200);
}

#[tokio::test]
async fn an_api_can_ask_for_more_while_the_server_runs() {
    let app = App::start();
    let other = app.server.url_of_api("other");
    let token = token_for(&app, &[&other], "openid").await;
    assert_eq!(app.call("other", &token).await.status, 200);
    app.server
        .protect(TestApi::new("other").scope("other.write"))
        .unwrap();
    assert_eq!(app.call("other", &token).await.status, 403);
    let more = token_for(&app, &[&other], "openid other.write").await;
    assert_eq!(app.call("other", &more).await.status, 200);
    let said = app.get("/.well-known/openid-configuration").await.json();
    let scopes = said["scopes_supported"].as_array().unwrap().clone();
    assert!(scopes.iter().any(|scope| scope == "other.write"));
    assert!(app.server.protect(TestApi::new("other").scope("")).is_err());
}
