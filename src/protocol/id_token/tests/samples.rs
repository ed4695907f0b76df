//! The sample tokens of OpenID Connect Core §3.1.3.3 and appendix A (TV-26a to TV-26e) with the key of A.7 (TV-25).

use super::*;

const N: &str = "w7Zdfmece8iaB0kiTY8pCtiBtzbptJmP28nSWwtdjRu0f2GFpajvWE4VhfJAjEsOcwYzay7XGN0b-X84BfC8hmCTOj2b2eHT7NsZegFPKRUQzJ9wW8ipn_aDJWMGDuB1XyqT1E7DYqjUCEOD1b4FLpy_xPn6oV_TYOfQ9fZdbE5HGxJUzekuGcOKqOQ8M7wfYHhHHLxGpQVgL0apWuP2gDDOdTtpuld4D2LK1MZK99s9gaSjRHE8JDb1Z4IGhEcEyzkxswVdPndUWzfvWBBWXWxtSUvQGBRkuy1BHOa4sP6FKjWEeeF7gm7UMs2Nm2QUgNZw6xvEDGaLk4KASdIxRQ";
/// Its issuer is `http://server.example.com`: a trap in the standard.
const TV_26A: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjFlOWdkazcifQ.ewogImlzcyI6ICJodHRwOi8vc2VydmVyLmV4YW1wbGUuY29tIiwKICJzdWIiOiAiMjQ4Mjg5NzYxMDAxIiwKICJhdWQiOiAiczZCaGRSa3F0MyIsCiAibm9uY2UiOiAibi0wUzZfV3pBMk1qIiwKICJleHAiOiAxMzExMjgxOTcwLAogImlhdCI6IDEzMTEyODA5NzAKfQ.ggW8hZ1EuVLuxNuuIJKX_V8a_OMXzR0EHR9R6jgdqrOOF4daGU96Sr_P6qJp6IcmD3HP99Obi1PRs-cwh3LO-p146waJ8IhehcwL7F09JdijmBqkvPeB2T9CJNqeGpe-gccMg4vfKjkM8FcGvnzZUN4_KSP0aAp1tOJ1zZwgjxqGByKHiOtX7TpdQyHE5lcMiKPXfEIQILVq0pc_E2DzL7emopWoaoZTF_m0_N0YzFC6g6EJbOEoRoSK5hoDalrcvRYLSrQAZZKflyuVCyixEoV9GfNQC3_osjzw2PAithfubEEBLuVVk4XUVrWOLrLl0nx7RkKU8NXNHq-rvKMzqg";
const TV_26B: &str = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmtxdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogIm5hbWUiOiAiSmFuZSBEb2UiLAogImdpdmVuX25hbWUiOiAiSmFuZSIsCiAiZmFtaWx5X25hbWUiOiAiRG9lIiwKICJnZW5kZXIiOiAiZmVtYWxlIiwKICJiaXJ0aGRhdGUiOiAiMDAwMC0xMC0zMSIsCiAiZW1haWwiOiAiamFuZWRvZUBleGFtcGxlLmNvbSIsCiAicGljdHVyZSI6ICJodHRwOi8vZXhhbXBsZS5jb20vamFuZWRvZS9tZS5qcGciCn0.NTibBYW_ZoNHGm4ZrWCqYA9oJaxr1AVrJCze6FEcac4t_EOQiJFbD2nVEPkUXPuMshKjjTn7ESLIFUnfHq8UKTGibIC8uqrBgQAcUQFMeWeg-PkLvDTHk43Dn4_aNrxhmWwMNQfkjqx3wd2Fvta9j8yG2Qn790Gwb5psGcmBhqMJUUnFrGpyxQDhFIzzodmPokM7tnUxBNj-JuES_4CE-BvZICH4jKLp0TMu-WQsVst0ss-vY2RPdU1MzL59mq_eKk8Rv9XhxIr3WteA2ZlrgVyT0cwH3hlCnRUsLfHtIEb8k1Y_WaqKUu3DaKPxqRi6u0rN7RO2uZYPzC454xe-mg";
const TV_26C: &str = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmtxdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogImF0X2hhc2giOiAiNzdRbVVQdGpQZnpXdEYyQW5wSzlSUSIKfQ.kdqTmftlaXg5WBYBr1wkxhkqCGZPc0k8vTiV5g2jj67jQ7XkrDamYx2bOkZLdZrpMPIzkdYB1nZI_G8vQGQuamRhJcEIt21kblGPZ-yhEhdkAiZIZLu38rChalDS2Mh0glE_rke5XXRhmqqoEFFdziFdnO3p61-7y51co84OEAZvARSINQaOWIzvioRfs4zwIFOaT33Vpxfqr8HDyh31zo9eBW2dSQuCa071z0ENWChWoPliK1JCo_Bk9eDg2uwo2ZwhsvHzj6TMQ0lYOTzufSlSmXIKfjlOsb3nftQeR697_hA-nMZyAdL8_NRfaC37XnAbW8WB9wCfECp7cuNuOg";
const TV_26D: &str = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmtxdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogImNfaGFzaCI6ICJMRGt0S2RvUWFrM1BrMGNuWHhDbHRBIgp9.MRPihYtNIcwKTZ_mcMSPfreVytGR4jfl1Tzbv4tH5Jr4WqONs2lUWrIEpZ2joKbZfAGlouAqwqSYpfR3FQYKYvdgnZ3kjIJ_5M4fAARXHVSciGyhfqB-OhDUMXSHzFHiGKNY9TKSgRfiXf_314WRujpqaDtj2uoXbppobYXvAZIxWtsOein0-t91LDS39EW4frNWAopKTBBi_XJPlpLVynWTDvNleEBP6UxIMgYJBKlqsP7RGfHTGk3ReXDacR7RGZlIVGa-0qRyDzvNqD7xfu9aYufUP0oBGqdBGgFVNmwJ7rmB0gdPtC2eJsXq9svCgBBfhRQZxhx1iLJjNc9nSw";
const TV_26E: &str = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmtxdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogImF0X2hhc2giOiAiNzdRbVVQdGpQZnpXdEYyQW5wSzlSUSIsCiAiY19oYXNoIjogIkxEa3RLZG9RYWszUGswY25YeENsdEEiCn0.A2OhhJzbUNaCbNLqNaqetGLJoxB3ujVbq_HLYSOWgWCJ3-B__YxlqIg8gpeL0VhvrWX0mwz7w_pGTRN4JdgsI0xAlT5fob1ZPnrazgonSyzaXcg2bgD896SsBSlG_8JX6JKaztXifn8k2gy65Me-sMyQrRF8xv_q1CeC871sZpMjJzy5nx65BTI17vcXjntZHADv6o2CrHrEdHp8xSlnTLiiIqgDOmKlpkeqqOBK6dqa4rXZlSqMAUm1LYZmtb2D8sHvQsxTbWlBkX7VZaTSqMJ487s4ZIEea8Bw4KGVOntQue4VhBjBnQ4bQKhB_47DxlWpSyOWdy3cer_zxKrfvw";

fn keys() -> JwkSet {
    key_set(&[format!(r#"{{"kty":"RSA","kid":"1e9gdk7","n":"{N}","e":"AQAB"}}"#)])
}

#[test]
fn tv_26b_to_e_oc_22_oc_25_the_samples_verify() {
    for (name, token) in [("b", TV_26B), ("c", TV_26C), ("d", TV_26D), ("e", TV_26E)] {
        let claims = Check::default().run(token, &keys()).unwrap();
        assert_eq!(claims.subject(), SUBJECT, "TV-26{name}");
        assert_eq!(claims.get("aud").unwrap(), CLIENT, "TV-26{name}");
    }
    let claims = Check::default().run(TV_26B, &keys()).unwrap();
    assert_eq!(claims.get("email").unwrap(), "janedoe@example.com");
    let printed = format!("{:?}", claims);
    assert!(
        !printed.contains("janedoe") && !printed.contains(SUBJECT),
        "{printed}"
    );
}

#[test]
fn tv_26a_oc_22_the_issuer_is_compared_with_its_scheme() {
    assert_eq!(Check::default().code(TV_26A, &keys()), "id_token_issuer");
    for issuer in [
        "https://server.example.com/",
        "https://server.example.com:443",
        "https://Server.example.com",
    ] {
        let check = Check {
            issuer,
            ..Check::default()
        };
        assert_eq!(check.code(TV_26B, &keys()), "id_token_issuer", "OC-43: {issuer}");
    }
}

#[test]
fn tv_26_oc_28_oc_29_the_clock() {
    for (now, code) in [
        (NOW, "ok"),
        (EXPIRES + SKEW_SECONDS - 1, "ok"),
        (EXPIRES + SKEW_SECONDS, "id_token_expired"),
        (EXPIRES + SKEW_SECONDS + 1, "id_token_expired"),
        (ISSUED - SKEW_SECONDS, "ok"),
        (ISSUED - SKEW_SECONDS - 1, "id_token_from_the_future"),
        (i64::MAX, "id_token_expired"),
        (i64::MIN, "id_token_from_the_future"),
    ] {
        assert_eq!(
            Check {
                now,
                ..Check::default()
            }
            .code(TV_26B, &keys()),
            code,
            "{now}"
        );
    }
}

#[test]
fn tv_26c_tv_23_oc_34_the_access_token_is_the_one_it_came_with() {
    let other = Check {
        // TV-23: one letter more, one letter less.
        access_token: "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Z",
        ..Check::default()
    };
    for token in [TV_26C, TV_26E] {
        assert_eq!(other.code(token, &keys()), "id_token_at_hash");
    }
    // Without at_hash any access token will do.
    assert_eq!(other.code(TV_26D, &keys()), "ok");
    let other = Check {
        code: "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvl",
        ..Check::default()
    };
    for token in [TV_26D, TV_26E] {
        assert_eq!(other.code(token, &keys()), "id_token_c_hash", "OC-35");
    }
}

#[test]
fn tv_26_oc_30_another_nonce_another_client() {
    let check = Check {
        nonce: "n-0S6_wzA2Mj",
        ..Check::default()
    };
    assert_eq!(check.code(TV_26B, &keys()), "id_token_nonce");
    let check = Check {
        client_id: "s6BhdRkqt4",
        ..Check::default()
    };
    assert_eq!(check.code(TV_26B, &keys()), "id_token_audience");
}

#[test]
fn oc_25_bi_57_no_other_payload_and_no_random_signature_verifies() {
    let parts: Vec<&str> = TV_26B.split('.').collect();
    let other = format!("{}.{}.{}", parts[0], TV_26C.split('.').nth(1).unwrap(), parts[2]);
    assert_eq!(Check::default().code(&other, &keys()), "id_token_signature");
    let keys = keys();
    let mut random = sealed::Seeded(0x5eed);
    for round in 0..300 {
        // Lengths around the right one, and the right one most often.
        let length = if round % 3 == 0 { random.below(520) } else { 256 };
        let signature = random.bytes(length);
        let token = format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(
            Check::default().code(&token, &keys),
            "id_token_signature",
            "round {round}"
        );
    }
}
