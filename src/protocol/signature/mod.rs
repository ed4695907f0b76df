//! Verifying a signature (RFC 7518 §3): one function, two back ends.
//!
//! A Rust program that speaks TLS links AWS-LC already, so it verifies with that; the mobile build has no TLS of
//! its own and takes the smaller pure-Rust code. Both are held to the same test vectors, and a build with both
//! prefers AWS-LC.

use super::jwk::{Algorithm, PublicKey};

#[cfg(feature = "crypto-aws-lc")]
mod aws_lc;
#[cfg(all(feature = "crypto-rust", any(test, not(feature = "crypto-aws-lc"))))]
mod rust_crypto;

#[cfg(not(any(feature = "crypto-aws-lc", feature = "crypto-rust")))]
compile_error!(
    "gatepass needs a signature back end: enable `crypto-aws-lc` (comes with `http`) or `crypto-rust`"
);

/// The signature does not verify. Why is of no use to anyone but an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSignature;

/// Verifies. The key must be of the algorithm's kind; `Jwk::fits` sees to that.
pub(crate) fn verify(
    algorithm: Algorithm,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    #[cfg(feature = "crypto-aws-lc")]
    return aws_lc::verify(algorithm, key, message, signature);
    #[cfg(all(feature = "crypto-rust", not(feature = "crypto-aws-lc")))]
    return rust_crypto::verify(algorithm, key, message, signature);
    #[cfg(not(any(feature = "crypto-aws-lc", feature = "crypto-rust")))]
    return Err(BadSignature);
}

/// The uncompressed point of SEC 1 §2.3.3. Both back ends check that it is on the curve.
#[cfg(any(feature = "crypto-aws-lc", feature = "crypto-rust"))]
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[0x04], x, y].concat()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::protocol::jwk::JwkSet;
    use crate::protocol::jws::CompactJws;

    type Verify = fn(Algorithm, &PublicKey, &[u8], &[u8]) -> Result<(), BadSignature>;

    /// Every back end in this build, so that `--all-features` holds both to the same vectors.
    const BACK_ENDS: &[(&str, Verify)] = &[
        #[cfg(feature = "crypto-aws-lc")]
        ("aws-lc", aws_lc::verify),
        #[cfg(feature = "crypto-rust")]
        ("rust", rust_crypto::verify),
    ];

    // RFC 7515 appendices A.2 and A.3; published sample keys.
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const RSA_KEY: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
    const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    // TV-16: RFC 7515 appendix A.4.
    #[cfg(feature = "alg-es512")]
    const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    #[cfg(feature = "alg-es512")]
    const P521_KEY: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
    // TV-35: RFC 8037 appendix A.
    #[cfg(feature = "alg-eddsa")]
    const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    #[cfg(feature = "alg-eddsa")]
    const ED25519_KEY: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn key(jwk: &str, algorithm: Algorithm) -> PublicKey {
        let set = JwkSet::parse(format!("{{\"keys\":[{jwk}]}}").as_bytes()).unwrap();
        set.select(None, algorithm).unwrap().key.clone()
    }

    fn verifies(verify: Verify, algorithm: Algorithm, jwk: &str, token: &str) -> bool {
        let jws = CompactJws::parse(token).unwrap();
        verify(
            algorithm,
            &key(jwk, algorithm),
            jws.signing_input.as_bytes(),
            &jws.signature,
        )
        .is_ok()
    }

    #[test]
    fn tv_14_oc_25_rs256() {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{RS256_SIGNATURE}");
        for (name, verify) in BACK_ENDS {
            assert!(verifies(*verify, Algorithm::Rs256, RSA_KEY, &token), "{name}");
            assert!(
                !verifies(*verify, Algorithm::Ps256, RSA_KEY, &token),
                "{name}: PS256 is another algorithm"
            );
            let other = format!("eyJhbGciOiJSUzI1NiJ9.e30.{RS256_SIGNATURE}");
            assert!(
                !verifies(*verify, Algorithm::Rs256, RSA_KEY, &other),
                "{name}: another payload"
            );
        }
    }

    #[test]
    fn tv_15_es256() {
        for (name, verify) in BACK_ENDS {
            assert!(verifies(*verify, Algorithm::Es256, EC_KEY, ES256), "{name}");
            let other = ES256.replace("DtEhU", "DtEhV");
            assert!(
                !verifies(*verify, Algorithm::Es256, EC_KEY, &other),
                "{name}: another signature"
            );
        }
    }

    #[test]
    fn bi_57_jw_14_signatures_of_the_wrong_shape() {
        let es = CompactJws::parse(ES256).unwrap();
        let (r, s) = es.signature.split_at(32);
        let mut der = vec![0x30, 0x44, 0x02, 0x20];
        der.extend_from_slice(r);
        der.extend_from_slice(&[0x02, 0x20]);
        der.extend_from_slice(s);
        let message = es.signing_input.as_bytes();
        let rsa = URL_SAFE_NO_PAD.decode(RS256_SIGNATURE).unwrap();
        for (name, verify) in BACK_ENDS {
            let ec = key(EC_KEY, Algorithm::Es256);
            for bad in [
                &[][..],
                &[0; 64],
                &der,
                &es.signature[..63],
                &[&es.signature[..], &[0]].concat(),
            ] {
                assert!(
                    verify(Algorithm::Es256, &ec, message, bad).is_err(),
                    "{name}: {} bytes",
                    bad.len()
                );
            }
            let rsa_key = key(RSA_KEY, Algorithm::Rs256);
            for bad in [&[][..], &rsa[..255], &[&rsa[..], &[0]].concat(), &[0; 256]] {
                assert!(
                    verify(Algorithm::Rs256, &rsa_key, message, bad).is_err(),
                    "{name}: {} bytes",
                    bad.len()
                );
            }
        }
    }

    #[test]
    fn jw_04_bi_74_a_point_off_the_curve_verifies_nothing() {
        let off = PublicKey::P256 {
            x: [1; 32],
            y: [1; 32],
        };
        let es = CompactJws::parse(ES256).unwrap();
        for (name, verify) in BACK_ENDS {
            let outcome = verify(Algorithm::Es256, &off, es.signing_input.as_bytes(), &es.signature);
            assert_eq!(outcome, Err(BadSignature), "{name}");
        }
    }

    #[test]
    fn a_key_of_another_kind_verifies_nothing() {
        for (name, verify) in BACK_ENDS {
            let ec = key(EC_KEY, Algorithm::Es256);
            assert!(verify(Algorithm::Rs256, &ec, b"x", &[1; 64]).is_err(), "{name}");
            let rsa = key(RSA_KEY, Algorithm::Rs256);
            assert!(verify(Algorithm::Es256, &rsa, b"x", &[1; 64]).is_err(), "{name}");
        }
    }

    /// Holds every back end to one published signature, whose payload is no object: the good one, then each way of
    /// spoiling it.
    #[cfg(any(feature = "alg-es384", feature = "alg-es512", feature = "alg-eddsa"))]
    fn vector(algorithm: Algorithm, jwk: &str, token: &str) {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = key(jwk, algorithm);
        for (name, verify) in BACK_ENDS {
            let check =
                |message: &str, signature: &[u8]| verify(algorithm, &key, message.as_bytes(), signature);
            assert_eq!(check(message, &signature), Ok(()), "{name}");
            assert!(
                check(&message[1..], &signature).is_err(),
                "{name}: another message"
            );
            for bit in (0..signature.len() * 8).step_by(61) {
                let mut flipped = signature.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(check(message, &flipped).is_err(), "{name}: bit {bit}");
            }
            let half = signature.len() / 2;
            for bad in [
                vec![],
                vec![0; signature.len()],
                vec![0xff; signature.len()],
                signature[1..].to_vec(),
                [&signature[..], &[0]].concat(),
                [&[0], &signature[..]].concat(),
                [&vec![0; half], &signature[half..]].concat(),
                [&signature[..half], &vec![0; half]].concat(),
                // As DER, the form that X.509 uses (RFC 7518 §3.4 does not).
                [
                    &[0x30, 0x81, 0x88, 2, 0x42],
                    &signature[..half],
                    &[2, 0x42],
                    &signature[half..],
                ]
                .concat(),
            ] {
                assert!(check(message, &bad).is_err(), "{name}: {} bytes", bad.len());
            }
        }
    }

    #[cfg(feature = "alg-es512")]
    #[test]
    fn tv_16_jw_14_es512() {
        vector(Algorithm::Es512, P521_KEY, ES512);
    }

    #[cfg(feature = "alg-eddsa")]
    #[test]
    fn tv_35_eddsa() {
        vector(Algorithm::EdDsa, ED25519_KEY, EDDSA);
    }

    /// Nobody publishes a JWS with ES384, so one is signed here.
    #[cfg(all(feature = "alg-es384", feature = "crypto-aws-lc"))]
    #[test]
    fn jw_14_es384() {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = format!(
            r#"{{"kty":"EC","crv":"P-384","alg":"ES384","x":"{}","y":"{}"}}"#,
            text(x),
            text(y)
        );
        let message = format!("{}.{PAYLOAD}", text(br#"{"alg":"ES384"}"#));
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = pair.sign(&random, message.as_bytes()).unwrap();
        vector(
            Algorithm::Es384,
            &jwk,
            &format!("{message}.{}", text(signature.as_ref())),
        );
    }

    #[cfg(all(feature = "alg-es384", feature = "alg-es512"))]
    #[test]
    fn jw_04_bi_74_points_off_the_larger_curves_verify_nothing() {
        let p384 = PublicKey::P384 {
            x: [1; 48],
            y: [1; 48],
        };
        let p521 = PublicKey::P521 {
            x: [1; 66],
            y: [1; 66],
        };
        for (name, verify) in BACK_ENDS {
            assert!(verify(Algorithm::Es384, &p384, b"x", &[1; 96]).is_err(), "{name}");
            assert!(
                verify(Algorithm::Es512, &p521, b"x", &[1; 132]).is_err(),
                "{name}"
            );
        }
    }

    /// Samples of other standards that are signed with what we verify.
    #[test]
    fn tv_61b_tv_62b_tv_63_samples_of_other_standards() {
        // RFC 9126 §3 and RFC 9101 §4, request objects.
        let par_key = r#"{"kty":"RSA","e":"AQAB","n":"y9Lqv4fCp6Ei-u2-ZCKq83YvbFEk6JMs_pSj76eMkddWRuWX2aBKGHAtKlE5P7_vn__PCKZWePt3vGkB6ePgzAFu08NmKemwE5bQI0e6kIChtt_6KzT5OaaXDFI6qCLJmk51Cc4VYFaxgqevMncYrzaW_50mZ1yGSFIQzLYP8bijAHGVjdEFgZaZEN9lsn_GdWLaJpHrB3ROlS50E45wxrlg9xMncVb8qDPuXZarvghLL0HzOuYRadBJVoWZowDNTpKpk2RklZ7QaBO7XDv3uR7s_sf2g-bAjSYxYUGsqkNA9b3xVW53am_UZZ3tZbFTIh557JICWKHlWj5uzeJXaw"}"#;
        let par = "eyJraWQiOiJrMmJkYyIsImFsZyI6IlJTMjU2In0.eyJpc3MiOiJzNkJoZFJrcXQzIiwiYXVkIjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20iLCJleHAiOjE2MjU4Njk2NzcsInJlc3BvbnNlX3R5cGUiOiJjb2RlIiwiY2xpZW50X2lkIjoiczZCaGRSa3F0MyIsInJlZGlyZWN0X3VyaSI6Imh0dHBzOi8vY2xpZW50LmV4YW1wbGUub3JnL2NiIiwic2NvcGUiOiJhY2NvdW50LWluZm9ybWF0aW9uIiwic3RhdGUiOiJhZjBpZmpzbGRraiIsImNvZGVfY2hhbGxlbmdlIjoiSzItbHRjODNhY2M0aDBjOXc2RVNDX3JFTVRKM2J3dy11Q0hhb2VLMXQ4VSIsImNvZGVfY2hhbGxlbmdlX21ldGhvZCI6IlMyNTYifQ.l9R3RC9bFBHry_8acObQjEf4fX5yfJkWUPfak3J3iiBm0aaQznPw5BZ0B3VQZ9_KYdPt5bTkaflS5fSDklM3_7my9MyOSKFYmf46INk6ju_qUuC2crkOQXZWYJB-0bnYEbdHpUjazFSUvN49cEGstNQeE-dKDWHNgEojgcuNA_pjKfL9VYp1dEA6-WjXZ_OlJ7R_mBWpjFAzc0UkQwqX5hfOJoGTqB2tE4a4aB2z8iYlUJp0DeeYp_hPN6svtmdvte73p5bLGDFpRIlmrBQIAQuxiS0skORpXlS0cBcgHimXVnXOJG7E-A_lS_5y54dVLQPA1jKYx-fxbYSG7dp2fw";
        let jar_key = r#"{"kty":"RSA","e":"AQAB","n":"x5RbkAZkmpRxia65qRQ1wwSMSxQUnS7gcpVTV_cdHmfmG2ltd2yabEO9XadD8pJNZubINPpmgHh3J1aD9WRwS05ucmFq3CfFsluLt13_7oX5yDRSKX7poXmT_5ko8k4NJZPMAO8fPToDTH7kHYbONSE2FYa5GZ60CUsFhSonI-dcMDJ0Ary9lxIw5k2z4TAdARVWcS7sD07VhlMMshrwsPHBQgTatlkxyIHXbYdtak8fqvNAwr7OlVEvM_Ipf5OfmdB8Sd-wjzaBsyP4VhJKoi_qdgSzpC694XZeYPq45Sw-q51iFUlcOlTCI7z6jltUtnR6ySn6XDGFnzH5Fe5ypw"}"#;
        let jar = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsyYmRjIn0.ewogICAgImlzcyI6ICJzNkJoZFJrcXQzIiwKICAgICJhdWQiOiAiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20iLAogICAgInJlc3BvbnNlX3R5cGUiOiAiY29kZSBpZF90b2tlbiIsCiAgICAiY2xpZW50X2lkIjogInM2QmhkUmtxdDMiLAogICAgInJlZGlyZWN0X3VyaSI6ICJodHRwczovL2NsaWVudC5leGFtcGxlLm9yZy9jYiIsCiAgICAic2NvcGUiOiAib3BlbmlkIiwKICAgICJzdGF0ZSI6ICJhZjBpZmpzbGRraiIsCiAgICAibm9uY2UiOiAibi0wUzZfV3pBMk1qIiwKICAgICJtYXhfYWdlIjogODY0MDAKfQ.Nsxa_18VUElVaPjqW_ToI1yrEJ67BgKb5xsuZRVqzGkfKrOIX7BCx0biSxYGmjK9KJPctH1OC0iQJwXu5YVY-vnW0_PLJb1C2HG-ztVzcnKZC2gE4i0vgQcpkUOCpW3SEYXnyWnKzuKzqSb1wAZALo5f89B_p6QA6j6JwBSRvdVsDPdulW8lKxGTbH82czCaQ50rLAg3EYLYaCb4ik4I1zGXE4fvim9FIMs8OCMmzwIB5S-ujFfzwFjoyuPEV4hJnoVUmXR_W9typPf846lGwA8h9G9oNTIuX8Ft2jfpnZdFmLg3_wr3Wa5q3a-lfbgF3S9H_8nN3j1i7tLR_5Nz-g";
        // The proof of possession of the attestation draft.
        let pop_key = r#"{"kty":"EC","crv":"P-256","x":"VcKVNBZ4IaBAYW3jxM4w3TJFVA7myeUGQyGt-g_yvpQ","y":"f-E-hYE3TAWKwhVv9pej9NABs9SX9XsNO80x57jFTyU"}"#;
        let pop = "eyJ0eXAiOiJvYXV0aC1jbGllbnQtYXR0ZXN0YXRpb24tcG9wK2p3dCIsImFsZyI6IkVTMjU2In0.eyJhdWQiOiJodHRwczovL2FzLmV4YW1wbGUuY29tIiwianRpIjoiZDI1ZDAwYWItNTUyYi00NmZjLWFlMTktOThmNDQwZjI1MDY0IiwiaWF0IjoxNzcyNDg3NTk1LCJjaGFsbGVuZ2UiOiI1YzFhOWUxMC0yOWZmLTRjMmItYWU3My01N2MwOTU3YzA5YzQifQ.M4Uc4rWVAqaLlmDDUXQKkKPbAQKj0JrTizLgWhZndmbkvM3VL8y-w_QJr7Z0HZlH94E64cLa8L5fSjJItYv0jg";
        for (name, verify) in BACK_ENDS {
            assert!(verifies(*verify, Algorithm::Rs256, par_key, par), "{name}");
            assert!(verifies(*verify, Algorithm::Rs256, jar_key, jar), "{name}");
            assert!(
                !verifies(*verify, Algorithm::Rs256, par_key, jar),
                "{name}: another key"
            );
            assert!(verifies(*verify, Algorithm::Es256, pop_key, pop), "{name}");
        }
        assert_eq!(
            key(pop_key, Algorithm::Es256).thumbprint(),
            "Ak20Cf62SpTybasujYXbaI-Ms655MyvOZCtnnf8y1QU"
        );
    }
}
