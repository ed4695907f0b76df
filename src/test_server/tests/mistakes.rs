//! Mistakes on demand: each is made, is told, and is what it says.

use super::{App, REDIRECT, claims};
use crate::test_server::{Mistake, Par, UserinfoFormat};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use url::Url;

fn app() -> App {
    App::start_with(|builder| builder.par(Par::Offered).userinfo(UserinfoFormat::SignedJwt))
}

/// Everything an app does at a server, whatever comes of it; what it has seen.
async fn journey(app: &App) -> Journey {
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    let jwk_set = app.get("/jwks").await.json();
    let changes = [
        ("scope", Some("openid profile email offline_access")),
        ("prompt", Some("consent")),
        ("acr_values", Some("gold silver")),
        ("max_age", Some("60")),
    ];
    let push = app.push(&changes).await;
    let redirect = app
        .browser
        .sign_in(&app.url(&changes), &app.server.users()[0])
        .await
        .unwrap();
    // A good code, as the one in the redirect may be spoilt.
    let silent = [("prompt", Some("none")), changes[2], changes[3]];
    let code = good_code(app, &silent).await;
    let signed_in = app.redeem(&code).await.json();
    // Without the mistake of the code exchange in the way.
    let offline = good_code(app, &changes).await;
    let made = app.redeem(&offline).await.json();
    let refresh_token = made["refresh_token"].as_str().unwrap_or("none").to_owned();
    app.pass(30);
    let refreshed = app.refresh(&refresh_token, &[]).await.json();
    let access_token = made["access_token"].as_str().unwrap_or("none").to_owned();
    let userinfo = app.bearer("/userinfo", &access_token).await.text;
    Journey {
        metadata,
        jwk_set,
        push: (push.status, push.json()),
        redirect,
        signed_in,
        offline: made,
        refreshed,
        userinfo,
    }
}

/// A code that was asked for while the server made no mistake in the callback.
async fn good_code(app: &App, changes: &[(&str, Option<&str>)]) -> String {
    let redirect = app
        .browser
        .sign_in(&app.url(changes), &app.server.users()[0])
        .await
        .unwrap();
    let url = Url::parse(&redirect.replacen('#', "?", 1)).unwrap();
    url.query_pairs()
        .find(|(name, _)| name == "code")
        .map(|(_, code)| code.into_owned())
        .unwrap_or_default()
}

struct Journey {
    metadata: Value,
    jwk_set: Value,
    push: (u16, Value),
    redirect: String,
    signed_in: Value,
    offline: Value,
    refreshed: Value,
    userinfo: String,
}

impl Journey {
    async fn with(mistake: Mistake) -> Journey {
        let app = app();
        app.server.misbehave(mistake);
        let journey = journey(&app).await;
        assert!(app.server.times_made(mistake) > 0, "{mistake:?} was never made");
        journey
    }

    /// The values of one parameter of the callback.
    fn in_query(&self, name: &str) -> Vec<String> {
        let url = Url::parse(&self.redirect).unwrap();
        url.query_pairs()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    fn id_token(&self) -> &str {
        self.signed_in["id_token"].as_str().unwrap()
    }

    fn claims(&self) -> Value {
        claims(self.id_token())
    }

    fn refreshed_claims(&self) -> Value {
        claims(self.refreshed["id_token"].as_str().unwrap())
    }
}

fn jose_header(token: &str) -> Value {
    serde_json::from_slice(&BASE64URL.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn every_mistake_can_be_met_is_counted_and_can_be_switched_off() {
    let good = journey(&app()).await;
    assert!(good.refreshed.get("id_token").is_some(), "{}", good.refreshed);
    for mistake in Mistake::ALL {
        let app = app();
        assert_eq!(app.server.times_made(*mistake), 0);
        app.server.misbehave(*mistake);
        journey(&app).await;
        let times = app.server.times_made(*mistake);
        assert!(times > 0, "{mistake:?} was never made");
        app.server.stop_making(*mistake);
        journey(&app).await;
        assert_eq!(
            app.server.times_made(*mistake),
            times,
            "{mistake:?} was made again"
        );
        for other in Mistake::ALL {
            assert_eq!(app.server.times_made(*other) > 0, other == mistake, "{other:?}");
        }
    }
}

#[tokio::test]
async fn behaving_ends_all_mistakes() {
    let app = app();
    for mistake in Mistake::ALL {
        app.server.misbehave(*mistake);
    }
    journey(&app).await;
    app.server.behave();
    let good = journey(&app).await;
    assert_eq!(good.metadata["issuer"], app.server.issuer());
    assert_eq!(good.claims()["nonce"], "a nonce");
    assert_eq!(good.refreshed["token_type"], "Bearer");
}

#[tokio::test]
async fn mistakes_in_metadata_and_keys() {
    use Mistake as M;
    let metadata = async |mistake| Journey::with(mistake).await.metadata;
    assert_eq!(
        metadata(M::WrongIssuerInMetadata).await["issuer"],
        "https://someone-else.example.com"
    );
    let slash = metadata(M::SlashAfterIssuerInMetadata).await;
    assert!(slash["issuer"].as_str().unwrap().ends_with('/'));
    assert!(
        metadata(M::TokenEndpointMissing)
            .await
            .get("token_endpoint")
            .is_none()
    );
    assert_eq!(
        metadata(M::TokenEndpointInsecure).await["token_endpoint"],
        "http://as.example.com/token"
    );
    assert!(metadata(M::JwksUriMissing).await.get("jwks_uri").is_none());
    assert_eq!(
        metadata(M::S256NotOffered).await["code_challenge_methods_supported"],
        json!(["plain"])
    );
    assert!(
        metadata(M::IssNotAdvertised)
            .await
            .get("authorization_response_iss_parameter_supported")
            .is_none()
    );
    let keys = async |mistake| {
        Journey::with(mistake).await.jwk_set["keys"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert!(keys(M::JwkSetEmpty).await.is_empty());
    let twice = keys(M::JwkSetWithDuplicateKid).await;
    assert_eq!((twice.len(), &twice[0]), (2, &twice[1]));
    let symmetric = keys(M::JwkSetWithSymmetricKey).await;
    assert_eq!(
        (&symmetric[1]["kty"], &symmetric[1]["kid"]),
        (&json!("oct"), &symmetric[0]["kid"])
    );
}

#[tokio::test]
async fn mistakes_in_the_callback() {
    use Mistake as M;
    for (mistake, name, expected) in [
        (
            M::WrongIssInCallback,
            "iss",
            vec!["https://someone-else.example.com"],
        ),
        (M::MissingIssInCallback, "iss", vec![]),
        (M::WrongStateInCallback, "state", vec!["A state"]),
        (M::MissingStateInCallback, "state", vec![]),
        (M::DuplicateStateInCallback, "state", vec!["a state", "a state"]),
        (M::MissingCodeInCallback, "code", vec![]),
        (M::ErrorBesideCodeInCallback, "error", vec!["access_denied"]),
        (M::TokenInCallback, "access_token", vec!["a-token-in-a-url"]),
    ] {
        assert_eq!(
            Journey::with(mistake).await.in_query(name),
            expected,
            "{mistake:?}"
        );
    }
    for (mistake, name) in [
        (M::DuplicateCodeInCallback, "code"),
        (M::DuplicateIssInCallback, "iss"),
    ] {
        let values = Journey::with(mistake).await.in_query(name);
        assert_eq!((values.len(), &values[0]), (2, &values[1]), "{mistake:?}");
    }
    let fragment = Journey::with(M::FragmentInsteadOfQueryInCallback).await.redirect;
    assert!(
        fragment.starts_with(&format!("{REDIRECT}#code=gpt_co_")),
        "{fragment}"
    );
    assert!(!fragment.contains('?'));
}

#[tokio::test]
async fn mistakes_in_answers_to_pushes_and_in_token_responses() {
    use Mistake as M;
    let (status, body) = Journey::with(M::PushAnsweredWith200).await.push;
    assert!(status == 200 && body["request_uri"].is_string());
    let (status, body) = Journey::with(M::RequestUriMissing).await.push;
    assert!(status == 201 && body.get("request_uri").is_none());
    assert_eq!(Journey::with(M::PushExpiresAtOnce).await.push.1["expires_in"], 0);

    for (mistake, name, expected) in [
        (M::AccessTokenMissing, "access_token", Value::Null),
        (M::TokenTypeMissing, "token_type", Value::Null),
        (M::TokenTypeUnknown, "token_type", json!("mac")),
        (M::ExpiresInAsString, "expires_in", json!("3600")),
        (M::ExpiresInNegative, "expires_in", json!(-1)),
        (M::ExpiresInAbsent, "expires_in", Value::Null),
        (M::ExpiresInHuge, "expires_in", json!(31_536_000_000_000_i64)),
        (M::ScopeAbsent, "scope", Value::Null),
        (M::IdTokenMissing, "id_token", Value::Null),
    ] {
        let journey = Journey::with(mistake).await;
        assert_eq!(journey.signed_in[name], expected, "{mistake:?}");
        assert_eq!(journey.refreshed[name], expected, "{mistake:?}");
    }
    let error = Journey::with(M::ErrorWithStatus200).await;
    assert_eq!(error.signed_in, json!({ "error": "invalid_grant" }));
    let narrow = Journey::with(M::ScopeNarrowed).await;
    assert_eq!(narrow.offline["scope"], "openid offline_access");
}

#[tokio::test]
async fn an_omitted_refresh_token_leaves_the_old_one_good() {
    for (mistake, expected) in [
        (Mistake::RefreshTokenOmitted, Value::Null),
        (Mistake::RefreshTokenEmpty, json!("")),
    ] {
        assert_eq!(Journey::with(mistake).await.offline["refresh_token"], expected);
        let app = app();
        let token = app.tokens().await.member("refresh_token");
        app.server.misbehave(mistake);
        for _ in 0..2 {
            let refreshed = app.refresh(&token, &[]).await;
            assert_eq!(
                (refreshed.status, &refreshed.json()["refresh_token"]),
                (200, &expected)
            );
        }
        app.server.behave();
        assert_eq!(app.refresh(&token, &[]).await.status, 200);
        app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_narrowed_grant_opens_less() {
    let app = app();
    app.server.misbehave(Mistake::ScopeNarrowed);
    let token = app.tokens().await.member("access_token");
    assert_eq!(app.me(&token).await.status, 403);
}

#[tokio::test]
async fn mistakes_in_the_claims_of_id_tokens() {
    use Mistake as M;
    const YEAR: i64 = 365 * 24 * 3600;
    let good = {
        let app = app();
        journey(&app).await.claims()
    };
    assert_eq!(good["acr"], "gold");
    let now = good["iat"].as_i64().unwrap();
    for (mistake, name, expected) in [
        (
            M::IdTokenIssuerWrong,
            "iss",
            json!("https://someone-else.example.com"),
        ),
        (M::IdTokenAudienceWrong, "aud", json!("another-client")),
        (
            M::IdTokenAudienceExtra,
            "aud",
            json!(["gatepass-test", "another-client"]),
        ),
        (M::IdTokenAuthorizedPartyWrong, "azp", json!("another-client")),
        (M::IdTokenExpired, "exp", json!(now - 3600)),
        (M::IdTokenFromTheFuture, "iat", json!(now + YEAR)),
        (M::IdTokenSubjectMissing, "sub", Value::Null),
        (M::NonceMissing, "nonce", Value::Null),
        (M::NonceWrong, "nonce", json!("a-nonce-nobody-sent")),
        (M::AtHashWrong, "at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        (M::AuthTimeMissing, "auth_time", Value::Null),
        (M::AuthTimeTooOld, "auth_time", json!(now - YEAR)),
        (M::AcrIgnored, "acr", Value::Null),
        (M::AcrWrong, "acr", json!("urn:example:something-else")),
    ] {
        assert_eq!(
            Journey::with(mistake).await.claims()[name],
            expected,
            "{mistake:?}"
        );
    }
    for (mistake, name, expected) in [
        (M::SubjectChangedOnRefresh, "sub", json!("someone-else")),
        (M::AuthTimeChangedOnRefresh, "auth_time", json!(now + 30)),
        (M::NonceWrongOnRefresh, "nonce", json!("a-nonce-nobody-sent")),
    ] {
        let journey = Journey::with(mistake).await;
        assert_eq!(journey.refreshed_claims()[name], expected, "{mistake:?}");
        assert_ne!(
            journey.claims()[name],
            expected,
            "{mistake:?} is made at refreshes only"
        );
    }
}

#[tokio::test]
async fn mistakes_in_the_signature_of_id_tokens() {
    use Mistake as M;
    let header = async |mistake| jose_header(Journey::with(mistake).await.id_token());
    assert_eq!(header(M::IdTokenKidUnknown).await["kid"], "a-key-nobody-has");
    assert!(header(M::IdTokenKidMissing).await.get("kid").is_none());
    assert_eq!(
        header(M::IdTokenCritUnknown).await["crit"],
        json!(["urn:example:unknown"])
    );
    let none = Journey::with(M::IdTokenAlgNone).await;
    assert!(jose_header(none.id_token())["alg"] == "none" && none.id_token().ends_with('.'));
    assert_eq!(Journey::with(M::IdTokenMalformed).await.id_token(), "not.a-jwt");

    let app = app();
    let (good, bad) = {
        let good = app.tokens().await.member("id_token");
        app.server.misbehave(M::IdTokenSignatureBroken);
        (good, app.tokens().await.member("id_token"))
    };
    app.server.behave();
    for (token, accepted) in [(good, true), (bad, false)] {
        let hinted = app.get(&format!("/end_session?id_token_hint={token}")).await;
        assert_eq!(
            hinted.status == 200,
            accepted,
            "the server itself knows its signature"
        );
    }
}

#[tokio::test]
async fn mistakes_in_userinfo() {
    use Mistake as M;
    for (mistake, name, expected) in [
        (M::UserinfoSubjectWrong, "sub", json!("someone-else")),
        (M::UserinfoSubjectMissing, "sub", Value::Null),
        (
            M::UserinfoIssuerWrong,
            "iss",
            json!("https://someone-else.example.com"),
        ),
        (M::UserinfoAudienceWrong, "aud", json!("another-client")),
    ] {
        assert_eq!(
            claims(&Journey::with(mistake).await.userinfo)[name],
            expected,
            "{mistake:?}"
        );
    }
    let none = Journey::with(M::UserinfoAlgNone).await.userinfo;
    assert_eq!(jose_header(&none)["alg"], "none");
}

#[tokio::test]
async fn userinfo_is_json_or_a_signed_jwt() {
    let app = App::start();
    let token = app.tokens().await.member("access_token");
    let plain = app.bearer("/userinfo", &token).await;
    assert_eq!(plain.header("content-type"), "application/json");
    app.server.set_userinfo_format(UserinfoFormat::SignedJwt);
    let signed = app.bearer("/userinfo", &token).await;
    assert_eq!(signed.header("content-type"), "application/jwt");
    let said = claims(&signed.text);
    assert_eq!(
        (&said["iss"], &said["aud"]),
        (&json!(app.server.issuer()), &json!(app.server.client_id()))
    );
    assert_eq!(said["email"], plain.json()["email"]);
    assert_eq!(jose_header(&signed.text)["alg"], "RS256");
    let metadata = app.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["userinfo_signing_alg_values_supported"],
        json!(["RS256"])
    );
}
