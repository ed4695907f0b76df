//! The test server as an app team uses it: the whole client against faults and mistakes, through the public API.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]
// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::panic)]

// Shared with other test programs, each of which uses a part of it.
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use gatepass::test_server::{
    CannedAnswer, Endpoint, Mistake, Par, RecordedRequest, Rotation, TestUser, UserinfoFormat,
};
use gatepass::{
    EndReason, ErrorKind, PendingSignIn, Prompt, Session, SessionState, SignInOptions, SignInProgress,
};
use support::{TestBed, paths, until};

fn is_refresh(request: &RecordedRequest) -> bool {
    request.form_value("grant_type") == Some("refresh_token")
}

#[tokio::test]
async fn a_lost_rotation_costs_nobody_the_session_where_the_server_forgives() {
    for rotation in [
        Rotation::Grace(Duration::from_secs(30)),
        Rotation::Idempotent,
        Rotation::CountLimited(1),
        Rotation::Off,
    ] {
        let bed = TestBed::with(|builder| builder.rotation(rotation));
        let client = bed.client();
        let session = bed.sign_in(&client).await.unwrap();
        let lost = bed
            .server
            .fault(Endpoint::Token)
            .matching(is_refresh)
            .nth(1)
            .drop_after_processing()
            .unwrap();
        // Whether the first answer or a resend succeeds is the client's affair.
        drop(session.refresh().await);
        assert_eq!(lost.fired(), 1, "{rotation:?}");
        assert_eq!(client.state().get(), SessionState::SignedIn, "{rotation:?}");
        session.refresh().await.unwrap();
        let me = session.http().get(bed.server.api_url()).send().await.unwrap();
        assert_eq!(me.status(), 200, "{rotation:?}");
    }
}

#[tokio::test]
async fn trouble_on_the_way_ends_no_session() {
    let trouble: [fn() -> CannedAnswer; 9] = [
        || CannedAnswer::status(500),
        || CannedAnswer::status(503).retry_after(Duration::from_secs(5)),
        || CannedAnswer::status(429).retry_after_date(Duration::from_secs(5)),
        || CannedAnswer::status(403).body("text/html", "<h1>Blocked</h1>"),
        || CannedAnswer::status(204),
        CannedAnswer::captive_portal,
        CannedAnswer::garbage,
        || CannedAnswer::redirect(307, "https://portal.example/token"),
        || CannedAnswer::oversized(u64::MAX),
    ];
    for answer in trouble {
        let bed = TestBed::new();
        let client = bed.client();
        let session = bed.sign_in(&client).await.unwrap();
        let answer = answer();
        let fault = bed
            .server
            .fault(Endpoint::Token)
            .every()
            .answer(answer.clone())
            .unwrap();
        let failed = session.refresh().await.unwrap_err();
        assert!(fault.fired() > 0, "{answer:?}");
        assert!(
            !matches!(failed.kind(), ErrorKind::SessionEnded(_)),
            "{answer:?}: {failed}"
        );
        assert_eq!(client.state().get(), SessionState::SignedIn, "{answer:?}");
        assert!(session.peek().is_some(), "{answer:?}");
        fault.lift();
        // A server that asked for a pause gets it.
        bed.clock.advance(Duration::from_secs(3600));
        session.refresh().await.unwrap();
    }
}

/// What an app may expect of the client when the server makes a mistake.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// The sign-in fails, and says why.
    NoSignIn,
    /// The callback is not believed, and the sign-in waits for a better one.
    CallbackIgnored,
    /// The sign-in waits for keys.
    NoKeys,
    /// Everything works.
    Nothing,
    /// The sign-in works, the refresh does not.
    NoRefresh,
    /// Everything but UserInfo works.
    NoUserinfo,
}

/// What is to be expected of each; `None` where it is a matter of policy that other tests hold.
fn expected(mistake: Mistake) -> Option<Expected> {
    use Mistake as M;
    Some(match mistake {
        M::IssNotAdvertised
        | M::JwkSetWithSymmetricKey
        | M::ExpiresInAsString
        | M::ExpiresInNegative
        | M::ExpiresInAbsent
        | M::ExpiresInHuge
        | M::ScopeNarrowed
        | M::ScopeAbsent
        | M::IdTokenKidMissing => Expected::Nothing,
        M::DuplicateIssInCallback
        | M::WrongStateInCallback
        | M::MissingStateInCallback
        | M::DuplicateStateInCallback
        | M::DuplicateCodeInCallback
        | M::FragmentInsteadOfQueryInCallback => Expected::CallbackIgnored,
        M::JwkSetEmpty | M::IdTokenKidUnknown => Expected::NoKeys,
        M::RefreshTokenOmitted
        | M::RefreshTokenEmpty
        | M::SubjectChangedOnRefresh
        | M::NonceWrongOnRefresh => Expected::NoRefresh,
        M::UserinfoSubjectWrong
        | M::UserinfoSubjectMissing
        | M::UserinfoIssuerWrong
        | M::UserinfoAudienceWrong
        | M::UserinfoAlgNone => Expected::NoUserinfo,
        M::AcrIgnored | M::AcrWrong | M::AuthTimeChangedOnRefresh => return None,
        _ => Expected::NoSignIn,
    })
}

async fn try_sign_in(bed: &TestBed) -> Result<(PendingSignIn, u16), gatepass::Error> {
    let options = SignInOptions::default().max_age(60);
    let pending = bed.client().begin_sign_in(options).await?;
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let delivered = bed.server.browser().deliver(&redirect).await.unwrap();
    Ok((pending, delivered))
}

async fn meet(mistake: Mistake, expected: Expected) {
    let bed = TestBed::with(|builder| builder.par(Par::Offered));
    if expected == Expected::NoUserinfo
        && !matches!(
            mistake,
            Mistake::UserinfoSubjectWrong | Mistake::UserinfoSubjectMissing
        )
    {
        bed.server.set_userinfo_format(UserinfoFormat::SignedJwt);
    }
    bed.server.misbehave(mistake);
    let session: Session = match try_sign_in(&bed).await {
        Err(error) => {
            assert_eq!(expected, Expected::NoSignIn, "{mistake:?}: {error}");
            assert!(bed.server.times_made(mistake) > 0);
            return;
        }
        Ok((pending, delivered)) => match expected {
            Expected::CallbackIgnored => {
                assert!((400..500).contains(&delivered), "{mistake:?}: {delivered}");
                assert_eq!(pending.progress().get(), SignInProgress::WaitingForRedirect);
                return;
            }
            Expected::NoKeys => {
                assert_eq!(delivered, 200, "{mistake:?}");
                // Stored, unproved, and given to nobody.
                let session = bed.client().session().await;
                assert!(!matches!(session, Ok(Some(_))), "{mistake:?}");
                return;
            }
            Expected::NoSignIn => {
                let error = pending.wait().await.err();
                let error = error.unwrap_or_else(|| panic!("{mistake:?} was not noticed"));
                assert!(!error.to_string().is_empty());
                assert!(bed.server.times_made(mistake) > 0);
                return;
            }
            _ => match pending.wait().await {
                Ok(session) => session,
                Err(error) => panic!("{mistake:?}: {error}"),
            },
        },
    };
    let userinfo = session.userinfo().await;
    assert_eq!(
        userinfo.is_err(),
        expected == Expected::NoUserinfo,
        "{mistake:?}: {userinfo:?}"
    );
    let refreshed = session.refresh().await;
    assert_eq!(
        refreshed.is_err(),
        expected == Expected::NoRefresh,
        "{mistake:?}: {refreshed:?}"
    );
    assert!(bed.server.times_made(mistake) > 0, "{mistake:?} was never made");
}

#[tokio::test]
async fn every_mistake_meets_its_answer() {
    let mut met = BTreeSet::new();
    for mistake in Mistake::ALL {
        if let Some(expected) = expected(*mistake) {
            meet(*mistake, expected).await;
            met.insert(mistake);
        }
    }
    assert!(met.len() + 3 >= Mistake::ALL.len());
}

#[tokio::test]
async fn a_session_of_one_user_never_becomes_that_of_another() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.server.misbehave(Mistake::SubjectChangedOnRefresh);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SubjectChanged));
}

#[tokio::test]
async fn a_held_refresh_is_joined_by_all_who_come_meanwhile() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    let gate = bed.server.fault(Endpoint::Token).every().hold().unwrap();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.refresh().await })
        })
        .collect();
    gate.arrived(1).await;
    gate.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(gate.fired(), 1);
}

#[tokio::test]
async fn a_server_that_requires_pushes_gets_them() {
    let bed = TestBed::with(|builder| builder.par(Par::Required));
    let client = bed.client();
    bed.sign_in(&client).await.unwrap();
    let pushes = paths(&bed.server).iter().filter(|path| *path == "/par").count();
    assert_eq!(pushes, 1);
}

#[tokio::test]
async fn the_app_s_own_users_take_turns() {
    let carol = TestUser::new("carol", "a long password");
    let bed = TestBed::with(|builder| builder.user(carol.clone()));
    let client = bed.client();
    let browser = bed.server.browser();
    for user in [&bed.server.users()[0], &carol] {
        let options = SignInOptions::default().prompt([Prompt::SelectAccount]);
        let pending = client.begin_sign_in(options).await.unwrap();
        let redirect = browser.sign_in(pending.authorization_url(), user).await.unwrap();
        browser.deliver(&redirect).await.unwrap();
        let session = pending.wait().await.unwrap();
        assert_eq!(session.claims().unwrap().subject(), user.subject());
    }
}

#[tokio::test]
async fn keys_that_are_published_late_do_not_cost_the_sign_in() {
    let bed = TestBed::new();
    bed.sign_in(&bed.client()).await.unwrap();
    // Else the next client asks for them again, which is one fetch more than is counted below.
    bed.keys_are_stored().await;
    bed.server.freeze_jwk_set();
    bed.server.rotate_keys();
    bed.server.rotate_keys();
    let client = bed.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    // The clock of the test bed hurries: without this nobody could say which comes first.
    let gate = bed.server.fault(Endpoint::JwkSet).next(1).hold().unwrap();
    bed.server.browser().deliver(&redirect).await.unwrap();
    let waiting = tokio::spawn(async move { pending.wait().await });
    // The code is exchanged before time passes: it lives for a minute.
    let exchanged = |request: &RecordedRequest| request.path() == "/token" && request.status() == Some(200);
    until(|| {
        bed.server
            .requests()
            .iter()
            .filter(|request| exchanged(request))
            .count()
            == 2
    })
    .await;
    // Refetches are rationed by the clock: let time pass in small steps, as an ID token does not live for long.
    let fetches = || paths(&bed.server).iter().filter(|path| *path == "/jwks").count();
    let step = async |done: &dyn Fn() -> bool| {
        for _ in 0..100 {
            bed.clock.advance(Duration::from_secs(20));
            if tokio::time::timeout(Duration::from_millis(50), until(done))
                .await
                .is_ok()
            {
                return;
            }
        }
        panic!("nothing comes of it");
    };
    // The key is not there, and is asked for when it may be: by then it is.
    step(&|| fetches() == 2).await;
    bed.server.publish_keys();
    gate.release();
    step(&|| waiting.is_finished()).await;
    waiting.await.unwrap().unwrap();
}
