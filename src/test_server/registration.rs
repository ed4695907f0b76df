//! The one client this server knows, its redirect URIs, and the two people who can sign in.

use std::fmt;

/// The public native client (RFC 8252 §8.4) registered at every test server.
pub(super) const CLIENT_ID: &str = "gatepass-test";

/// Registered without a port: RFC 8252 §7.3 lets a loopback redirect name any.
const LOOPBACK_ORIGINS: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];
const CLAIMED_ORIGIN: &str = "https://app.example.com";
const PRIVATE_SCHEME: &str = "com.example.app:";

/// Whether the redirect URI of an authorization request is a registered one.
pub(super) fn is_redirect_uri(uri: &str) -> bool {
    is_registered(uri, "/callback")
}

/// Whether the app may be sent here after sign-out (RP-Initiated Logout §3). The callback is registered
/// for both, as apps with a single redirect do.
pub(super) fn is_post_logout_redirect_uri(uri: &str) -> bool {
    is_registered(uri, "/signed-out") || is_registered(uri, "/callback")
}

/// Compares as strings, without normalising (RFC 9700 §2.1), the port of a loopback address excepted.
fn is_registered(uri: &str, path: &str) -> bool {
    if [CLAIMED_ORIGIN, PRIVATE_SCHEME]
        .iter()
        .any(|origin| uri.strip_prefix(origin) == Some(path))
    {
        return true;
    }
    LOOPBACK_ORIGINS.iter().any(|origin| {
        let rest = uri.strip_prefix(origin);
        rest == Some(path)
            || rest
                .and_then(|rest| rest.strip_prefix(':')?.strip_suffix(path))
                .is_some_and(is_port)
    })
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
        && digits.parse::<u16>().is_ok()
}

/// What a page's `form-action` must allow so that the browser follows the answer to a form to this
/// redirect URI (CSP Level 3 §6.4.2: browsers check redirects too).
pub(super) fn form_action_source(uri: &str) -> &str {
    let scheme_end = uri.find(':').map_or(uri.len(), |colon| colon + 1);
    let (scheme, rest) = uri.split_at_checked(scheme_end).unwrap_or((uri, ""));
    let Some(authority) = rest.strip_prefix("//") else {
        return scheme;
    };
    if authority.starts_with('[') {
        // A CSP host cannot be an IPv6 address, so the scheme has to do.
        return scheme;
    }
    let length = authority.find('/').unwrap_or(authority.len());
    uri.get(..scheme_end + 2 + length).unwrap_or(scheme)
}

/// A person who can sign in at the test server.
#[derive(Clone, PartialEq, Eq)]
pub struct TestUser {
    username: String,
    password: String,
    subject: String,
    name: String,
    email: String,
}

impl TestUser {
    /// What to type as the user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// What to type as the password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The `sub` claim.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The `name` claim.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `email` claim.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// This person with another password, to play someone who mistypes it.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let server = gatepass::test_server::TestServer::start()?;
    /// let clumsy = server.users()[0].with_password("not the password");
    /// assert_eq!(clumsy.username(), "alice");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_password(&self, password: &str) -> TestUser {
        TestUser {
            password: password.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Debug for TestUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestUser")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The two users every test server starts with.
pub(super) fn users() -> Vec<TestUser> {
    let user = |username: &str, password: &str, subject: &str, name: &str| TestUser {
        username: username.to_owned(),
        password: password.to_owned(),
        subject: subject.to_owned(),
        name: name.to_owned(),
        email: format!("{username}@example.com"),
    };
    vec![
        user("alice", "wonderland-42", "user-7f3a-alice", "Alice Example"),
        user("bob", "builder-17-yes", "user-21c9-bob", "Bob Example"),
    ]
}

#[cfg(test)]
mod tests {
    use super::{form_action_source, is_redirect_uri};

    #[test]
    fn redirect_uris_are_compared_as_strings_but_for_the_loopback_port() {
        for good in [
            "http://127.0.0.1/callback",
            "http://127.0.0.1:1/callback",
            "http://127.0.0.1:65535/callback",
            "http://[::1]/callback",
            "http://[::1]:49152/callback",
            "https://app.example.com/callback",
            "com.example.app:/callback",
        ] {
            assert!(is_redirect_uri(good), "{good}");
        }
        for bad in [
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1:1/callback/",
            "http://127.0.0.1:1/callback/evil",
            "http://127.0.0.1:1/callback?a=b",
            "http://127.0.0.1:1/callback#a",
            "http://127.0.0.1:1/Callback",
            "HTTP://127.0.0.1:1/callback",
            "http://127.1:1/callback",
            "http://localhost:1/callback",
            "https://127.0.0.1:1/callback",
            "https://app.example.com:443/callback",
            "https://APP.example.com/callback",
            "https://app.example.com/callback/",
            "https://app.example.com/signed-out",
            "https://app.example.com.evil.example/callback",
            "com.example.app://callback",
            "com.example.app:///callback",
            "com.example.app:callback",
        ] {
            assert!(!is_redirect_uri(bad), "{bad}");
        }
    }

    #[test]
    fn form_action_names_the_redirect_s_origin() {
        assert_eq!(
            form_action_source("http://127.0.0.1:5/callback"),
            "http://127.0.0.1:5"
        );
        assert_eq!(form_action_source("http://[::1]:5/callback"), "http:");
        assert_eq!(
            form_action_source("https://app.example.com/callback"),
            "https://app.example.com"
        );
        assert_eq!(
            form_action_source("com.example.app:/callback"),
            "com.example.app:"
        );
    }
}
