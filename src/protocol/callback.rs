//! The authorization response (RFC 6749 §4.1.2, RFC 9207): the one input that anybody who can make a link can
//! send.
//!
//! The order of the checks is the defence. A callback is read (`Callback::parse`), then looked up by `state`, and
//! only then believed: redirect URI, `state`, `iss`, `error`, `code`. Until `state` is known to be ours nothing
//! it says has any effect, so a forged link can neither finish a sign-in nor end one.

use super::form::{Form, FormError};
use super::issuer::Issuer;
use super::redirect::RedirectUri;
use super::text;
use crate::error::{Error, ErrorKind, Result, ServerError, Stage};
use crate::secret::{Secret, secret_newtype};

/// The longest callback URL that is looked at.
pub(crate) const MAX_URL_BYTES: usize = 64 * 1024;

secret_newtype! {
    /// The code that is exchanged for tokens, once.
    pub(crate) AuthorizationCode
}

/// A callback URL that could be read. Nothing in it is believed yet.
pub(crate) struct Callback {
    redirect: String,
    form: Form,
}

/// What the pending sign-in expects of its callback.
pub(crate) struct Expected<'a> {
    pub(crate) redirect: &'a RedirectUri,
    pub(crate) state: &'a Secret,
    pub(crate) issuer: &'a Issuer,
    /// The server's metadata says that it always sends `iss` (RFC 9207 §3).
    pub(crate) iss_required: bool,
}

/// A callback that passed every check: the only thing the token request can be built from.
#[derive(Debug)]
pub(crate) struct ValidatedCallback {
    code: AuthorizationCode,
}

impl ValidatedCallback {
    pub(crate) fn code(&self) -> &AuthorizationCode {
        &self.code
    }

    #[cfg(test)]
    pub(crate) fn for_tests(code: &str) -> Self {
        let code = AuthorizationCode::new(code.to_owned());
        Self { code }
    }
}

/// A refused callback.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The callback was ours (its state matched), so the sign-in is over. Otherwise it goes on waiting.
    pub(crate) ends_flow: bool,
}

impl Callback {
    /// Reads a callback URL. A fragment is dropped: the response was asked for in the query.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        if url.len() > MAX_URL_BYTES {
            return Err(refused(
                "callback_too_long",
                "RFC 6749 §10.14",
                "the callback URL is longer than 64 KiB",
            ));
        }
        let without_fragment = url.split_once('#').map_or(url, |(before, _)| before);
        let Some((redirect, query)) = without_fragment.split_once('?') else {
            return Err(refused(
                "callback_without_query",
                "RFC 6749 §4.1.2",
                "the callback URL has no query",
            ));
        };
        if redirect.is_empty() {
            return Err(refused(
                "callback_relative",
                "RFC 6749 §4.1.2",
                "the callback is not an absolute URL",
            ));
        }
        let form = Form::parse(query).map_err(|e| match e {
            FormError::Duplicate => refused(
                "callback_duplicate",
                "RFC 6749 §3.1",
                "the callback has a parameter twice",
            ),
            FormError::Encoding => refused(
                "callback_encoding",
                "RFC 6749 appendix B",
                "the callback has a broken percent escape or text that is not UTF-8",
            ),
        })?;
        Ok(Self {
            redirect: redirect.to_owned(),
            form,
        })
    }

    /// The same callback at the redirect URI, if a page that stands there handed it on to this alias of it. Nothing but the
    /// place changes: whether it is the right one, and all that it says, is checked as for any other.
    pub(crate) fn handed_on_from(mut self, redirect: &RedirectUri, alias: &RedirectUri) -> Self {
        if self.came_to(alias) {
            self.redirect = redirect.as_str().to_owned();
        }
        self
    }

    /// The `state`, by which the pending sign-in is found.
    pub(crate) fn state(&self) -> Result<&str> {
        self.form
            .get("state")
            .filter(|state| text::is_vschar(state))
            .ok_or_else(|| {
                refused(
                    "state_missing",
                    "RFC 6749 §4.1.2",
                    "the callback has no state, so it belongs to no sign-in",
                )
            })
    }

    /// Whether it came in at this very redirect URI. Compared as strings, so that neither a prefix nor a URL parser's
    /// repairs let another one pass (RFC 8252 §8.10).
    pub(crate) fn came_to(&self, redirect: &RedirectUri) -> bool {
        self.redirect == redirect.as_str()
    }

    /// Checks the callback against the sign-in that its state led to.
    pub(crate) fn validate(&self, expected: &Expected<'_>) -> Result<ValidatedCallback, Refusal> {
        let keep_waiting = |error| Refusal {
            error,
            ends_flow: false,
        };
        if !self.came_to(expected.redirect) {
            return Err(keep_waiting(refused(
                "redirect_mismatch",
                "RFC 8252 §8.10",
                "the callback came to another URL than the redirect URI of the sign-in",
            )));
        }
        if !expected.state.matches(self.state().map_err(keep_waiting)?) {
            return Err(keep_waiting(refused(
                "state_mismatch",
                "RFC 6749 §10.12",
                "the callback has another state than the sign-in",
            )));
        }
        self.validate_ours(expected).map_err(|error| Refusal {
            error,
            ends_flow: true,
        })
    }

    /// The checks behind `state`: the callback answers our request, though perhaps not from the server we asked.
    fn validate_ours(&self, expected: &Expected<'_>) -> Result<ValidatedCallback> {
        match self.form.get("iss") {
            Some(iss) if iss != expected.issuer.as_str() => {
                return Err(refused(
                    "iss_mismatch",
                    "RFC 9207 §2.4",
                    "the callback was issued by another server than the one asked: a mix-up, perhaps an attack",
                ));
            }
            None if expected.iss_required => {
                return Err(refused(
                    "iss_missing",
                    "RFC 9207 §2.4",
                    "the callback does not say who issued it, though the server announces that it always does",
                ));
            }
            _ => {}
        }
        for token in ["access_token", "id_token", "refresh_token"] {
            if self.form.get(token).is_some() {
                return Err(refused(
                    "token_in_callback",
                    "RFC 9700 §2.1.2",
                    "the callback carries a token, which was not asked for and is not used",
                ));
            }
        }
        if let Some(error) = self.form.get("error") {
            return Err(self.server_error(error));
        }
        let code = self.form.get("code").ok_or_else(|| {
            refused(
                "code_missing",
                "RFC 6749 §4.1.2",
                "the callback has neither a code nor an error",
            )
        })?;
        if !text::is_vschar(code) {
            return Err(refused(
                "code_malformed",
                "RFC 6749 appendix A.11",
                "the code in the callback has characters outside printable ASCII",
            ));
        }
        Ok(ValidatedCallback {
            code: AuthorizationCode::new(code.to_owned()),
        })
    }

    fn server_error(&self, error: &str) -> Error {
        let server = ServerError {
            error: Some(text::clean(error, 128)),
            description: self.form.get("error_description").map(|d| text::clean(d, 512)),
            uri: self.form.get("error_uri").and_then(https_only),
            status: None,
        };
        // The user's own "no" is not a fault of the server.
        let (kind, code) = match error {
            "access_denied" => (ErrorKind::Cancelled, "access_denied"),
            _ => (ErrorKind::Server, "authorization_error"),
        };
        Error::new(
            kind,
            Stage::Callback,
            code,
            "the authorization server did not grant the sign-in",
        )
        .with_clause("RFC 6749 §4.1.2.1")
        .with_server(server)
        .without(&self.form.get("code").into_iter().collect::<Vec<_>>())
    }
}

/// An `error_uri` is shown to people, so only https is let through (no `javascript:`, no `data:`).
pub(crate) fn https_only(uri: &str) -> Option<String> {
    let url = url::Url::parse(uri).ok()?;
    (url.scheme() == "https" && uri.len() <= 2048).then(|| url.into())
}

fn refused(code: &'static str, clause: &'static str, message: &str) -> Error {
    Error::protocol(Stage::Callback, code, clause, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::endpoint::TransportPolicy;

    const REDIRECT: &str = "https://app.example.com/callback";
    const ISSUER: &str = "https://as.example";

    fn check_at(url: &str, redirect: &str, iss_required: bool) -> Result<String, (&'static str, bool)> {
        let callback = Callback::parse(url).map_err(|e| (e.code(), false))?;
        callback.state().map_err(|e| (e.code(), false))?;
        callback
            .validate(&Expected {
                redirect: &RedirectUri::parse(redirect).unwrap(),
                state: &Secret::new("S".to_owned()),
                issuer: &Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
                iss_required,
            })
            .map(|valid| valid.code().expose().to_owned())
            .map_err(|refusal| (refusal.error.code(), refusal.ends_flow))
    }

    fn check(query: &str) -> Result<String, (&'static str, bool)> {
        check_at(&format!("{REDIRECT}?{query}"), REDIRECT, false)
    }

    fn waits(code: &'static str) -> Result<String, (&'static str, bool)> {
        Err((code, false))
    }

    fn ends(code: &'static str) -> Result<String, (&'static str, bool)> {
        Err((code, true))
    }

    #[test]
    fn oa_17_is_01_a_good_callback_with_parameters_nobody_knows() {
        assert_eq!(check("code=C&state=S").as_deref(), Ok("C"));
        assert_eq!(
            check("code=C&state=S&iss=https%3A%2F%2Fas.example&session_state=x&foo=%20").as_deref(),
            Ok("C")
        );
    }

    #[test]
    fn bi_01_02_09_10_what_is_no_callback() {
        for (url, code) in [
            ("", "callback_without_query"),
            ("\u{0}\u{1}garbage", "callback_without_query"),
            ("?code=C&state=S", "callback_relative"),
            (REDIRECT, "callback_without_query"),
        ] {
            assert_eq!(check_at(url, REDIRECT, false), waits(code), "{url:?}");
        }
        assert_eq!(check("state=S"), ends("code_missing"));
        assert_eq!(check("code=&state=S"), ends("code_missing"));
    }

    #[test]
    fn bi_03_04_25_na_23_another_place_than_the_redirect_uri() {
        for place in [
            "http://app.example.com/callback",
            "https://evil.example/callback",
            "https://app.example.com/other",
            "https://app.example.com:8443/callback",
            "https://app.example.com/callback/evil",
            "https://app.example.com/callbackx",
            "https://app.example.com/callback;x",
            "https://app.example.com/Callback",
            "https://app.example.com/./callback",
            "https://user:pw@app.example.com/callback",
            "com.example.app:/callback",
        ] {
            let url = format!("{place}?code=C&state=S");
            assert_eq!(
                check_at(&url, REDIRECT, false),
                waits("redirect_mismatch"),
                "{place}"
            );
        }
        let loopback = "http://127.0.0.1:4711/callback";
        let other_port = "http://127.0.0.1:4712/callback?code=C&state=S";
        assert_eq!(check_at(other_port, loopback, false), waits("redirect_mismatch"));
    }

    #[test]
    fn bi_05_to_08_duplicates_and_code_with_error() {
        for query in [
            "code=C&code=C&state=S",
            "code=C&state=S&state=S",
            "code=C&state=S&iss=a&iss=a",
        ] {
            assert_eq!(check(query), waits("callback_duplicate"), "{query}");
        }
        assert_eq!(
            check("code=C&state=S&error=server_error"),
            ends("authorization_error")
        );
    }

    #[test]
    fn oa_21_oa_40_na_21_bi_11_12_a_forged_state_leaves_the_sign_in_alone() {
        assert_eq!(check("code=C"), waits("state_missing"));
        assert_eq!(check("code=C&state="), waits("state_missing"));
        assert_eq!(check("code=C&state=T"), waits("state_mismatch"));
        assert_eq!(check("error=access_denied&state=T"), waits("state_mismatch"));
        assert_eq!(check("error=access_denied"), waits("state_missing"));
    }

    #[test]
    fn is_01_to_05_is_08_bc_05_bi_15_16_17_the_issuer() {
        let required = |query: &str| check_at(&format!("{REDIRECT}?{query}"), REDIRECT, true);
        assert_eq!(required("code=C&state=S"), ends("iss_missing"));
        assert_eq!(required("error=access_denied&state=S"), ends("iss_missing"));
        for iss in [
            "https://other.example",
            "https://as.example/",
            "https://AS.example",
            "https://as.example:443",
            "https://as.exampl%2565",
            "https://as.example%09",
            "https:%5C%5Cas.example",
        ] {
            let query = format!("code=C&state=S&iss={iss}");
            assert_eq!(check(&query), ends("iss_mismatch"), "{iss}");
            assert_eq!(required(&query), ends("iss_mismatch"), "{iss}");
        }
        // IS-03: the issuer is checked before the error is believed.
        assert_eq!(
            check("error=access_denied&state=S&iss=https://other.example"),
            ends("iss_mismatch")
        );
    }

    #[test]
    fn na_13_bc_08_bi_18_19_26_the_wrong_response_mode() {
        let fragment = format!("{REDIRECT}#code=C&state=S");
        assert_eq!(
            check_at(&fragment, REDIRECT, false),
            waits("callback_without_query")
        );
        assert_eq!(check("code=C&state=S#_=_").as_deref(), Ok("C"));
        assert_eq!(check("code=C&state=S&access_token=x"), ends("token_in_callback"));
        assert_eq!(check("state=S&id_token=x"), ends("token_in_callback"));
        assert_eq!(check("response=eyJ.e30.x"), waits("state_missing"));
    }

    #[test]
    fn bi_20_21_22_24_encodings_and_sizes() {
        for query in ["code=%z1&state=S", "code=C&state=%", "code=%FF%FE&state=S"] {
            assert_eq!(check(query), waits("callback_encoding"), "{query}");
        }
        for query in [
            "code=a%00b&state=S",
            "code=a%0d%0ab&state=S",
            "code=%C3%A9&state=S",
        ] {
            assert_eq!(check(query), ends("code_malformed"), "{query}");
        }
        let long = format!("code={}&state=S", "x".repeat(1 << 20));
        assert_eq!(check(&long), waits("callback_too_long"));
        let eight_kib = "c".repeat(8 * 1024);
        assert_eq!(
            check(&format!("code={eight_kib}&state=S")),
            Ok(eight_kib),
            "OA-18"
        );
    }

    #[test]
    fn bi_22_23_29_oa_19_oa_20_errors_are_plain_data() {
        let error_of = |query: &str| {
            let callback = Callback::parse(&format!("{REDIRECT}?{query}&state=S")).unwrap();
            callback
                .validate(&Expected {
                    redirect: &RedirectUri::parse(REDIRECT).unwrap(),
                    state: &Secret::new("S".to_owned()),
                    issuer: &Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
                    iss_required: false,
                })
                .unwrap_err()
                .error
        };
        let error = error_of(
            "error=very+odd&error_description=a%0d%0a%E2%80%AE%3Cb%3E&error_uri=javascript:alert(1)",
        );
        let server = error.server().unwrap();
        assert_eq!(server.error.as_deref(), Some("very odd"));
        assert_eq!(server.description.as_deref(), Some("a<b>"));
        assert_eq!(server.uri, None);
        assert_eq!(error.kind(), ErrorKind::Server);
        let denied = error_of("error=access_denied&error_uri=https://as.example/help");
        assert_eq!(denied.kind(), ErrorKind::Cancelled);
        assert_eq!(
            denied.server().unwrap().uri.as_deref(),
            Some("https://as.example/help")
        );
    }

    #[test]
    fn oa_19_pk_07_oc_13_oc_14_what_each_error_asks_for() {
        use crate::error::NextStep;
        let mend = NextStep::FixConfiguration;
        for (code, step) in [
            ("invalid_request", mend),
            ("unauthorized_client", mend),
            ("access_denied", NextStep::None),
            ("unsupported_response_type", mend),
            ("invalid_scope", mend),
            ("server_error", NextStep::SignInAgain),
            ("temporarily_unavailable", NextStep::SignInAgain),
            ("interaction_required", NextStep::SignInAgain),
            ("login_required", NextStep::SignInAgain),
            ("account_selection_required", NextStep::SignInAgain),
            ("consent_required", NextStep::SignInAgain),
            ("invalid_request_uri", mend),
            ("invalid_request_object", mend),
            ("request_not_supported", mend),
            ("request_uri_not_supported", mend),
            ("registration_not_supported", mend),
            ("invalid_target", mend),
            ("unmet_authentication_requirements", NextStep::ContactServer),
            ("unheard_of", NextStep::ContactServer),
        ] {
            let callback = Callback::parse(&format!("{REDIRECT}?error={code}&state=S")).unwrap();
            let refusal = callback
                .validate(&Expected {
                    redirect: &RedirectUri::parse(REDIRECT).unwrap(),
                    state: &Secret::new("S".to_owned()),
                    issuer: &Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
                    iss_required: false,
                })
                .unwrap_err();
            let error = refusal.error;
            assert_eq!(error.server().unwrap().error.as_deref(), Some(code), "verbatim");
            assert_eq!(error.next_step(), step, "{code}");
            assert!(!error.is_retryable(), "{code}: nothing is asked again by itself");
            assert!(refusal.ends_flow, "{code}");
        }
    }
}
