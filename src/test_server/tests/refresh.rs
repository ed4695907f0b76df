//! Refreshing: rotation, reuse, the grace window, scopes, lifetimes.

use super::{App, claims};
use crate::test_server::Rotation;
use std::time::Duration;

fn graceful() -> App {
    App::start_with(|builder| builder.rotation(Rotation::Grace(Duration::from_secs(30))))
}

#[tokio::test]
async fn a_refresh_rotates_and_brings_a_new_id_token_of_the_same_sign_in() {
    let app = App::start();
    let first = app.tokens().await;
    app.pass(60);
    let second = app.refresh(&first.member("refresh_token"), &[]).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert_eq!(second.header("cache-control"), "no-store");
    assert!(second.member("refresh_token").starts_with("gpt_rt_"));
    assert_ne!(first.member("refresh_token"), second.member("refresh_token"));
    assert_ne!(first.member("access_token"), second.member("access_token"));
    assert_eq!(second.member("scope"), "openid profile email offline_access");
    assert_eq!(app.me(&second.member("access_token")).await.status, 200);

    let (old, new) = (
        claims(&first.member("id_token")),
        claims(&second.member("id_token")),
    );
    for same in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_eq!(new["iat"].as_i64(), old["iat"].as_i64().map(|iat| iat + 60));
    assert!(new.get("nonce").is_none());
    assert_ne!(old["at_hash"], new["at_hash"]);
}

#[tokio::test]
async fn strict_rotation_ends_the_family_when_a_token_is_used_twice() {
    let app = App::start();
    let first = app.tokens().await;
    let second = app.refresh(&first.member("refresh_token"), &[]).await;
    app.refresh(&first.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");

    app.refresh(&second.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    for tokens in [first, second] {
        assert_eq!(app.me(&tokens.member("access_token")).await.status, 401);
    }
}

#[tokio::test]
async fn another_sign_in_survives_the_end_of_a_family() {
    let app = App::start();
    let (stolen, other) = (app.tokens().await, app.tokens().await);
    app.refresh(&stolen.member("refresh_token"), &[]).await;
    app.refresh(&stolen.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(app.refresh(&other.member("refresh_token"), &[]).await.status, 200);
}

#[tokio::test]
async fn in_the_grace_window_the_token_before_answers_with_a_fresh_pair() {
    let app = graceful();
    let first = app.tokens().await.member("refresh_token");
    let lost = app.refresh(&first, &[]).await.member("refresh_token");
    app.pass(29);
    let again = app.refresh(&first, &[]).await;
    assert_eq!(again.status, 200);
    let kept = again.member("refresh_token");
    assert_ne!(kept, lost);

    // Both belong to one chain: using one makes the other the token before.
    let next = app.refresh(&kept, &[]).await;
    assert_eq!(next.status, 200);
    assert_eq!(app.refresh(&lost, &[]).await.status, 200);
    assert_eq!(app.me(&next.member("access_token")).await.status, 200);
}

#[tokio::test]
async fn the_grace_window_counts_from_the_first_use() {
    let app = graceful();
    let first = app.tokens().await.member("refresh_token");
    let second = app.refresh(&first, &[]).await;
    app.pass(20);
    assert_eq!(app.refresh(&first, &[]).await.status, 200);
    app.pass(10);
    app.refresh(&first, &[]).await.assert_error(400, "invalid_grant");
    app.refresh(&second.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(app.me(&second.member("access_token")).await.status, 401);
}

#[tokio::test]
async fn a_token_two_rotations_old_ends_the_family_even_in_the_grace_window() {
    let app = graceful();
    let first = app.tokens().await.member("refresh_token");
    let second = app.refresh(&first, &[]).await.member("refresh_token");
    let third = app.refresh(&second, &[]).await.member("refresh_token");
    app.refresh(&first, &[]).await.assert_error(400, "invalid_grant");
    app.refresh(&third, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn idempotent_rotation_says_the_same_successor_until_it_is_used() {
    let app = App::start_with(|builder| builder.rotation(Rotation::Idempotent));
    let first = app.tokens().await.member("refresh_token");
    let answer = app.refresh(&first, &[]).await;
    let second = answer.member("refresh_token");
    assert_ne!(first, second);
    app.pass(24 * 3600);
    let again = app.refresh(&first, &[]).await;
    assert_eq!(again.member("refresh_token"), second);
    assert_ne!(again.member("access_token"), answer.member("access_token"));

    let third = app.refresh(&second, &[]).await.member("refresh_token");
    let late = app.refresh(&first, &[]).await;
    late.assert_error(400, "invalid_grant");
    assert!(late.member("error_description").contains("replaced"));
    // Nobody is punished for it: the grant and the newest pair live on.
    assert_eq!(app.refresh(&second, &[]).await.member("refresh_token"), third);
    assert_eq!(app.refresh(&third, &[]).await.status, 200);
}

#[tokio::test]
async fn count_limited_rotation_counts_uses_and_ends_the_family_beyond() {
    let app = App::start_with(|builder| builder.rotation(Rotation::CountLimited(2)));
    let first = app.tokens().await.member("refresh_token");
    let mut successors = Vec::new();
    for _ in 0..3 {
        app.pass(24 * 3600);
        successors.push(app.refresh(&first, &[]).await.member("refresh_token"));
    }
    assert_ne!(successors[0], successors[2], "each use brings another");
    app.refresh(&first, &[]).await.assert_error(400, "invalid_grant");
    app.refresh(&successors[2], &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn count_limited_rotation_takes_an_older_token_for_stolen() {
    let app = App::start_with(|builder| builder.rotation(Rotation::CountLimited(2)));
    let first = app.tokens().await.member("refresh_token");
    let lost = app.refresh(&first, &[]).await.member("refresh_token");
    let kept = app.refresh(&first, &[]).await.member("refresh_token");
    let next = app.refresh(&kept, &[]).await;
    assert_eq!(next.status, 200);
    app.refresh(&lost, &[]).await.assert_error(400, "invalid_grant");
    app.refresh(&next.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(app.me(&next.member("access_token")).await.status, 401);
}

#[tokio::test]
async fn a_count_of_none_is_as_strict_as_strict() {
    let app = App::start_with(|builder| builder.rotation(Rotation::CountLimited(0)));
    let first = app.tokens().await.member("refresh_token");
    let second = app.refresh(&first, &[]).await.member("refresh_token");
    app.refresh(&first, &[]).await.assert_error(400, "invalid_grant");
    app.refresh(&second, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_used_token_stays_used_when_the_rotation_changes() {
    for (from, to, forgives) in [
        (Rotation::Strict, Rotation::Idempotent, true),
        (Rotation::Strict, Rotation::CountLimited(1), true),
        (Rotation::Strict, Rotation::CountLimited(0), false),
        (Rotation::Idempotent, Rotation::Strict, false),
        (Rotation::CountLimited(5), Rotation::Strict, false),
        (Rotation::Strict, Rotation::Off, false),
    ] {
        let app = App::start_with(|builder| builder.rotation(from));
        let first = app.tokens().await.member("refresh_token");
        assert_eq!(app.refresh(&first, &[]).await.status, 200);
        app.server.set_rotation(to);
        let again = app.refresh(&first, &[]).await.status;
        assert_eq!(again == 200, forgives, "{from:?} then {to:?}");
    }
}

#[tokio::test]
async fn without_rotation_the_token_stays_and_none_is_returned() {
    let app = App::start_with(|builder| builder.rotation(Rotation::Off));
    let token = app.tokens().await.member("refresh_token");
    for _ in 0..3 {
        let answer = app.refresh(&token, &[]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.json().get("refresh_token").is_none());
    }
    app.server.set_rotation(Rotation::Strict);
    assert_eq!(app.refresh(&token, &[]).await.status, 200);
    app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_may_narrow_the_scope_but_not_widen_it() {
    let app = App::start();
    let token = app.tokens().await.member("refresh_token");
    for wider in ["openid admin", "profile  email", "\"", "address"] {
        app.refresh(&token, &[("scope", wider)])
            .await
            .assert_error(400, "invalid_scope");
    }
    let narrow = app.refresh(&token, &[("scope", "email")]).await;
    assert_eq!(narrow.status, 200, "a refused scope has not used the token up");
    assert_eq!(narrow.member("scope"), "email");
    assert!(narrow.json().get("id_token").is_none());
    assert_eq!(app.me(&narrow.member("access_token")).await.status, 403);
    // The scope of the new refresh token is that of the old (RFC 6749 §6).
    let wide = app.refresh(&narrow.member("refresh_token"), &[]).await;
    assert_eq!(wide.member("scope"), "openid profile email offline_access");
}

#[tokio::test]
async fn refresh_tokens_end_by_the_server_s_clock() {
    let app = App::start_with(|builder| builder.refresh_token_lifetime(Duration::from_secs(100)));
    let token = app.tokens().await.member("refresh_token");
    app.pass(99);
    let next = app.refresh(&token, &[]).await.member("refresh_token");
    app.pass(99);
    let last = app.refresh(&next, &[]).await.member("refresh_token");
    app.pass(100);
    app.refresh(&last, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn unknown_refresh_tokens_and_other_clients_are_refused() {
    let app = App::start();
    app.refresh("gpt_rt_never_issued", &[])
        .await
        .assert_error(400, "invalid_grant");
    app.refresh("", &[]).await.assert_error(400, "invalid_request");
    let tokens = app.tokens().await;
    // An access token is no refresh token.
    app.refresh(&tokens.member("access_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    app.refresh(&tokens.member("refresh_token"), &[("refresh_token", "again")])
        .await
        .assert_error(400, "invalid_request");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "someone-else"),
        ("refresh_token", &tokens.member("refresh_token")),
    ];
    app.token(&form).await.assert_error(401, "invalid_client");
    assert_eq!(
        app.refresh(&tokens.member("refresh_token"), &[]).await.status,
        200
    );
}

#[tokio::test]
async fn revoking_everything_ends_tokens_codes_and_sessions() {
    let app = App::start();
    let tokens = app.tokens().await;
    let code = app.code(&app.url(&[])).await;
    app.server.revoke_everything();
    app.refresh(&tokens.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
    app.redeem(&code).await.assert_error(400, "invalid_grant");
    assert_eq!(app.me(&tokens.member("access_token")).await.status, 401);
    let silent = app.url(&[("prompt", Some("none"))]);
    let redirect = app
        .browser
        .sign_in(&silent, &app.server.users()[0])
        .await
        .unwrap();
    assert!(redirect.contains("login_required"));
}
