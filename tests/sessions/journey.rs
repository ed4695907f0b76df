//! What a sign-in may ask for, held against what the server saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gatepass::test_server::{ClockOffset, Mistake, TestClock};
use gatepass::{Client, Clock, Prompt, SignInOptions};

use crate::support::{TestBed, state_in};

#[tokio::test]
async fn oc_32_an_authentication_that_is_weaker_than_asked_for_is_refused() {
    let bed = TestBed::new();
    let client = bed.client();
    let strong = || SignInOptions::default().acr_values(["urn:example:gold"]);
    let sign_in = async |options| {
        let pending = client.begin_sign_in(options).await.unwrap();
        let redirect = bed.browser_sign_in(pending.authorization_url()).await;
        bed.server.browser().deliver(&redirect).await.unwrap();
        pending.wait().await
    };
    sign_in(strong()).await.unwrap();
    bed.server.misbehave(Mistake::AcrIgnored);
    assert_eq!(sign_in(strong()).await.unwrap_err().code(), "id_token_acr");
}

#[tokio::test]
async fn oc_33_a_time_of_authentication_that_was_asked_for_must_be_there() {
    let bed = TestBed::new();
    let client = bed.client();
    let sign_in = async |options| {
        let pending = client.begin_sign_in(options).await.unwrap();
        let redirect = bed.browser_sign_in(pending.authorization_url()).await;
        bed.server.browser().deliver(&redirect).await.unwrap();
        pending.wait().await
    };
    let essential = || SignInOptions::default().claims(r#"{"id_token":{"auth_time":{"essential":true}}}"#);
    bed.server.misbehave(Mistake::AuthTimeTooOld);
    assert_eq!(
        sign_in(SignInOptions::default().max_age(60))
            .await
            .unwrap_err()
            .code(),
        "id_token_auth_time"
    );
    sign_in(essential()).await.expect("any time will do");
    bed.server.behave();
    bed.server.misbehave(Mistake::AuthTimeMissing);
    for asked in [SignInOptions::default().max_age(60), essential()] {
        assert_eq!(sign_in(asked).await.unwrap_err().code(), "id_token_auth_time");
    }
    sign_in(SignInOptions::default())
        .await
        .expect("nobody asked for it");
}

#[tokio::test]
async fn oc_06_a_silent_sign_in_says_who_is_meant() {
    let bed = TestBed::new();
    let client = bed.client();
    bed.sign_in(&client).await.unwrap();
    let silent = SignInOptions::default().prompt([Prompt::None]);
    let pending = client.begin_sign_in(silent).await.unwrap();
    assert!(pending.authorization_url().contains("id_token_hint="));
    let shown = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    assert!(!shown.authorization_url().contains("id_token_hint="));
}

#[tokio::test]
async fn bc_11_a_sign_in_can_ask_for_a_scope_of_its_own() {
    let bed = TestBed::new();
    let client = bed.client();
    let options = SignInOptions::default().scope(["openid", "email"]);
    let pending = client.begin_sign_in(options).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    bed.server.browser().deliver(&redirect).await.unwrap();
    let session = pending.wait().await.unwrap();
    assert_eq!(session.scope(), ["openid", "email"]);
}

#[tokio::test]
async fn rr_50_bi_97_a_clock_that_is_set_between_two_refreshes_costs_nothing() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    let right = bed.now_unix_millis();
    let (minute, hour) = (60_000, 3_600_000);
    for wrong in [minute, -7 * minute, 0, 3 * hour, -20 * hour, hour] {
        bed.clock.set_unix_millis(right + wrong);
        // The server has the right time all along.
        let apart = Duration::from_millis(wrong.unsigned_abs());
        bed.server.set_clock_offset(if wrong < 0 {
            ClockOffset::Ahead(apart)
        } else {
            ClockOffset::Behind(apart)
        });
        // With each comes an ID token, which is held against a clock.
        session
            .refresh()
            .await
            .unwrap_or_else(|error| panic!("{wrong}: {error:?}"));
        assert!(session.peek().is_some(), "{wrong}");
        // And in a process that has learnt nothing of the time yet.
        let restarted = bed.client().session().await.unwrap().unwrap();
        restarted
            .refresh()
            .await
            .unwrap_or_else(|error| panic!("{wrong}: {error:?}"));
    }
    assert_eq!(client.state().get(), gatepass::SessionState::SignedIn);
}

#[tokio::test]
async fn rr_50_bi_97_a_device_whose_clock_is_wrong_can_sign_in() {
    for offset in [
        ClockOffset::Ahead(Duration::from_secs(3 * 3600)),
        ClockOffset::Behind(Duration::from_secs(3 * 3600)),
    ] {
        let bed = TestBed::with(|server| server.clock_offset(offset));
        let session = bed.sign_in(&bed.client()).await.unwrap();
        session.refresh().await.unwrap();
        // The user sets the clock; what was learnt of the old one is not held against the new one.
        bed.server.set_clock_offset(ClockOffset::None);
        bed.clock.set_unix_millis(bed.now_unix_millis() + 3 * 3600 * 1000);
        session.refresh().await.unwrap();
        assert!(session.peek().is_some());
    }
}

/// A clock that counts how often it is looked at.
#[derive(Debug)]
struct Watched {
    clock: Arc<TestClock>,
    looks: AtomicUsize,
}

#[async_trait]
impl Clock for Watched {
    fn unix_millis(&self) -> i64 {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.unix_millis()
    }

    fn boot_millis(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.boot_millis()
    }

    fn boot_id(&self) -> Option<String> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.clock.boot_id()
    }

    async fn sleep_until(&self, boot_millis: u64) {
        self.clock.sleep_until(boot_millis).await;
    }
}

#[tokio::test]
async fn reading_a_valid_token_looks_at_the_clock_once() {
    let bed = TestBed::new();
    let watched = Arc::new(Watched {
        clock: bed.clock.clone(),
        looks: AtomicUsize::new(0),
    });
    let client = bed.client_with(|builder| builder.clock(watched.clone()));
    let session = bed.sign_in(&client).await.unwrap();
    client.drain().await;
    let looks = |read: &dyn Fn() -> bool| {
        let before = watched.looks.load(Ordering::Relaxed);
        assert!(read(), "the token is valid");
        watched.looks.load(Ordering::Relaxed) - before
    };
    assert_eq!(looks(&|| session.peek().is_some()), 1);
    assert_eq!(
        looks(&|| session.peek_with(|token| token.expose().len()).is_some()),
        1
    );
    let before = watched.looks.load(Ordering::Relaxed);
    session.access_token().await.unwrap();
    assert_eq!(watched.looks.load(Ordering::Relaxed) - before, 1);
    bed.clock.advance(Duration::from_secs(24 * 3600));
    assert!(session.peek_with(|_| ()).is_none(), "what expired is not read");
}

/// Where a browser does not open the app, a page at the https redirect hands the callback on by a scheme of the app's.
#[tokio::test]
async fn a_callback_by_the_alias_of_its_redirect_is_held_to_the_same_checks() {
    const REDIRECT: &str = "https://app.example.com/callback";
    const ALIAS: &str = "com.example.app:/callback";
    let bed = TestBed::new();
    let with = |alias: Option<&'static str>| {
        bed.client_with(|builder| match alias {
            Some(alias) => builder.redirect(REDIRECT).redirect_alias(alias),
            None => builder.redirect(REDIRECT),
        })
    };
    let client = with(Some(ALIAS));
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let by = |place: &str| redirect.replacen(REDIRECT, place, 1);
    assert_ne!(by(ALIAS), redirect);
    let refused = async |client: &Client, url: String, code: &str| {
        let error = client.resume_sign_in(&url).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
    };
    // The same storage, and a client that knows no alias, or another one.
    refused(&with(None), by(ALIAS), "redirect_mismatch").await;
    refused(
        &with(Some("com.example.other:/callback")),
        by(ALIAS),
        "redirect_mismatch",
    )
    .await;
    for place in [
        "com.example.app:/callback/",
        "com.example.app:/callbackx",
        "com.example.app://callback",
        "com.example.App:/callback",
        "com.example.other:/callback",
        "http://app.example.com/callback",
    ] {
        refused(&client, by(place), "redirect_mismatch").await;
    }
    let state = state_in(&redirect);
    refused(
        &client,
        by(ALIAS).replace(state, "another-state"),
        "no_pending_sign_in",
    )
    .await;
    // The server compares the redirect of the exchange with that of the request: it is told the https one.
    let session = client.resume_sign_in(&by(ALIAS)).await.unwrap();
    assert!(session.claims().is_some());
    pending.wait().await.unwrap();
}

#[test]
fn only_a_private_use_scheme_is_an_alias_and_only_of_claimed_https() {
    for (redirect, alias, code) in [
        (
            "https://app.example.com/callback",
            "https://app.example.com/other",
            "redirect_alias",
        ),
        (
            "https://app.example.com/callback",
            "http://127.0.0.1/callback",
            "redirect_alias",
        ),
        (
            "https://app.example.com/callback",
            "myapp:/callback",
            "redirect_scheme",
        ),
        (
            "com.example.app:/callback",
            "com.example.app:/other",
            "redirect_alias",
        ),
        (
            "http://127.0.0.1/callback",
            "com.example.app:/callback",
            "redirect_alias",
        ),
    ] {
        let builder = Client::builder("https://login.example.com", "my-app").redirect(redirect);
        let error = builder.redirect_alias(alias).build().unwrap_err();
        assert_eq!(error.code(), code, "{redirect} {alias}");
    }
}
