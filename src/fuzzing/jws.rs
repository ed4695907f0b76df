//! Compact JWS: whatever is not, letter by letter, what the server signed does not verify.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::input::edited;
use super::samples::{SAMPLES, Sample, key_set};
use crate::error::{ErrorKind, Stage};
use crate::protocol::json::Object;
use crate::protocol::jwk::{Algorithm, JwkSet};
use crate::protocol::jws::{CompactJws, Unsigned};

static KEYS: LazyLock<JwkSet> = LazyLock::new(|| JwkSet::parse(key_set().as_bytes()).unwrap());
static ANNOUNCED: LazyLock<Vec<String>> =
    LazyLock::new(|| Algorithm::ALL.iter().map(|a| a.name().to_owned()).collect());

/// The first byte says what the rest is; any other than these begins a whole token.
/// `h`, `p`, `s` and a digit: the header, the payload (both as JSON) or the signature (raw) of that sample is replaced by
/// the rest. `x` and a digit: three bytes each time change one byte of the sample. `=` and a digit: the sample itself.
pub fn compact_jws(data: &[u8]) {
    let structured = match data {
        [
            mode @ (b'h' | b'p' | b's' | b'x' | b'='),
            digit @ b'0'..=b'5',
            rest @ ..,
        ] => Some((*mode, &SAMPLES[usize::from(digit - b'0')], rest)),
        _ => None,
    };
    let Some((mode, sample, rest)) = structured else {
        if let Ok(text) = std::str::from_utf8(data) {
            any_token(text);
        }
        return;
    };
    let (header, payload, signature) = sample.parts();
    let text = URL_SAFE_NO_PAD.encode(rest);
    let token = match mode {
        b'h' => format!("{text}.{payload}.{signature}"),
        b'p' => format!("{header}.{text}.{signature}"),
        b's' => format!("{header}.{payload}.{text}"),
        b'x' => match String::from_utf8(edited(sample.token.as_bytes(), rest)) {
            Ok(token) => token,
            Err(_) => return,
        },
        _ => sample.token.to_owned(),
    };
    any_token(&token);
    if mode == b'=' && sample.is_known() {
        let jws = CompactJws::parse(&token).unwrap();
        assert_eq!(
            jws.verify(&KEYS, Some(&ANNOUNCED)).map(Algorithm::name),
            Ok(sample.algorithm)
        );
        only_its_own_key(sample, &jws);
    }
}

fn any_token(token: &str) {
    let jws = match CompactJws::parse(token) {
        Ok(jws) => jws,
        Err(error) => {
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::Protocol, Stage::IdToken)
            );
            return;
        }
    };
    // There is one spelling of each token: what was read, written again, is what came.
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    assert_eq!(jws.signing_input, input);
    assert_eq!(URL_SAFE_NO_PAD.encode(&jws.signature), signature);
    for (part, object) in [(header, &jws.header), (payload, &jws.payload)] {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        assert_eq!(Object::parse(&bytes).unwrap().0, object.0);
    }
    assert!(
        jws.header.get("crit").is_none(),
        "what must be understood was passed over"
    );

    let all = jws.verify(&KEYS, Some(&ANNOUNCED));
    let unannounced = jws.verify(&KEYS, None);
    assert_eq!(
        jws.verify(&KEYS, Some(&[])),
        Err(Unsigned::Algorithm),
        "none was announced"
    );
    let named = jws.header.str("alg");
    match all {
        Ok(algorithm) => {
            let sample = SAMPLES.iter().find(|sample| sample.token == token);
            let sample = sample.expect("a forgery verifies");
            assert_eq!(sample.algorithm, algorithm.name(), "as another algorithm");
        }
        Err(_) => {
            let sample = SAMPLES
                .iter()
                .find(|sample| sample.token == token && sample.is_known());
            assert!(sample.is_none(), "a good token does not verify");
        }
    }
    if let Ok(algorithm) = unannounced {
        assert_eq!(algorithm, Algorithm::Rs256);
        assert_eq!(all, unannounced);
    }
    if named.and_then(Algorithm::from_name).is_none() {
        assert_eq!(all, Err(Unsigned::Algorithm), "none, HMAC, or what nobody knows");
    }
}

/// No key of another sample verifies it, under its own name or under none.
fn only_its_own_key(sample: &Sample, jws: &CompactJws<'_>) {
    for other in SAMPLES.iter().filter(|other| other.jwk != sample.jwk) {
        let (own, theirs) = (
            format!("\"{}\"", sample.algorithm),
            format!("\"{}\"", other.algorithm),
        );
        for set in [
            other.jwk.to_owned(),
            other.jwk.replace(&theirs, &own),
            other.jwk.replace("\"alg\"", "\"of\"").replace(&theirs, &own),
        ] {
            let set = JwkSet::parse(format!(r#"{{"keys":[{set}]}}"#).as_bytes()).unwrap();
            assert!(jws.verify(&set, Some(&ANNOUNCED)).is_err());
        }
    }
}
