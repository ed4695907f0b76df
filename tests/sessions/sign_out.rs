//! Signing out of the browser's session as well.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gatepass::test_server::TestBrowser;
use gatepass::{
    BrowserSession, Client, ErrorKind, Revocation, Session, SessionState, SignInOptions, SignOut, UserAgent,
    UserAgentFailure, UserAgentRequest, UserAgentReturn,
};

use crate::support::{TestBed, paths};

/// A browser in which the user follows a sign-out through, or not.
#[derive(Debug)]
struct Browser {
    inside: TestBrowser,
    delivers: bool,
    seen: Mutex<Vec<String>>,
}

#[async_trait]
impl UserAgent for Browser {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        let url = request.authorization_url;
        self.seen.lock().unwrap().push(url.clone());
        let back = self.inside.sign_out(&url).await.unwrap();
        if let (Some(back), true) = (back, self.delivers) {
            // A request that anybody could make is ignored; then comes the real one.
            let forged = format!("{}?state=guessed", back.split('?').next().unwrap());
            assert_eq!(self.inside.deliver(&forged).await.unwrap(), 400);
            assert_eq!(self.inside.deliver(&back).await.unwrap(), 200);
        }
        Ok(UserAgentReturn::Opened)
    }
}

async fn signed_in(bed: &TestBed, browser: &Arc<Browser>, redirect: Option<&str>) -> (Client, Session) {
    let client = bed.client_with(|builder| {
        let builder = builder.user_agent(browser.clone());
        match redirect {
            Some(uri) => builder.post_logout_redirect(uri),
            None => builder,
        }
    });
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let user = &bed.server.users()[0];
    let redirect = browser
        .inside
        .sign_in(pending.authorization_url(), user)
        .await
        .unwrap();
    browser.inside.deliver(&redirect).await.unwrap();
    let session = pending.wait().await.unwrap();
    (client, session)
}

fn browser(bed: &TestBed, delivers: bool) -> Arc<Browser> {
    Arc::new(Browser {
        inside: bed.server.browser(),
        delivers,
        seen: Mutex::default(),
    })
}

#[tokio::test]
async fn lo_02_lo_03_lo_05_lo_09_the_browser_comes_back_with_our_state() {
    let bed = TestBed::new();
    let browser = browser(&bed, true);
    let (_client, session) = signed_in(&bed, &browser, Some("http://127.0.0.1/signed-out")).await;
    let outcome = session.sign_out(SignOut::EndSession).await.unwrap();
    assert!(
        matches!(outcome.browser_session, BrowserSession::Ended),
        "{outcome:?}"
    );
    assert!(matches!(outcome.revocation, Revocation::Done));
    let url = browser.seen.lock().unwrap()[0].clone();
    for name in [
        "id_token_hint=",
        "client_id=",
        "post_logout_redirect_uri=",
        "state=",
    ] {
        assert!(url.contains(name), "{name}");
    }
    let paths = paths(&bed.server);
    let at = |path: &str| paths.iter().position(|known| known == path).unwrap();
    assert!(at("/revoke") < at("/end_session"), "{paths:?}");
}

#[tokio::test]
async fn lo_07_without_a_way_back_the_user_is_signed_out_all_the_same() {
    let bed = TestBed::new();
    for redirect in [None, Some("https://app.example.com/signed-out")] {
        let browser = browser(&bed, false);
        let (client, session) = signed_in(&bed, &browser, redirect).await;
        let outcome = session.sign_out(SignOut::EndSession).await.unwrap();
        assert!(
            matches!(outcome.browser_session, BrowserSession::Opened),
            "{outcome:?}"
        );
        assert_eq!(client.state().get(), SessionState::SignedOut);
        assert!(client.session().await.unwrap().is_none());
    }
}

#[derive(Debug)]
struct NoBrowser;

#[async_trait]
impl UserAgent for NoBrowser {
    async fn open(&self, _request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        Err(UserAgentFailure::NoBrowser("there is none".into()))
    }
}

#[tokio::test]
async fn lo_01_what_the_browser_or_the_server_cannot_do_is_told() {
    let bed = TestBed::new();
    let client = bed.client_with(|builder| builder.user_agent(Arc::new(NoBrowser)));
    let session = bed.sign_in(&client).await.unwrap();
    let outcome = session.sign_out(SignOut::EndSession).await.unwrap();
    let BrowserSession::Failed(error) = outcome.browser_session else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.kind(), ErrorKind::NoBrowser);
    assert!(matches!(outcome.revocation, Revocation::Done));
    assert!(session.peek().is_none());
}

/// A browser that is opened and never comes back; its opener may stay until it is closed, which nobody does.
#[derive(Debug)]
struct Forgotten {
    opened: tokio::sync::Notify,
    stays: bool,
}

#[async_trait]
impl UserAgent for Forgotten {
    async fn open(&self, _request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        self.opened.notify_one();
        if self.stays {
            std::future::pending::<()>().await;
        }
        Ok(UserAgentReturn::Opened)
    }
}

#[tokio::test]
async fn lo_07_a_browser_that_nobody_closes_does_not_hold_the_sign_out() {
    for (stays, redirect) in [
        (false, Some("http://127.0.0.1/signed-out")),
        (true, Some("http://127.0.0.1/signed-out")),
        (true, None),
    ] {
        let bed = TestBed::new();
        let browser = Arc::new(Forgotten {
            opened: tokio::sync::Notify::new(),
            stays,
        });
        let client = bed.client_with(|builder| {
            let builder = builder.user_agent(browser.clone());
            match redirect {
                Some(uri) => builder.post_logout_redirect(uri),
                None => builder,
            }
        });
        let session = bed.sign_in(&client).await.unwrap();
        let sign_out = session.sign_out(SignOut::EndSession);
        let patience = async {
            browser.opened.notified().await;
            bed.clock.advance(Duration::from_secs(5 * 60));
        };
        let both = async { tokio::join!(sign_out, patience).0 };
        let outcome = tokio::time::timeout(Duration::from_secs(15), both).await;
        let outcome = outcome.expect("the sign-out ends").unwrap();
        assert!(
            matches!(outcome.browser_session, BrowserSession::Opened),
            "{outcome:?}"
        );
    }
}
