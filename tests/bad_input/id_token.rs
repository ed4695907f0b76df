//! ID tokens, the keys they are signed with, and UserInfo. Every shape of a bad token is at
//! `src/protocol/id_token/tests`; here is what becomes of the sign-in and of the session.

use std::time::Duration;

use gatepass::test_server::{CannedAnswer, Endpoint, FaultPlan, Mistake, PlannedFault, UserinfoFormat};
use gatepass::{EndReason, ErrorKind, SessionState, Stage};
use serde_json::{Value, json as value};

use crate::bed::{REDIRECT, SignedIn, json, logged, told};
use crate::support::{paths, until};

fn revocations(at: &SignedIn) -> usize {
    paths(&at.bed.server)
        .iter()
        .filter(|path| *path == "/revoke")
        .count()
}

/// A sign-in whose ID token is wrong: nothing of it is given out, its grant is given back, the session of before lives.
async fn no_sign_in(at: &SignedIn, case: &str, code: &str) {
    let (before, revoked) = (at.stored(), revocations(at));
    let error = at.sign_in().await.unwrap_err();
    told(&error, code, ErrorKind::Protocol, Stage::IdToken, case);
    at.client.drain().await;
    until(|| revocations(at) > revoked).await;
    at.lives_with(&before, case).await;
}

/// A refresh whose ID token is wrong: the new refresh token is kept, the access token withheld.
async fn withheld(at: &SignedIn, case: &str, code: &str) {
    let before = at.stored();
    let session = at.session_now().await;
    let access = session.peek().unwrap();
    let error = session.refresh().await.unwrap_err();
    told(&error, code, ErrorKind::Protocol, Stage::Refresh, case);
    assert_ne!(at.stored(), before, "{case}: the server rotated");
    let peeked = session.peek().map(|token| token.expose().to_owned());
    assert!(
        peeked.as_deref().is_none_or(|peeked| peeked == access.expose()),
        "{case}: the new access token is withheld"
    );
    at.lives_with(&at.stored(), case).await;
}

const WRONG: [(Mistake, &str); 18] = [
    (Mistake::IdTokenAlgNone, "id_token_algorithm"),
    (Mistake::IdTokenSignatureBroken, "id_token_signature"),
    (Mistake::IdTokenMalformed, "jws_malformed"),
    (Mistake::IdTokenCritUnknown, "jws_critical"),
    (Mistake::IdTokenIssuerWrong, "id_token_issuer"),
    (Mistake::IdTokenAudienceWrong, "id_token_audience"),
    (Mistake::IdTokenAudienceExtra, "id_token_audience"),
    (Mistake::IdTokenAuthorizedPartyWrong, "id_token_authorized_party"),
    (Mistake::IdTokenExpired, "id_token_expired"),
    (Mistake::IdTokenFromTheFuture, "id_token_from_the_future"),
    (Mistake::NonceMissing, "id_token_nonce"),
    (Mistake::NonceWrong, "id_token_nonce"),
    (Mistake::AtHashWrong, "id_token_at_hash"),
    (Mistake::IdTokenSubjectMissing, "id_token_subject"),
    (Mistake::AuthTimeChangedOnRefresh, "id_token_auth_time"),
    (Mistake::NonceWrongOnRefresh, "id_token_nonce"),
    (Mistake::IdTokenMissing, "id_token_missing"),
    (Mistake::SubjectChangedOnRefresh, "subject_changed"),
];

fn only_at_refresh(mistake: Mistake) -> bool {
    matches!(
        mistake,
        Mistake::AuthTimeChangedOnRefresh | Mistake::NonceWrongOnRefresh | Mistake::SubjectChangedOnRefresh
    )
}

#[tokio::test]
async fn bi_54_bi_57_bi_58_bi_66_to_bi_71_a_wrong_id_token_at_the_sign_in() {
    let at = SignedIn::new().await;
    for (mistake, code) in WRONG
        .into_iter()
        .filter(|(mistake, _)| !only_at_refresh(*mistake))
    {
        at.bed.server.misbehave(mistake);
        no_sign_in(&at, &format!("{mistake:?}"), code).await;
        assert_eq!(at.bed.server.times_made(mistake), 1, "{mistake:?}");
    }
}

#[tokio::test]
async fn bi_54_bi_57_bi_58_bi_66_to_bi_72_a_wrong_id_token_at_a_refresh() {
    let at = SignedIn::new().await;
    let left_out = |mistake: Mistake| {
        matches!(
            mistake,
            // May be left out of a refresh.
            Mistake::NonceMissing | Mistake::IdTokenMissing
            // Is made at sign-ins only, and there is another for refreshes.
            | Mistake::NonceWrong
            // Ends the session.
            | Mistake::SubjectChangedOnRefresh
        )
    };
    for (mistake, code) in WRONG.into_iter().filter(|(mistake, _)| !left_out(*mistake)) {
        at.bed.server.misbehave(mistake);
        // Later than the sign-in.
        at.bed.clock.advance(Duration::from_secs(1));
        withheld(&at, &format!("{mistake:?}"), code).await;
        assert_eq!(at.bed.server.times_made(mistake), 1, "{mistake:?}");
    }
    at.bed.server.misbehave(Mistake::SubjectChangedOnRefresh);
    let session = at.session_now().await;
    let error = session.refresh().await.unwrap_err();
    let ended = EndReason::SubjectChanged;
    told(
        &error,
        "subject_changed",
        ErrorKind::SessionEnded(ended),
        Stage::Session,
        "another user",
    );
    assert!(error.clause().is_some());
    assert_eq!(at.client.state().get(), SessionState::Ended(ended));
    assert!(session.peek().is_none());
}

#[tokio::test]
async fn bi_55_bi_56_bi_65_what_the_header_claims() {
    let at = SignedIn::new().await;
    let encode = |header: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header.to_string())
    };
    for (header, code) in [
        (value!({ "alg": "HS256" }), "id_token_algorithm"),
        (value!({ "alg": "nOnE" }), "id_token_algorithm"),
        (value!({ "alg": "ES256" }), "id_token_algorithm"),
        (value!({ "alg": 7 }), "id_token_algorithm"),
        (value!({ "kid": "x" }), "id_token_algorithm"),
        (value!({ "alg": "RS256", "crit": [] }), "jws_critical"),
        (
            value!({ "alg": "RS256", "b64": false, "crit": ["b64"] }),
            "jws_critical",
        ),
        (value!(["RS256"]), "jws_malformed"),
        // The attacker's own key, which would verify: it is not even looked at.
        (
            value!({ "alg": "RS256", "jwk": { "kty": "oct", "k": "AAAA" }, "jku": format!("{}/evil", at.bed.server.issuer()),
                     "x5u": format!("{}/evil", at.bed.server.issuer()), "x5c": ["AAAA"] }),
            "id_token_signature",
        ),
    ] {
        let encoded = encode(&header);
        let spoil = json(move |answer| {
            let token = answer["id_token"].as_str().unwrap().to_owned();
            let rest = token.split_once('.').unwrap().1;
            answer.insert("id_token".into(), format!("{encoded}.{rest}").into());
        });
        at.bed
            .server
            .fault(Endpoint::Token)
            .nth(1)
            .change_body(spoil)
            .unwrap();
        no_sign_in(&at, &header.to_string(), code).await;
    }
    assert!(
        !paths(&at.bed.server).contains(&"/evil".to_owned()),
        "nothing is fetched"
    );
}

#[tokio::test]
async fn bi_59_a_flood_of_unknown_keys_is_one_request_a_minute() {
    let at = SignedIn::new().await;
    at.bed.keys_are_stored().await;
    at.bed.clock.advance(Duration::from_secs(61));
    at.bed.server.misbehave(Mistake::IdTokenKidUnknown);
    let before = at.bed.key_requests();
    let session = at.session_now().await;
    for _ in 0..50 {
        let error = session.refresh().await.unwrap_err();
        told(
            &error,
            "id_token_key",
            ErrorKind::Protocol,
            Stage::Refresh,
            "flood",
        );
    }
    assert_eq!(at.bed.key_requests() - before, 1, "in one minute");
    at.bed.clock.advance(Duration::from_secs(61));
    session.refresh().await.unwrap_err();
    session.refresh().await.unwrap_err();
    assert_eq!(at.bed.key_requests() - before, 2, "in the next one");
    // Its last tokens wait for a key that nobody has, until the set may be asked for again.
    at.bed.clock.advance(Duration::from_secs(61));
    at.lives_with(&at.stored(), "flood").await;
}

/// Signs in with keys that were rolled over, so that the key set is asked for, and answered like this.
async fn waits_for_keys(case: &str, spoil: impl Fn(FaultPlan) -> PlannedFault) {
    let at = SignedIn::new().await;
    at.bed.keys_are_stored().await;
    let before = at.stored();
    at.bed.server.rotate_keys();
    at.bed.clock.advance(Duration::from_secs(61));
    let fault = spoil(at.bed.server.fault(Endpoint::JwkSet).every());
    let clock = at.bed.clock.clone();
    let app = at.bed.client_with(|app| app.redirect(REDIRECT).clock(clock));
    let (_, redirect) = at.begin().await;
    let error = app.resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!(
        (error.code(), error.stage()),
        ("sign_in_unverified", Stage::Jwks),
        "{case}: {error:?}"
    );
    assert!(error.clause().is_some(), "{case}");
    assert!(fault.fired() > 1, "{case}: asked again");
    assert_eq!(at.stored(), before, "{case}");
    // The tokens are not lost: they become the session when the keys are there.
    at.bed.server.lift_faults();
    at.bed.clock.advance(Duration::from_secs(61));
    let session = app.session().await.unwrap().unwrap();
    session.refresh().await.unwrap();
    assert_ne!(at.stored(), before, "{case}");
}

#[tokio::test]
async fn bi_62_bi_64_a_key_set_that_cannot_be_read() {
    let many = format!("{{\"keys\":[{}]}}", vec!["{}"; 100_000].join(","));
    for (case, answer) in [
        ("10 MB", CannedAnswer::oversized(10 << 20)),
        (
            "100 000 keys",
            CannedAnswer::status(200).body("application/json", many),
        ),
        ("404", CannedAnswer::status(404)),
        ("HTML", CannedAnswer::captive_portal()),
        (
            "redirect",
            CannedAnswer::redirect(302, "https://evil.example/jwks"),
        ),
    ] {
        waits_for_keys(case, |plan| plan.answer(answer.clone()).unwrap()).await;

        // Where the keys at hand will do, nobody notices.
        let at = SignedIn::new().await;
        at.bed.keys_are_stored().await;
        at.bed
            .server
            .fault(Endpoint::JwkSet)
            .every()
            .answer(answer)
            .unwrap();
        at.sign_in().await.unwrap();
        at.lives_with(&at.stored(), case).await;
    }
}

#[tokio::test]
async fn bi_60_bi_61_bi_63_key_sets_with_other_things_in_them() {
    let keys = |edit: fn(&mut Vec<Value>)| json(move |set| edit(set["keys"].as_array_mut().unwrap()));
    let no_kid = |at: &SignedIn| at.bed.server.misbehave(Mistake::IdTokenKidMissing);

    // One fits, though the token does not say which.
    let at = SignedIn::new().await;
    no_kid(&at);
    at.sign_in().await.unwrap();
    at.lives_with(&at.stored(), "one key").await;

    // Several fit: none is tried.
    for (case, without_kid) in [("kid twice", false), ("no kid", true)] {
        let at = SignedIn::new().await;
        at.bed.server.misbehave(Mistake::JwkSetWithDuplicateKid);
        if without_kid {
            no_kid(&at);
        }
        at.bed.forget_keys();
        let before = at.stored();
        let app = at.bed.client_with(|app| app.redirect(REDIRECT));
        let (_, redirect) = at.begin().await;
        let error = app.resume_sign_in(&redirect).await.unwrap_err();
        told(
            &error,
            "id_token_key_ambiguous",
            ErrorKind::Protocol,
            Stage::IdToken,
            case,
        );
        at.lives_with(&before, case).await;
    }

    // Keys of no use are passed over; a symmetric one is never used; private parts are told of.
    let from = logged(0).len();
    let at = SignedIn::new().await;
    at.bed.server.misbehave(Mistake::JwkSetWithSymmetricKey);
    let odd = keys(|keys| {
        let mut private = keys[0].clone();
        private["kid"] = "another".into();
        private["d"] = "AAAA".into();
        keys.extend([
            value!({ "kty": "unheard-of", "kid": "x" }),
            value!({ "kty": "RSA" }),
            value!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
            value!(7),
            private,
        ]);
    });
    at.bed
        .server
        .fault(Endpoint::JwkSet)
        .every()
        .change_body(odd)
        .unwrap();
    at.bed.forget_keys();
    let app = at.bed.client_with(|app| app.redirect(REDIRECT));
    let (_, redirect) = at.begin().await;
    app.resume_sign_in(&redirect).await.unwrap();
    assert!(logged(from).contains("publishes private or symmetric keys"));
    at.lives_with(&at.stored(), "odd keys").await;
}

#[tokio::test]
async fn bi_73_userinfo_that_is_not_about_this_user() {
    let at = SignedIn::new().await;
    let before = at.stored();
    let userinfo = async |case: &str, code: &str| {
        let error = at.session.userinfo().await.unwrap_err();
        told(&error, code, ErrorKind::Protocol, Stage::Userinfo, case);
        at.bed.server.behave();
        at.bed.server.lift_faults();
        assert_eq!(at.stored(), before, "{case}");
    };
    for (mistake, code) in [
        (Mistake::UserinfoSubjectWrong, "userinfo_subject"),
        (Mistake::UserinfoSubjectMissing, "userinfo_subject"),
    ] {
        at.bed.server.misbehave(mistake);
        userinfo(&format!("{mistake:?}"), code).await;
    }
    for (case, answer) in [
        ("HTML", CannedAnswer::captive_portal()),
        ("garbage", CannedAnswer::garbage()),
        (
            "a JWT labelled JSON",
            CannedAnswer::status(200).body("application/json", "e30.e30.AA"),
        ),
        (
            "JSON labelled as a JWT",
            CannedAnswer::status(200).body("application/jwt", r#"{"sub":"alice"}"#),
        ),
    ] {
        at.bed
            .server
            .fault(Endpoint::Userinfo)
            .every()
            .answer(answer)
            .unwrap();
        let error = at.session.userinfo().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::Protocol, Stage::Userinfo),
            "{case}: {error:?}"
        );
        assert!(error.clause().is_some());
        at.bed.server.lift_faults();
    }
    at.bed.server.set_userinfo_format(UserinfoFormat::SignedJwt);
    for (mistake, code) in [
        (Mistake::UserinfoAlgNone, "userinfo_algorithm"),
        (Mistake::UserinfoIssuerWrong, "userinfo_issuer"),
        (Mistake::UserinfoAudienceWrong, "userinfo_audience"),
        (Mistake::UserinfoSubjectWrong, "userinfo_subject"),
    ] {
        at.bed.server.misbehave(mistake);
        userinfo(&format!("{mistake:?}"), code).await;
    }
    at.session.userinfo().await.unwrap();
    at.lives_with(&before, "userinfo").await;
}
