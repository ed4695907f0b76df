//! What encloses the claims: form, header, algorithm, key, signature.

use super::*;

/// A small random source that repeats (xorshift64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

fn code(header: &str) -> &'static str {
    Check::es256().code(&sign(header, &claims_with(json!({}))), &key_set(&[ec_jwk("")]))
}

#[test]
fn jw_02_oc_26_oc_27_bi_54_bi_55_bi_56_the_algorithm_is_one_that_was_announced() {
    assert_eq!(code(r#"{"alg":"ES256"}"#), "ok");
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""nOnE""#,
        r#""HS256""#,
        r#""HS384""#,
        r#""HS512""#,
        r#""es256""#,
        r#""RS256""#,
        r#""PS256""#,
        r#""EdDSA""#, // compiled in or not, it was not announced
        r#""ES384""#,
        r#""ES512""#,
        r#""""#,
        r#""ES256 ""#,
        "7",
        "null",
        r#"["ES256"]"#,
    ] {
        assert_eq!(
            code(&format!(r#"{{"alg":{alg}}}"#)),
            "id_token_algorithm",
            "{alg}"
        );
    }
    assert_eq!(code("{}"), "id_token_algorithm");
    // Without a list in the metadata it is RS256 alone (§3.1.3.7 item 7).
    let token = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    let keys = key_set(&[ec_jwk("")]);
    assert_eq!(Check::default().code(&token, &keys), "id_token_algorithm");
    // A list never admits what is not verified here.
    let lax = Check {
        algorithms: Some(["none", "HS256"].map(str::to_owned).to_vec()),
        ..Check::default()
    };
    for alg in ["none", "HS256"] {
        let token = sign(&format!(r#"{{"alg":"{alg}"}}"#), &claims_with(json!({})));
        assert_eq!(lax.code(&token, &keys), "id_token_algorithm", "{alg}");
    }
}

#[test]
fn tv_17_bi_54_an_unsecured_token_is_refused() {
    let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    assert_eq!(
        Check::es256().code(token, &key_set(&[ec_jwk("")])),
        "id_token_algorithm"
    );
    let good = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    let (input, _) = good.rsplit_once('.').unwrap();
    assert_eq!(
        Check::es256().code(&format!("{input}."), &key_set(&[ec_jwk("")])),
        "id_token_signature"
    );
}

#[test]
fn bi_55_a_key_of_another_algorithm_is_not_used() {
    let token = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    for key in [
        ec_jwk(r#","alg":"ES384""#),
        ec_jwk(r#","use":"enc""#),
        ec_jwk(r#","key_ops":["sign"]"#),
    ] {
        let keys = key_set(&[key]);
        assert!(matches!(
            Check::es256().run(&token, &keys),
            Err(Refused::UnknownKey(_))
        ));
    }
}

#[test]
fn bi_57_oc_25_signatures_of_the_wrong_shape() {
    let good = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    let keys = key_set(&[ec_jwk("")]);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let raw = bytes(signature);
    let (r, s) = raw.split_at(32);
    let der = [&[0x30, 0x44, 2, 32][..], r, &[2, 32], s].concat();
    let zero = [0; 32];
    for bad in [
        vec![],
        raw[..63].to_vec(),
        [&raw[..], &[0]].concat(),
        der,
        [&zero[..], s].concat(),
        [r, &zero[..]].concat(),
        [s, r].concat(),
        vec![0xff; 64],
    ] {
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&bad));
        assert_eq!(
            Check::es256().code(&token, &keys),
            "id_token_signature",
            "{} bytes",
            bad.len()
        );
    }
    let mut random = Seeded(7);
    for round in 0..300 {
        let length = if round % 3 == 0 { random.below(130) } else { 64 };
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(random.bytes(length)));
        assert_eq!(
            Check::es256().code(&token, &keys),
            "id_token_signature",
            "round {round}"
        );
    }
    // One bit of a good signature, or of what it signs, each in turn.
    for bit in 0..raw.len() * 8 {
        let mut flipped = raw.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(flipped));
        assert_eq!(
            Check::es256().code(&token, &keys),
            "id_token_signature",
            "bit {bit}"
        );
    }
}

#[test]
fn bi_58_the_form() {
    let good = sign(r#"{"alg":"ES256"}"#, &claims_with(json!({})));
    let keys = key_set(&[ec_jwk("")]);
    let two = good.rsplit_once('.').unwrap().0;
    for bad in [
        two.to_owned(),
        format!("{good}."),
        format!("{good}.AAAA"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen('.', " .", 1),
        format!(r#"{{"payload":"{two}"}}"#),
        sign("[]", &claims_with(json!({}))),
        sign(r#"{"alg":"ES256"}"#, "\"claims\""),
        sign(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#),
        String::new(),
    ] {
        assert_eq!(Check::es256().code(&bad, &keys), "jws_malformed", "{bad}");
    }
}

#[test]
fn bi_66_nothing_critical_is_understood() {
    for header in [
        r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","crit":["b64"],"b64":false}"#,
    ] {
        assert_eq!(code(header), "jws_critical", "{header}");
    }
}

#[test]
fn jw_07_oc_40_bi_65_keys_in_the_header_are_not_looked_at() {
    let claims = claims_with(json!({}));
    let header = format!(
        r#"{{"alg":"ES256","kid":"theirs","jwk":{},"jku":"https://evil.example/jwks","x5u":"https://evil.example/x","x5c":["AA=="]}}"#,
        ec_jwk("")
    );
    let token = sign(&header, &claims);
    // The key in the header would verify; the server's set does not have it.
    let others = key_set(&[format!(
        r#"{{"kty":"EC","kid":"theirs","crv":"P-256","x":"{EC_Y}","y":"{EC_X}"}}"#
    )]);
    assert_eq!(Check::es256().code(&token, &others), "id_token_signature");
    assert!(matches!(
        Check::es256().run(&token, &key_set(&[])),
        Err(Refused::UnknownKey(_))
    ));
    // And they do not stand in the way of the right key.
    let keys = key_set(&[ec_jwk(r#","kid":"theirs""#)]);
    assert_eq!(Check::es256().code(&token, &keys), "ok");
}

#[test]
fn bi_59_oc_38_an_unknown_kid_asks_for_newer_keys_and_nothing_else_does() {
    let token = sign(r#"{"alg":"ES256","kid":"new"}"#, &claims_with(json!({})));
    let old = key_set(&[ec_jwk(r#","kid":"old""#)]);
    assert!(matches!(
        Check::es256().run(&token, &old),
        Err(Refused::UnknownKey(_))
    ));
    let new = key_set(&[ec_jwk(r#","kid":"old""#), ec_jwk(r#","kid":"new""#)]);
    assert_eq!(Check::es256().code(&token, &new), "ok");
    for kid in ["7", "null", r#"["new"]"#, r#"{"a":1}"#] {
        let token = sign(
            &format!(r#"{{"alg":"ES256","kid":{kid}}}"#),
            &claims_with(json!({})),
        );
        assert!(
            matches!(Check::es256().run(&token, &old), Err(Refused::Invalid(_))),
            "{kid}"
        );
    }
}

#[test]
fn bi_60_bi_61_oc_39_guessing_is_not_verifying() {
    let claims = claims_with(json!({}));
    let (named, unnamed) = (
        sign(r#"{"alg":"ES256","kid":"a"}"#, &claims),
        sign(r#"{"alg":"ES256"}"#, &claims),
    );
    let twice = key_set(&[ec_jwk(r#","kid":"a""#), ec_jwk(r#","kid":"a""#)]);
    assert_eq!(Check::es256().code(&named, &twice), "id_token_key_ambiguous");
    // The same kid twice, one of them for encryption: one is left.
    let one_fits = key_set(&[
        ec_jwk(r#","kid":"a","use":"enc""#),
        ec_jwk(r#","kid":"a","use":"sig""#),
    ]);
    assert_eq!(Check::es256().code(&named, &one_fits), "ok");
    let two = key_set(&[ec_jwk(r#","kid":"a""#), ec_jwk(r#","kid":"b""#)]);
    assert_eq!(Check::es256().code(&unnamed, &two), "id_token_key_ambiguous");
    assert_eq!(
        Check::es256().code(&unnamed, &key_set(&[ec_jwk(r#","kid":"a""#)])),
        "ok"
    );
}

#[test]
fn jw_08_a_token_of_another_type_is_no_id_token() {
    for plain in ["JWT", "jwt", "JOSE", "application/jwt"] {
        assert_eq!(
            code(&format!(r#"{{"alg":"ES256","typ":"{plain}"}}"#)),
            "ok",
            "{plain}"
        );
    }
    for other in [
        r#""at+jwt""#,
        r#""AT+JWT""#,
        r#""application/at+jwt""#,
        r#""logout+jwt""#,
        r#""dpop+jwt""#,
        r#""secevent+jwt""#,
        "7",
        "null",
        r#"["JWT"]"#,
    ] {
        assert_eq!(
            code(&format!(r#"{{"alg":"ES256","typ":{other}}}"#)),
            "id_token_type",
            "{other}"
        );
    }
}

#[test]
fn tv_13_bi_55_oc_27_a_good_hmac_is_no_signature() {
    // RFC 7515 appendix A.1, and its signature is indeed right for the key that everybody knows. It is the same text as
    // the verifier of RFC 7636 appendix B: two samples, one origin.
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let secret = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    for algorithms in [None, Some(vec!["HS256".to_owned()])] {
        let check = Check {
            algorithms,
            ..Check::default()
        };
        assert_eq!(
            check.code(token, &key_set(&[secret.to_owned()])),
            "id_token_algorithm"
        );
    }
}
