//! One signed token for each algorithm. The private keys were thrown away as soon as they had signed, so that nobody,
//! we included, can sign anything else: a text that verifies and is not one of these is a forgery.

use crate::protocol::jwk::Algorithm;

/// A token as a server would send it, and the public key that it verifies with.
pub(super) struct Sample {
    /// The name of the algorithm, and the `kid`.
    pub(super) algorithm: &'static str,
    pub(super) jwk: &'static str,
    pub(super) token: &'static str,
}

impl Sample {
    /// Whether this build verifies it.
    pub(super) fn is_known(&self) -> bool {
        Algorithm::from_name(self.algorithm).is_some()
    }

    /// Header, payload and signature, as they stand in the token.
    pub(super) fn parts(&self) -> (&'static str, &'static str, &'static str) {
        let mut parts = self.token.splitn(3, '.');
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }
}

// What is in them.
pub(super) const ISSUER: &str = "https://as.example";
pub(super) const CLIENT: &str = "app";
pub(super) const NONCE: &str = "a-nonce";
pub(super) const ACCESS_TOKEN: &str = "an-access-token";
pub(super) const CODE: &str = "an-authorization-code";
/// When they were issued, in seconds since 1970. They expire ten minutes later.
pub(super) const ISSUED: i64 = 2_000_000_000;

/// The key set that holds the keys of all samples.
pub(super) fn key_set() -> String {
    let keys: Vec<&str> = SAMPLES.iter().map(|sample| sample.jwk).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

#[rustfmt::skip]
pub(super) const SAMPLES: [Sample; 6] = [
    Sample {
        algorithm: "RS256",
        jwk: r#"{"kid":"RS256","alg":"RS256","use":"sig","kty":"RSA","n":"5E7f5Qo1FPug6f8ozvddxm-iArB8ppXuFug6Iy3XyRgELPvBLT1HKFgIM9HBjqlwNYLKzxkjLo7aLfqrKEnr3M9RWTO5rqhrMq0d362JTjWHd1HbHYAc55p69I9QL_Myh8Jq8U6sTm7r4I9jz-PIlO_G1J8gGjEzzKvNW162GXHvHykboLM-Es9VX6l5qz9twyko_YOGqK0HUWakr2YcLjtyGXeK73CU62VZt3CLhTaAv-9B9tXjHw4hogeBEqKb-jCkCsd7TyEFRDgBzyWYtJsXRt23xtmRyUfVmNtaplKfFNxQ_Szyf-iKGXTH1jA3JaVdctAxj1We92VZ4hGdOw","e":"AQAB"}"#,
        token: "eyJhbGciOiJSUzI1NiIsImtpZCI6IlJTMjU2In0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoiWWlIUEQyVDlEYVg1QjgzN1hKWHRvdyIsImNfaGFzaCI6ImFOOWV5ZGhXUDEtYnY3YXBRcjU0R3cifQ.TFaTpeVH8nX64MfggWD_QvNm8RlCWuiH-sOaBWeNiUrzXw8crGHqSiV8urgcLFESC68cIxv19CCqTmqcTLhLe1mzJVrMgmjKQQRaX742v-5DvT7Hj7XNxuUWLP2GeN9RPSmaiEiWvxaIij1cba-oGc-jdON5doNvFsnRgyl2t14xT7T1ywovPx6wpwrUXlr5rCpCs2eRF6mOuy9v_ouL0xdWG-R_QcG_nLR9UJP62CtYp6-o3dKlWcxX-HC6EY-wo61_2Byb5IwPqfSehpeZJCFr8FS1wAEN1cQvS0pz6uwyOfEoLS01Z1F6jU4T1x0dafE8BHPhLudviM8LIExSsw",
    },
    Sample {
        algorithm: "PS256",
        jwk: r#"{"kid":"PS256","alg":"PS256","use":"sig","kty":"RSA","n":"yqc_qXU0NCvBqKHkBTz3Ry7lwwIWt1Ph43FEsdye1svcPRqYHTuKHgcCQKgDdmHgc1g688LHB4KrTe76pAJVwxvTayZhMSAyZuqltNbKHEXkYOwgOtWSHIju7_7EN0GXCz_daYq6VQLHHsAL8LuU2kfJaB3FrKj4k4HeiaQDlHwW5zgGwaGl3X1NcKGI-gjkb12lbGCf19AxYV76ubFIO0uNsnq6QPocbqWJEWHkLIxKCyCMY7BYBtkE3v8zAdrFmcFuOHakCFKkBBag6ukLUE4Sk3Sp_lNGAJyPuSmI8pt_uUZdDORzGyXoobQHSubMhNZkRw5K4bJu-WUAiWH0GQ","e":"AQAB"}"#,
        token: "eyJhbGciOiJQUzI1NiIsImtpZCI6IlBTMjU2In0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoiWWlIUEQyVDlEYVg1QjgzN1hKWHRvdyIsImNfaGFzaCI6ImFOOWV5ZGhXUDEtYnY3YXBRcjU0R3cifQ.ZonLSXTMZt8aTDlupdcNKydD3yk4SlXpTYtOtz3ZoMY38lYw-_AvcEg61j6xxToiKGzLCuUMzo8x_EyK0coBvfNj1iMp1E-vC9nnOtBw7Dh7a1LKOKg2GKuieLERKY3g9m5uhIY_qGB5b4StRVzZduI2ItVBtYWUT9pK_L_GUUaJ2PiyOHDb8UFuDVJW9ig_LHoLf7VrrSOb7es8RF2WBuF9jKoC0z0UfkwBBD6ekAwCnKsUYNu62NqY2J40II2l-gJ3C0IwgqYO0UzqXbQ-0qaocaInKwygubQGpf2gmlmlFmy2Di1axzbWJNc1ch6_y13qGB52ns_HQlk3nzcm7w",
    },
    Sample {
        algorithm: "ES256",
        jwk: r#"{"kid":"ES256","alg":"ES256","use":"sig","kty":"EC","x":"w1DOv22S5pMj12oEscekG70mMakf4Ov0POjfvVhP90s","y":"mA3XBsjrPRxcUsOHZjQpHrMHE1VbKY2wkfDt7wxn02Y","crv":"P-256"}"#,
        token: "eyJhbGciOiJFUzI1NiIsImtpZCI6IkVTMjU2In0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoiWWlIUEQyVDlEYVg1QjgzN1hKWHRvdyIsImNfaGFzaCI6ImFOOWV5ZGhXUDEtYnY3YXBRcjU0R3cifQ.dJglkdZeXFwl2DdIEd4YEdRhH9WPSyEJlpo3s-jEOR8C8veRurE8FiM1yZ6977_0v7lT9MumPuh3c86dnQl2Mg",
    },
    Sample {
        algorithm: "ES384",
        jwk: r#"{"kid":"ES384","alg":"ES384","use":"sig","kty":"EC","x":"0Asbt9jn3Rc2N0p__A08YGfQ9nwxsAJVmf88ij4Tdgiyskm3vTkNnwoWKA15Ga3e","y":"NvwbUH9bD3ex3N1suKe8bBTu1pn9qhqbClaNFuV3Oy6zQ9DhNz0Q3EUlR9kSB0p6","crv":"P-384"}"#,
        token: "eyJhbGciOiJFUzM4NCIsImtpZCI6IkVTMzg0In0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoicDNpQU5paHkxTWFtY3VsTlBVclE4SHNCa291Ty1xMkkiLCJjX2hhc2giOiJxbTlxMWFrTVdVTFZwOGVLamN1emdnZ1o0MWNOdENxNSJ9.aLaDkpu_e62_bA4moS-WWs5x8Tejx3FtihJAQPOYhCcCIE5Pj1Xj8BR2sIamxmwziuGjTKi3HkPCuH2x3yxKrStJ1UUjgRU7ss7CQgxqAGJXgmbiKTWkbYUVAzQxMUG8",
    },
    Sample {
        algorithm: "ES512",
        jwk: r#"{"kid":"ES512","alg":"ES512","use":"sig","kty":"EC","x":"AQrVHkDlQYef1nS1aXG_xEes3CYwZ159_-r0oE5rL5B_k0fNZggZi50OD_c-JDc_Gig8uMaXf5pGNMBp-rlrKAFa","y":"AcoOzZFg95NY30Sm0_4VW1LE7qcnDgt6LEb3_g2FZLK5RAjDDDgN8tjRfuK7a1H3mO8kOximypai5tiLZ_Tu2lAE","crv":"P-521"}"#,
        token: "eyJhbGciOiJFUzUxMiIsImtpZCI6IkVTNTEyIn0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoibk1fOGswNExvVlBRRGgxMzQ2YjZlSEM1cENpSUplTURCZzNEaHo2UGJ0NCIsImNfaGFzaCI6IkRQLTQ0Q29LbGtreUVLT0dlY3NkeUllVmoxQjZ4SDBjWTJSbzhaZ1oyWVEifQ.AZeb0gnxZehOrRHhuW042Xs7hgzejJUS3GtKuniXxp6vphyaHWNZ6mgu9TGAjperKM92DJv8e8QRr9j4F67xWGepAXlPCk1ps7a53Qav26VyU1UPBE-aXBMtqSpww3ZvMHLZXlWi7v2RiKgwwqqHq5tV7L13CsDk12gkzSnIwsRigwR2",
    },
    Sample {
        algorithm: "EdDSA",
        jwk: r#"{"kid":"EdDSA","alg":"EdDSA","use":"sig","crv":"Ed25519","x":"5nUEpuz82Lj2uBUC_QT_sDwTI4XEQaLw26cDA-ZGHmo","kty":"OKP"}"#,
        token: "eyJhbGciOiJFZERTQSIsImtpZCI6IkVkRFNBIn0.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJzdWIiOiJhbGljZSIsImF1ZCI6ImFwcCIsImV4cCI6MjAwMDAwMDYwMCwiaWF0IjoyMDAwMDAwMDAwLCJub25jZSI6ImEtbm9uY2UiLCJhdF9oYXNoIjoibk1fOGswNExvVlBRRGgxMzQ2YjZlSEM1cENpSUplTURCZzNEaHo2UGJ0NCIsImNfaGFzaCI6IkRQLTQ0Q29LbGtreUVLT0dlY3NkeUllVmoxQjZ4SDBjWTJSbzhaZ1oyWVEifQ.Ry5zyb7Hc3MSfl0lWDuLOrvah_ovfp4ImVgbiZZuOF6eswi7p95zx3dwCIMytv_oMOy83ucr1lHrQRosnn8FDQ",
    },
];
