//! Time: clocks that disagree, keys that roll over, a year in a moment.

use super::{App, claims};
use crate::test_server::ClockOffset;
use std::time::Duration;

fn kids(jwk_set: &serde_json::Value) -> Vec<String> {
    let keys = jwk_set["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_server_ahead_or_behind_dates_everything_by_its_own_clock() {
    let app = App::start_with(|builder| builder.clock_offset(ClockOffset::Ahead(Duration::from_secs(600))));
    let start = super::START / 1000;
    let ahead = app.tokens().await;
    assert_eq!(claims(&ahead.member("id_token"))["iat"], start + 600);
    assert_eq!(ahead.header("date"), "Sun, 01 Mar 2026 12:10:00 GMT");
    app.server
        .set_clock_offset(ClockOffset::Behind(Duration::from_secs(3600)));
    let behind = app.tokens().await;
    let said = claims(&behind.member("id_token"));
    assert_eq!(
        (&said["iat"], &said["exp"]),
        (&(start - 3600).into(), &start.into())
    );
    assert_eq!(behind.header("date"), "Sun, 01 Mar 2026 11:00:00 GMT");
    // Lifetimes are the same wherever the clock is.
    let token = behind.member("access_token");
    app.pass(299);
    assert_eq!(app.me(&token).await.status, 200);
    app.pass(1);
    assert_eq!(app.me(&token).await.status, 401);
    app.server.set_clock_offset(ClockOffset::None);
    assert_eq!(
        app.get("/jwks").await.header("date"),
        "Sun, 01 Mar 2026 12:05:00 GMT"
    );
}

#[tokio::test]
async fn two_roll_overs_in_a_row_and_a_set_that_lags_behind() {
    let app = App::start();
    let kid_of = |token: &str| {
        let header = token.split('.').next().unwrap();
        let decoded = base64::Engine::decode(&super::BASE64URL, header).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&decoded).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let published = async || kids(&app.get("/jwks").await.json());
    let first = published().await;
    app.server.rotate_keys();
    app.server.rotate_keys();
    assert_eq!(published().await.len(), 3);
    app.server.freeze_jwk_set();
    app.server.rotate_keys();
    let newest = kid_of(&app.tokens().await.member("id_token"));
    assert!(!published().await.contains(&newest), "the set lags behind");
    app.server.publish_keys();
    assert_eq!(published().await.last(), Some(&newest));
    assert!(published().await.contains(&first[0]));
    app.server.retire_former_keys();
    assert_eq!(published().await, [newest]);
}

#[tokio::test]
async fn a_year_passes_in_a_moment() {
    let app = App::start();
    let mut token = app.tokens().await.member("refresh_token");
    for _week in 0..52 {
        app.pass(7 * 24 * 3600);
        let refreshed = app.refresh(&token, &[]).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text);
        token = refreshed.member("refresh_token");
    }
    app.pass(31 * 24 * 3600);
    app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
}
