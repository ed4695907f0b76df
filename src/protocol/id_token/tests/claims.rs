//! The claims at sign-in.

use super::*;

fn code(changes: Value) -> &'static str {
    Check::es256().code_of_claims(&claims_with(changes))
}

#[test]
fn oc_22_am_14_is_06_bi_67_the_issuer() {
    assert_eq!(code(json!({})), "ok");
    for iss in [
        json!("http://server.example.com"),
        json!("https://server.example.com/"),
        json!("https://server.example.com:443"),
        json!("https://SERVER.example.com"),
        json!(["https://server.example.com"]),
        json!(""),
        json!(7),
    ] {
        assert_eq!(code(json!({ "iss": iss.clone() })), "id_token_issuer", "{iss}");
    }
    assert_eq!(code(json!({ "iss": null })), "id_token_issuer", "OC-36");
}

#[test]
fn oc_23_jw_06_bi_67_the_audience() {
    assert_eq!(code(json!({ "aud": [CLIENT] })), "ok");
    for aud in [
        json!("other"),
        json!([]),
        json!(["other"]),
        json!([CLIENT, "other"]),
        json!([CLIENT, 7]),
        json!(""),
        json!(7),
        json!({ "a": CLIENT }),
        json!("S6BhdRkqt3"),
    ] {
        assert_eq!(code(json!({ "aud": aud.clone() })), "id_token_audience", "{aud}");
    }
    assert_eq!(code(json!({ "aud": null })), "id_token_audience", "OC-36");
}

#[test]
fn oc_24_bi_67_the_authorized_party() {
    assert_eq!(code(json!({ "azp": CLIENT })), "ok");
    for azp in [json!("other"), json!(""), json!([CLIENT]), json!(7)] {
        assert_eq!(
            code(json!({ "azp": azp.clone() })),
            "id_token_authorized_party",
            "{azp}"
        );
    }
}

#[test]
fn oc_28_oc_29_oc_36_oc_37_bi_68_times() {
    for name in ["exp", "iat"] {
        for value in [
            json!("1311281970"),
            json!(-1),
            json!(0),
            json!(true),
            json!([1]),
            json!(1e300),
        ] {
            assert_eq!(
                code(json!({ name: value.clone() })),
                "id_token_time",
                "{name} {value}"
            );
        }
        assert_eq!(code(json!({ name: null })), "id_token_time", "{name} missing");
    }
    // A number that no float holds is no time.
    let huge = claims_with(json!({})).replace(&EXPIRES.to_string(), "1e400");
    assert_eq!(Check::es256().code_of_claims(&huge), "id_token_time");
    // A fraction is a NumericDate too (RFC 7519 §2).
    assert_eq!(
        code(json!({ "exp": 1_311_281_970.5, "iat": 1_311_280_970.0 })),
        "ok"
    );
    assert_eq!(code(json!({ "exp": NOW - SKEW_SECONDS })), "id_token_expired");
    assert_eq!(code(json!({ "exp": NOW - SKEW_SECONDS + 1 })), "ok");
    assert_eq!(code(json!({ "iat": NOW + SKEW_SECONDS })), "ok");
    assert_eq!(
        code(json!({ "iat": NOW + SKEW_SECONDS + 1 })),
        "id_token_from_the_future"
    );
    // OC-29 leaves the past open: an ID token of last week with a long life is one.
    assert_eq!(code(json!({ "iat": NOW - 7 * 86_400 })), "ok");
}

#[test]
fn oc_30_bi_69_the_nonce() {
    for nonce in [
        json!("other"),
        json!(""),
        json!(NONCE.to_lowercase()),
        json!([NONCE]),
        json!(7),
    ] {
        assert_eq!(
            code(json!({ "nonce": nonce.clone() })),
            "id_token_nonce",
            "{nonce}"
        );
    }
    assert_eq!(code(json!({ "nonce": null })), "id_token_nonce");
}

#[test]
fn oc_33_the_time_of_authentication() {
    let check = |max_age, changes| {
        let check = Check {
            max_age,
            ..Check::es256()
        };
        check.code_of_claims(&claims_with(changes))
    };
    assert_eq!(check(Some(300), json!({ "auth_time": NOW - 300 })), "ok");
    assert_eq!(
        check(Some(300), json!({ "auth_time": NOW - 300 - SKEW_SECONDS })),
        "ok"
    );
    assert_eq!(
        check(Some(300), json!({ "auth_time": NOW - 301 - SKEW_SECONDS })),
        "id_token_auth_time"
    );
    assert_eq!(check(Some(0), json!({ "auth_time": NOW })), "ok");
    assert_eq!(check(Some(u32::MAX), json!({ "auth_time": 1 })), "ok");
    for missing in [
        json!({}),
        json!({ "auth_time": NOW.to_string() }),
        json!({ "auth_time": true }),
    ] {
        assert_eq!(
            check(Some(300), missing.clone()),
            "id_token_auth_time",
            "{missing}"
        );
        assert_eq!(check(None, missing), "ok", "only where it was asked for");
    }
}

#[test]
fn oc_34_bi_70_at_hash() {
    for (at_hash, expected) in [
        // TV-20 to TV-23
        (json!("77QmUPtjPfzWtF2AnpK9RQ"), "ok"),
        (json!("jtAeDp945y1dDqU3nkIVGNZP1HjH_MFs"), "id_token_at_hash"),
        (
            json!("q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM"),
            "id_token_at_hash",
        ),
        (json!("7Httt23NaMd6AwWtm5gJSw"), "id_token_at_hash"),
        (json!("77QmUPtjPfzWtF2AnpK9RQ=="), "id_token_at_hash"),
        (json!("77qmuptjpfzwtf2anpk9rq"), "id_token_at_hash"),
        (json!(""), "id_token_at_hash"),
        (json!(7), "id_token_at_hash"),
        (json!(["77QmUPtjPfzWtF2AnpK9RQ"]), "id_token_at_hash"),
    ] {
        assert_eq!(code(json!({ "at_hash": at_hash.clone() })), expected, "{at_hash}");
    }
    // OC-34: present means present, whatever it is.
    let null = claims_with(json!({})).replacen('{', r#"{"at_hash":null,"#, 1);
    assert_eq!(Check::es256().code_of_claims(&null), "id_token_at_hash");
}

#[test]
fn oc_36_bi_71_the_subject() {
    assert_eq!(code(json!({ "sub": "a".repeat(255) })), "ok");
    for sub in [
        json!(""),
        json!("a".repeat(256)),
        json!(7),
        json!("ä"),
        json!(["a"]),
    ] {
        assert_eq!(code(json!({ "sub": sub.clone() })), "id_token_subject", "{sub}");
    }
    assert_eq!(code(json!({ "sub": null })), "id_token_subject");
}

#[test]
fn oc_32_the_authentication_context() {
    let check = |wanted: &[&str], changes| {
        let check = Check {
            acr_values: wanted.iter().map(|acr| (*acr).to_owned()).collect(),
            ..Check::es256()
        };
        check.code_of_claims(&claims_with(changes))
    };
    assert_eq!(check(&["urn:a", "urn:b"], json!({ "acr": "urn:b" })), "ok");
    assert_eq!(check(&[], json!({ "acr": "urn:c" })), "ok", "none was asked for");
    assert_eq!(check(&[], json!({})), "ok");
    for acr in [
        json!({}),
        json!({ "acr": "urn:c" }),
        json!({ "acr": "URN:A" }),
        json!({ "acr": "" }),
        json!({ "acr": ["urn:a"] }),
    ] {
        assert_eq!(check(&["urn:a", "urn:b"], acr.clone()), "id_token_acr", "{acr}");
    }
}

#[test]
fn oc_35_tv_24_c_hash_is_of_the_code() {
    assert_eq!(code(json!({ "c_hash": "LDktKdoQak3Pk0cnXxCltA" })), "ok");
    for c_hash in [
        json!("77QmUPtjPfzWtF2AnpK9RQ"),
        json!("LDktKdoQak3Pk0cnXxCltA=="),
        json!(""),
        json!(7),
    ] {
        assert_eq!(
            code(json!({ "c_hash": c_hash.clone() })),
            "id_token_c_hash",
            "{c_hash}"
        );
    }
    let other = Check {
        code: "another",
        ..Check::es256()
    };
    assert_eq!(
        other.code_of_claims(&claims_with(json!({ "c_hash": "LDktKdoQak3Pk0cnXxCltA" }))),
        "id_token_c_hash"
    );
}

#[test]
fn tv_20_to_24_half_hashes_by_the_hash_of_the_algorithm() {
    let check = |hash: Hash, value: &str| {
        let claims = Object::parse(format!(r#"{{"at_hash":"{value}"}}"#).as_bytes()).unwrap();
        check_half_hash(&claims, "at_hash", hash, ACCESS_TOKEN).is_ok()
    };
    let values = [
        "77QmUPtjPfzWtF2AnpK9RQ",
        "jtAeDp945y1dDqU3nkIVGNZP1HjH_MFs",
        "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM",
        "7Httt23NaMd6AwWtm5gJSw",
    ];
    let fitting = |algorithm: Algorithm| values.map(|value| check(algorithm.hash(), value));
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256] {
        assert_eq!(fitting(algorithm), [true, false, false, false], "{algorithm:?}");
    }
    #[cfg(feature = "alg-es384")]
    assert_eq!(fitting(Algorithm::Es384), [false, true, false, false]);
    #[cfg(feature = "alg-es512")]
    assert_eq!(fitting(Algorithm::Es512), [false, false, true, false]);
    #[cfg(feature = "alg-eddsa")]
    assert_eq!(fitting(Algorithm::EdDsa), [false, false, true, false]);
}

#[test]
fn jw_08_a_logout_token_is_no_id_token() {
    let events = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    assert_eq!(code(events.clone()), "id_token_type");
    // It has no nonce, so only a refresh could take it for an ID token.
    let original = Claims::from_stored(Object::parse(claims_with(json!({})).as_bytes()).unwrap());
    let refresh = Check {
        original,
        ..Check::es256()
    };
    let mut logout = events;
    logout["nonce"] = Value::Null;
    assert_eq!(refresh.code_of_claims(&claims_with(logout)), "id_token_type");
}

#[test]
fn rr_52_nbf_is_kept_where_there_is_one() {
    assert_eq!(code(json!({ "nbf": NOW + SKEW_SECONDS })), "ok");
    assert_eq!(
        code(json!({ "nbf": NOW + SKEW_SECONDS + 1 })),
        "id_token_from_the_future"
    );
    assert_eq!(code(json!({ "nbf": "soon" })), "id_token_time");
}

#[test]
fn oc_37_unknown_claims_are_passed_over() {
    assert_eq!(
        code(json!({ "s_hash": "x", "https://example.com/x": { "y": [1] }, "jti": 7 })),
        "ok"
    );
}
