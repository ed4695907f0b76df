//! Signing the user out of the server itself (OpenID Connect RP-Initiated Logout 1.0): the URL for the browser, and
//! the redirect that comes back, if one does.

use std::borrow::Cow;

use url::Url;

use super::authorization::Parameters;
use super::callback::Callback;
use super::endpoint::{self, MAX_URL_BYTES};
use super::redirect::RedirectUri;
use super::token::IdToken;
use crate::error::{Error, Result, Stage};
use crate::secret::Secret;

/// Parameters that are ours: an endpoint must not bring them.
const RESERVED: [&str; 6] = [
    "id_token_hint",
    "logout_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "ui_locales",
];

/// Everything that makes one logout request (§2).
pub(crate) struct EndSessionRequest<'a> {
    pub(crate) endpoint: &'a Url,
    pub(crate) client_id: &'a str,
    /// The last ID token, expired or not: it tells the server which session is meant.
    pub(crate) id_token_hint: Option<&'a IdToken>,
    /// Who is to be signed out, where there is no ID token.
    pub(crate) logout_hint: Option<&'a str>,
    /// Where the browser is sent afterwards, and the state that it is to bring along.
    pub(crate) return_to: Option<(&'a RedirectUri, &'a Secret)>,
    pub(crate) ui_locales: &'a [String],
}

impl EndSessionRequest<'_> {
    /// The URL for the browser. A hint that would make it too long to arrive is left out: `client_id` still says who
    /// asks, and the server then asks the user (§2, §4).
    pub(crate) fn to_url(&self) -> Result<String> {
        let whole = self.url_with(self.id_token_hint)?;
        if whole.len() <= MAX_URL_BYTES || self.id_token_hint.is_none() {
            return Ok(whole);
        }
        self.url_with(None)
    }

    fn url_with(&self, hint: Option<&IdToken>) -> Result<String> {
        let mut list: Parameters<'_> = Vec::new();
        if let Some(hint) = hint {
            list.push(("id_token_hint", hint.expose().into()));
        }
        if let Some(hint) = self.logout_hint {
            list.push(("logout_hint", hint.into()));
        }
        list.push(("client_id", self.client_id.into()));
        if let Some((redirect, state)) = self.return_to {
            list.push(("post_logout_redirect_uri", redirect.as_str().into()));
            list.push(("state", state.expose().into()));
        }
        list.push(("ui_locales", Cow::Owned(self.ui_locales.join(" "))));
        list.retain(|(_, value)| !value.is_empty());
        endpoint::with_parameters(self.endpoint, &RESERVED, &list, Stage::EndSession)
    }
}

/// Checks the redirect that ends a logout: it came to the very URI of the request, and with its state (§2, §3). One
/// that did not is to be ignored: anybody can make such a link.
pub(crate) fn check_return(url: &str, redirect: &RedirectUri, state: &Secret) -> Result<()> {
    let callback = Callback::parse(url).map_err(|error| error.at_stage(Stage::EndSession))?;
    let refuse = |code, why: &str| {
        Err(Error::protocol(
            Stage::EndSession,
            code,
            "OpenID Connect RP-Initiated Logout 1.0 §3",
            why,
        ))
    };
    if !callback.came_to(redirect) {
        return refuse(
            "redirect_mismatch",
            "the redirect after sign-out came to another URL than the one asked for",
        );
    }
    if !callback.state().is_ok_and(|found| state.matches(found)) {
        return refuse(
            "state_mismatch",
            "the redirect after sign-out belongs to no sign-out that is under way",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::form::Form;

    const REDIRECT: &str = "https://app.example.com/signed-out";

    fn redirect() -> RedirectUri {
        RedirectUri::parse(REDIRECT).unwrap()
    }

    fn url(endpoint: &str, hint: Option<&str>) -> Result<String> {
        let hint = hint.map(|hint| IdToken::new(hint.to_owned()));
        EndSessionRequest {
            endpoint: &Url::parse(endpoint).unwrap(),
            client_id: "my-app",
            id_token_hint: hint.as_ref(),
            logout_hint: Some("ada"),
            return_to: Some((&redirect(), &Secret::new("S".to_owned()))),
            ui_locales: &["fr-CA".to_owned(), "fr".to_owned()],
        }
        .to_url()
    }

    fn query(url: &str) -> Form {
        Form::parse(url.split_once('?').unwrap().1).unwrap()
    }

    #[test]
    fn lo_02_lo_03_lo_04_lo_05_the_parameters() {
        let url = url("https://as.example/logout?tenant=1", Some("e30.e30.x")).unwrap();
        let query = query(&url);
        for (name, value) in [
            ("tenant", "1"),
            ("id_token_hint", "e30.e30.x"),
            ("logout_hint", "ada"),
            ("client_id", "my-app"),
            ("post_logout_redirect_uri", REDIRECT),
            ("state", "S"),
            ("ui_locales", "fr-CA fr"),
        ] {
            assert_eq!(query.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn lo_03_client_id_is_sent_always_and_state_only_with_a_way_back() {
        let bare = EndSessionRequest {
            endpoint: &Url::parse("https://as.example/logout").unwrap(),
            client_id: "my-app",
            id_token_hint: None,
            logout_hint: None,
            return_to: None,
            ui_locales: &[],
        };
        assert_eq!(
            bare.to_url().unwrap(),
            "https://as.example/logout?client_id=my-app"
        );
    }

    #[test]
    fn lo_06_a_hint_that_makes_the_url_too_long_is_left_out() {
        let endpoint = "https://as.example/logout";
        let without = url(endpoint, None).unwrap();
        let room = MAX_URL_BYTES - without.len() - "id_token_hint=&".len();
        let fits = url(endpoint, Some(&"x".repeat(room))).unwrap();
        assert_eq!(fits.len(), MAX_URL_BYTES);
        assert_eq!(url(endpoint, Some(&"x".repeat(room + 1))).unwrap(), without);
    }

    #[test]
    fn oa_07_an_endpoint_that_brings_our_parameters_is_refused() {
        for name in RESERVED {
            let error = url(&format!("https://as.example/logout?{name}=x"), None).unwrap_err();
            assert_eq!(
                (error.code(), error.stage()),
                ("endpoint_parameter", Stage::EndSession)
            );
        }
    }

    #[test]
    fn lo_05_lo_08_only_the_redirect_of_this_sign_out_counts() {
        let check = |url: &str| {
            check_return(url, &redirect(), &Secret::new("S".to_owned())).map_err(|e| {
                assert_eq!(e.stage(), Stage::EndSession);
                e.code()
            })
        };
        assert_eq!(check(&format!("{REDIRECT}?state=S")), Ok(()));
        assert_eq!(check(&format!("{REDIRECT}?state=S&x=1#f")), Ok(()));
        for (url, code) in [
            (format!("{REDIRECT}?state=T"), "state_mismatch"),
            (format!("{REDIRECT}?state="), "state_mismatch"),
            (format!("{REDIRECT}?x=1"), "state_mismatch"),
            (REDIRECT.to_owned(), "callback_without_query"),
            (format!("{REDIRECT}?state=S&state=S"), "callback_duplicate"),
            (format!("{REDIRECT}?state=%z"), "callback_encoding"),
            (format!("{REDIRECT}/x?state=S"), "redirect_mismatch"),
            (
                "https://evil.example/signed-out?state=S".to_owned(),
                "redirect_mismatch",
            ),
            (String::new(), "callback_without_query"),
        ] {
            assert_eq!(check(&url), Err(code), "{url}");
        }
    }
}
