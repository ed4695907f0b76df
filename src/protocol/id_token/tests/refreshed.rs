//! The ID token of a refresh (OpenID Connect Core §12.2).

use super::*;

fn original(changes: Value) -> Claims {
    Claims::from_stored(Object::parse(claims_with(changes).as_bytes()).unwrap()).unwrap()
}

fn check(first: Value) -> Check {
    Check {
        original: Some(original(first)),
        ..Check::es256()
    }
}

fn code(first: Value, refreshed: Value) -> &'static str {
    check(first).code_of_claims(&claims_with(refreshed))
}

#[test]
fn oc_57_bi_72_the_same_user_and_sign_in() {
    let same = json!({});
    assert_eq!(code(same.clone(), json!({ "iat": NOW, "exp": NOW + 600 })), "ok");
    assert_eq!(
        code(same.clone(), json!({ "nonce": null })),
        "ok",
        "the nonce may be left out"
    );
    for (changes, expected) in [
        (json!({ "sub": "another" }), "id_token_subject_changed"),
        (json!({ "sub": "" }), "id_token_subject"),
        (json!({ "iss": "https://other.example.com" }), "id_token_issuer"),
        (json!({ "aud": "other" }), "id_token_audience"),
        (json!({ "aud": [CLIENT, "other"] }), "id_token_audience"),
        (json!({ "azp": "other" }), "id_token_authorized_party"),
        (json!({ "nonce": "another" }), "id_token_nonce"),
        (json!({ "nonce": 7 }), "id_token_nonce"),
    ] {
        assert_eq!(code(same.clone(), changes.clone()), expected, "{changes}");
    }
}

#[test]
fn oc_31_oc_57_a_nonce_that_the_sign_in_did_not_have() {
    // "It SHOULD NOT have a nonce Claim [...]. If present, it MUST be the same as in the original": §12.2.
    assert_eq!(code(json!({ "nonce": null }), json!({})), "id_token_nonce");
}

#[test]
fn oc_57_auth_time_is_that_of_the_sign_in() {
    let first = json!({ "auth_time": ISSUED });
    assert_eq!(code(first.clone(), json!({ "auth_time": ISSUED })), "ok");
    assert_eq!(code(first.clone(), json!({})), "ok");
    for auth_time in [ISSUED + 1, ISSUED - 1, NOW] {
        assert_eq!(
            code(first.clone(), json!({ "auth_time": auth_time })),
            "id_token_auth_time",
            "{auth_time}"
        );
    }
    assert_eq!(
        code(json!({}), json!({ "auth_time": ISSUED })),
        "ok",
        "nothing to compare with"
    );
}

#[test]
fn oc_58_the_rest_holds_for_a_refreshed_token_too() {
    let same = || check(json!({}));
    for (changes, expected) in [
        (json!({ "exp": NOW - SKEW_SECONDS }), "id_token_expired"),
        (
            json!({ "iat": NOW + SKEW_SECONDS + 1 }),
            "id_token_from_the_future",
        ),
        (json!({ "at_hash": "7Httt23NaMd6AwWtm5gJSw" }), "id_token_at_hash"),
        (json!({ "sub": null }), "id_token_subject"),
        (json!({ "exp": null }), "id_token_time"),
    ] {
        assert_eq!(
            same().code_of_claims(&claims_with(changes.clone())),
            expected,
            "{changes}"
        );
    }
    let keys = key_set(&[ec_jwk("")]);
    let good = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    assert_eq!(same().code(&good, &keys), "ok");
    let (input, _) = good.rsplit_once('.').unwrap();
    assert_eq!(same().code(&format!("{input}.AAAA"), &keys), "id_token_signature");
    let unsigned = sign(r#"{"alg":"none"}"#, &claims_with(json!({})));
    assert_eq!(same().code(&unsigned, &keys), "id_token_algorithm");
}
