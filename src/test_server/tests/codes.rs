//! Redeeming codes at `/token`, and what comes for them.

use super::{App, FORM, REDIRECT, VERIFIER, claims};
use crate::test_server::{SigningAlgorithm, TestApi};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[tokio::test]
async fn a_code_brings_bearer_and_id_token_that_are_not_cached() {
    let app = App::start();
    let tokens = app.redeem(&app.code(&app.url(&[])).await).await;
    assert_eq!(tokens.status, 200);
    assert_eq!(tokens.header("cache-control"), "no-store");
    assert_eq!(tokens.header("pragma"), "no-cache");
    assert_eq!(tokens.header("content-type"), "application/json");
    let json = tokens.json();
    assert!(tokens.member("access_token").starts_with("gpt_at_"));
    assert_eq!(
        (&json["token_type"], &json["expires_in"]),
        (&"Bearer".into(), &300.into())
    );
    assert_eq!(json["scope"], "openid profile email");
    assert!(json.get("refresh_token").is_none());

    let claims = claims(&tokens.member("id_token"));
    let now = super::START / 1000;
    assert_eq!(claims["iss"], app.server.issuer());
    assert_eq!(claims["sub"], app.server.users()[0].subject());
    assert_eq!(claims["aud"], app.server.client_id());
    assert_eq!(claims["nonce"], "a nonce");
    assert_eq!((&claims["iat"], &claims["auth_time"]), (&now.into(), &now.into()));
    assert_eq!(claims["exp"], now + 3600);
    let hash = Sha256::digest(tokens.member("access_token"));
    assert_eq!(claims["at_hash"], BASE64URL.encode(&hash[..16]));
}

#[tokio::test]
async fn without_openid_there_is_no_id_token_and_without_nonce_none_is_claimed() {
    let app = App::start();
    let tokens = app
        .redeem(&app.code(&app.url(&[("scope", Some("profile"))])).await)
        .await;
    assert!(tokens.json().get("id_token").is_none());
    let tokens = app.redeem(&app.code(&app.url(&[("nonce", None)])).await).await;
    assert!(claims(&tokens.member("id_token")).get("nonce").is_none());
}

#[tokio::test]
async fn id_tokens_verify_with_the_published_key_by_kid_also_after_rotation() {
    for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
        let app = App::start_with(|builder| builder.signing_algorithm(algorithm));
        let before = app
            .redeem(&app.code(&app.url(&[])).await)
            .await
            .member("id_token");
        app.server.rotate_keys();
        let after = app
            .redeem(&app.code(&app.url(&[])).await)
            .await
            .member("id_token");
        let keys = app.get("/jwks").await.json();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
        assert!(!keys.to_string().contains("\"d\""), "no private member");
        assert_ne!(key_of(&before, &keys)["kid"], key_of(&after, &keys)["kid"]);
        for token in [before, after] {
            assert!(verifies(&token, key_of(&token, &keys)), "{algorithm:?}");
        }
    }
}

fn key_of<'a>(token: &str, keys: &'a Value) -> &'a Value {
    let header: Value =
        serde_json::from_slice(&BASE64URL.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    assert_eq!((&key["alg"], key["use"].as_str()), (&header["alg"], Some("sig")));
    key
}

fn verifies(token: &str, key: &Value) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL.decode(signature).unwrap();
    let bytes = |name: &str| BASE64URL.decode(key[name].as_str().unwrap()).unwrap();
    if key["kty"] == "RSA" {
        let components = RsaPublicKeyComponents {
            n: bytes("n"),
            e: bytes("e"),
        };
        return components
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .is_ok();
    }
    let point = [vec![4], bytes("x"), bytes("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &signature)
        .is_ok()
}

#[tokio::test]
async fn a_second_use_of_a_code_is_refused_and_revokes_what_the_first_brought() {
    let app = App::start();
    let code = app.code(&app.offline_url()).await;
    let tokens = app.redeem(&code).await;
    let access_token = tokens.member("access_token");
    assert_eq!(app.me(&access_token).await.status, 200);

    app.redeem(&code).await.assert_error(400, "invalid_grant");
    assert_eq!(app.me(&access_token).await.status, 401);
    app.refresh(&tokens.member("refresh_token"), &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_second_use_revokes_even_late_and_without_the_verifier() {
    let app = App::start();
    let code = app.code(&app.offline_url()).await;
    let tokens = app.redeem(&code).await;
    app.pass(120);
    app.redeem_with(&code, &[("code_verifier", "")])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(app.me(&tokens.member("access_token")).await.status, 401);
}

#[tokio::test]
async fn a_wrong_verifier_is_refused_and_leaves_the_code_to_its_owner() {
    let app = App::start();
    let code = app.code(&app.url(&[])).await;
    let other = VERIFIER.replace('d', "e");
    app.redeem_with(&code, &[("code_verifier", &other)])
        .await
        .assert_error(400, "invalid_grant");
    let long = "a".repeat(129);
    for malformed in [
        "",
        &VERIFIER[1..],
        &long,
        &VERIFIER.replace('d', "+"),
        &VERIFIER.replace('d', "é"),
    ] {
        app.redeem_with(&code, &[("code_verifier", malformed)])
            .await
            .assert_error(400, "invalid_request");
    }
    // The challenge itself is no verifier: that would be plain.
    app.redeem_with(&code, &[("code_verifier", super::CHALLENGE)])
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(app.redeem(&code).await.status, 200);
}

#[tokio::test]
async fn the_redirect_uri_must_be_the_very_same() {
    let app = App::start();
    let code = app.code(&app.url(&[])).await;
    for other in [
        "http://127.0.0.1:49153/callback",
        "http://127.0.0.1/callback",
        "com.example.app:/callback",
    ] {
        app.redeem_with(&code, &[("redirect_uri", other)])
            .await
            .assert_error(400, "invalid_grant");
    }
    app.redeem_with(&code, &[("redirect_uri", "")])
        .await
        .assert_error(400, "invalid_request");
}

#[tokio::test]
async fn codes_end_by_the_server_s_clock() {
    let app = App::start();
    let (early, late) = (app.code(&app.url(&[])).await, app.code(&app.url(&[])).await);
    app.pass(59);
    assert_eq!(app.redeem(&early).await.status, 200);
    app.pass(1);
    app.redeem(&late).await.assert_error(400, "invalid_grant");
    app.redeem("gpt_co_never_issued")
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn the_token_endpoint_takes_well_formed_posted_forms_only() {
    let app = App::start();
    let get = app.get("/token").await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));

    let code = app.code(&app.url(&[])).await;
    let body = format!(
        "grant_type=authorization_code&client_id=gatepass-test&code={code}&redirect_uri={REDIRECT}\
         &code_verifier={VERIFIER}"
    );
    let json = ("content-type", "application/json");
    app.send("POST", "/token", &[json], &body)
        .await
        .assert_error(400, "invalid_request");
    app.send("POST", "/token", &[], &body)
        .await
        .assert_error(400, "invalid_request");
    for broken in [
        format!("{body}&code={code}"),
        format!("{body}&x=1&x=2"),
        format!("{body}&x=%FF"),
    ] {
        app.send("POST", "/token", &[FORM], &broken)
            .await
            .assert_error(400, "invalid_request");
    }
    let in_uri = format!("/token?{body}");
    app.send("POST", &in_uri, &[FORM], "")
        .await
        .assert_error(400, "invalid_request");
    app.send("POST", "/token?client_id=gatepass-test", &[FORM], &body)
        .await
        .assert_error(400, "invalid_request");
    let charset = ("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(app.send("POST", "/token", &[charset], &body).await.status, 200);
}

#[tokio::test]
async fn the_client_must_name_itself_and_cannot_authenticate() {
    let app = App::start();
    let code = app.code(&app.url(&[])).await;
    app.redeem_with(&code, &[("client_id", "")])
        .await
        .assert_error(400, "invalid_request");
    app.redeem_with(&code, &[("client_id", "someone-else")])
        .await
        .assert_error(401, "invalid_client");
    app.redeem_with(&code, &[("client_secret", "a")])
        .await
        .assert_error(401, "invalid_client");
    app.redeem_with(&code, &[("client_assertion", "a")])
        .await
        .assert_error(401, "invalid_client");
    let basic = [FORM, ("authorization", "Basic Z2F0ZXBhc3MtdGVzdDo=")];
    let body = format!("grant_type=authorization_code&client_id=gatepass-test&code={code}");
    let answer = app.send("POST", "/token", &basic, &body).await;
    answer.assert_error(401, "invalid_client");
    assert!(answer.header("www-authenticate").starts_with("Basic "));
}

#[tokio::test]
async fn missing_parameters_and_unknown_grants_are_told_apart() {
    let app = App::start();
    app.redeem_with("x", &[("grant_type", "")])
        .await
        .assert_error(400, "invalid_request");
    app.redeem("").await.assert_error(400, "invalid_request");
    for grant in ["password", "client_credentials", "implicit"] {
        app.redeem_with("x", &[("grant_type", grant)])
            .await
            .assert_error(400, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn a_token_request_may_only_name_resources_of_the_grant() {
    let app = App::start_with(|builder| {
        builder
            .api(TestApi::new("a").audience("https://a.example"))
            .api(TestApi::new("b").audience("https://b.example"))
    });
    let code = app
        .code(&app.url(&[("resource", Some("https://a.example"))]))
        .await;
    app.redeem_with(&code, &[("resource", "https://b.example")])
        .await
        .assert_error(400, "invalid_target");
    app.redeem_with(&code, &[("resource", "relative")])
        .await
        .assert_error(400, "invalid_target");
    assert_eq!(
        app.redeem_with(&code, &[("resource", "https://a.example")])
            .await
            .status,
        200
    );
}
