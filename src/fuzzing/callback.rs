//! Callback URLs: what anybody who can make a link can send.

use std::sync::LazyLock;

use url::form_urlencoded;

use super::input::{has_clean_texts, unguessable};
use super::samples::{CLIENT, ISSUER};
use crate::error::ErrorKind;
use crate::protocol::callback::{Callback, Expected, MAX_URL_BYTES, Refusal, ValidatedCallback};
use crate::protocol::endpoint::TransportPolicy;
use crate::protocol::form::{self, Form, FormError};
use crate::protocol::issuer::Issuer;
use crate::protocol::pkce::CodeVerifier;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::token;
use crate::secret::Secret;

const REDIRECTS: [&str; 3] = [
    "https://app.example.com/callback",
    "com.example.app:/callback",
    "http://127.0.0.1:49152/callback",
];

/// The input is a callback URL. Where it has several lines, the first three are also the code, the state and the issuer of
/// a callback that a server would make.
pub fn callback_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    any_url(text);
    let (code, rest) = text.split_once('\n').unwrap_or((text, ""));
    if !rest.is_empty() {
        let (state, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        made_by_a_server(code, state, rest.split('\n').next().unwrap_or_default());
    }
}

static SETTINGS: LazyLock<[Setting; 3]> = LazyLock::new(|| REDIRECTS.map(Setting::new));

struct Setting {
    redirect: RedirectUri,
    issuer: Issuer,
}

impl Setting {
    fn new(redirect: &str) -> Self {
        Self {
            redirect: RedirectUri::parse(redirect).unwrap(),
            issuer: Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
        }
    }

    fn validate(
        &self,
        callback: &Callback,
        state: &str,
        iss_required: bool,
    ) -> Result<ValidatedCallback, Refusal> {
        callback.validate(&Expected {
            redirect: &self.redirect,
            state: &Secret::new(state.to_owned()),
            issuer: &self.issuer,
            iss_required,
        })
    }
}

fn any_url(text: &str) {
    let callback = match Callback::parse(text) {
        Ok(callback) => callback,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Protocol);
            return;
        }
    };
    // Independently: the query by the WHATWG's decoder, which refuses nothing.
    let (before, query) = text.split('#').next().unwrap().split_once('?').unwrap();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let value = |name: &str| {
        let found = pairs.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let form = Form::parse(query).map_err(drop).unwrap();
    for (at, (name, _)) in pairs.iter().enumerate() {
        assert!(
            !pairs[..at].iter().any(|(known, _)| known == name),
            "a parameter twice"
        );
        assert_eq!(form.get(name), value(name), "read otherwise than written");
    }
    // What is in it once and again is refused, wherever it stands.
    if let Some((name, _)) = pairs.first() {
        let again = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, "x")
            .finish();
        assert_eq!(
            Form::parse(&format!("{query}&{again}")).err(),
            Some(FormError::Duplicate)
        );
    }

    // A state that nobody can know: never ours, and the sign-in goes on waiting.
    let at_its_place = REDIRECTS.into_iter().find(|redirect| *redirect == before);
    let state = unguessable(text.as_bytes());
    for setting in &*SETTINGS {
        let refusal = setting.validate(&callback, &state, false).unwrap_err();
        assert!(!refusal.ends_flow, "a forged callback ended a sign-in");
    }
    let Ok(state) = callback.state() else {
        assert!(value("state").is_none_or(|state| state.bytes().any(|b| !(0x20..=0x7e).contains(&b))));
        return;
    };
    assert_eq!(Some(state), value("state"));
    for setting in &*SETTINGS {
        let redirect = setting.redirect.as_str();
        assert_eq!(callback.came_to(&setting.redirect), before == redirect);
        for iss_required in [false, true] {
            match setting.validate(&callback, state, iss_required) {
                Ok(valid) => {
                    assert_eq!(Some(redirect), at_its_place, "accepted at another place");
                    assert_eq!(Some(valid.code().expose()), value("code"));
                    assert!(
                        valid
                            .code()
                            .expose()
                            .bytes()
                            .all(|byte| (0x20..=0x7e).contains(&byte))
                    );
                    match value("iss") {
                        None => assert!(!iss_required, "without the issuer that was required"),
                        Some(iss) => assert_eq!(iss, ISSUER, "a mix-up"),
                    }
                    for never in ["error", "access_token", "id_token", "refresh_token"] {
                        assert_eq!(value(never), None, "a code beside {never}");
                    }
                }
                Err(Refusal { error, ends_flow }) => {
                    assert_eq!(ends_flow, before == redirect);
                    let shown = format!("{error} {error:?}");
                    let code = value("code").filter(|code| code.len() >= 16);
                    if value("error").is_none() {
                        assert!(
                            !code.is_some_and(|code| shown.contains(code)),
                            "a code in an error"
                        );
                    }
                    if let Some(server) = error.server() {
                        has_clean_texts(server);
                    }
                }
            }
        }
    }
}

/// A code, a state and an issuer go into the URL of a callback and come out of it.
fn made_by_a_server(code: &str, state: &str, iss: &str) {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let query = form::encode([("code", code), ("state", state), ("iss", iss)]);
    let query = std::str::from_utf8(&query).unwrap();
    for setting in &*SETTINGS {
        let redirect = setting.redirect.as_str();
        let callback = Callback::parse(&format!("{redirect}?{query}"));
        let Ok(callback) = callback else {
            assert!(
                query.len() + redirect.len() >= MAX_URL_BYTES,
                "a server's callback is refused"
            );
            return;
        };
        let accepted = setting.validate(&callback, state, true);
        let expected = visible(code) && visible(state) && iss == ISSUER;
        assert_eq!(accepted.is_ok(), expected, "{code:?} {state:?} {iss:?}");
        let Ok(valid) = accepted else { continue };
        assert_eq!(valid.code().expose(), code);
        let mut written = String::from("code=");
        form::append(&mut written, code);
        let read = Form::parse(&written).map_err(drop).unwrap();
        assert_eq!(read.get("code"), Some(code), "written, and read otherwise");

        // One letter more or less is another state.
        for other in [&state[1..], &format!("{state}x")] {
            let refused = setting.validate(&callback, other, true).unwrap_err();
            assert!(!refused.ends_flow);
        }
        // What is sent for it is what came in.
        let verifier = CodeVerifier::new("v".repeat(43));
        let body = token::code_request(CLIENT, &valid, &setting.redirect, &verifier, &[]);
        let body = Form::parse(std::str::from_utf8(&body).unwrap())
            .map_err(drop)
            .unwrap();
        assert_eq!(body.get("code"), Some(code));
        assert_eq!(body.get("redirect_uri"), Some(redirect));
        assert_eq!(body.get("grant_type"), Some("authorization_code"));
        assert_eq!(body.get("code_verifier"), Some(verifier.expose()));
    }
}
