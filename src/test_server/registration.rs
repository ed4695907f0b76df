//! Who is registered here: the clients with their redirect URIs, and the people who can sign in.

use std::fmt;
use std::io;
use url::Url;

/// Registered without a port: RFC 8252 §7.3 lets a loopback redirect name any.
const LOOPBACK_ORIGINS: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// A public native client (RFC 8252 §8.4) registered at the test server: it has no secret.
///
/// ```
/// use gatepass::test_server::{TestClient, TestServer};
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::builder()
///     .client(TestClient::new("our-other-app").redirect_uri("com.example.other:/callback"))
///     .start()?;
/// assert_eq!(server.client_id(), "gatepass-test"); // the first one
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a client is known once it is given to the builder"]
pub struct TestClient {
    client_id: String,
    redirect_uris: Vec<String>,
    post_logout_redirect_uris: Vec<String>,
}

impl TestClient {
    /// A client without any redirect URI yet.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
        }
    }

    /// Registers a redirect URI; requests must name it to the letter (RFC 9700 §2.1). Of a loopback address the port is
    /// not compared (RFC 8252 §7.3), so that it is best left out. The app may be sent here after sign-out, too.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// Registers where the app may be sent after sign-out (RP-Initiated Logout §3).
    pub fn post_logout_redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.post_logout_redirect_uris.push(uri.into());
        self
    }

    /// The client every test server starts with.
    pub(super) fn first() -> Self {
        [
            "http://127.0.0.1",
            "http://[::1]",
            "https://app.example.com",
            "com.example.app:",
        ]
        .iter()
        .fold(Self::new("gatepass-test"), |client, origin| {
            client
                .redirect_uri(format!("{origin}/callback"))
                .post_logout_redirect_uri(format!("{origin}/signed-out"))
        })
    }

    pub(super) fn with_client_id(self, client_id: String) -> Self {
        Self { client_id, ..self }
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether the redirect URI of an authorization request is a registered one.
    pub(super) fn is_redirect_uri(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|known| is_same(known, uri))
    }

    /// Whether the app may be sent here after sign-out. The callback counts too, as apps with a single redirect use it
    /// for both.
    pub(super) fn is_post_logout_redirect_uri(&self, uri: &str) -> bool {
        let known = &self.post_logout_redirect_uris;
        known.iter().any(|known| is_same(known, uri)) || self.is_redirect_uri(uri)
    }

    /// What an administrator's page would refuse to register.
    fn check(&self) -> io::Result<()> {
        if self.client_id.is_empty() || !super::params::is_vschar(&self.client_id) {
            return Err(invalid("a client_id is visible ASCII, and not empty"));
        }
        if self.redirect_uris.is_empty() {
            return Err(invalid(format!("{} has no redirect URI", self.client_id)));
        }
        for uri in self.redirect_uris.iter().chain(&self.post_logout_redirect_uris) {
            check_redirect_uri(uri)?;
        }
        Ok(())
    }
}

/// Every client can be registered, and none twice.
pub(super) fn check_clients(clients: &[TestClient]) -> io::Result<()> {
    for (index, client) in clients.iter().enumerate() {
        client.check()?;
        if clients
            .iter()
            .skip(index + 1)
            .any(|other| other.client_id == client.client_id)
        {
            return Err(invalid(format!("{} is registered twice", client.client_id)));
        }
    }
    Ok(())
}

pub(super) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// An absolute URI without a fragment (RFC 6749 §3.1.2); plain http for loopback addresses only (RFC 8252 §7.3).
fn check_redirect_uri(uri: &str) -> io::Result<()> {
    let parsed = Url::parse(uri).map_err(|_| invalid(format!("{uri} is no absolute URI")))?;
    if uri.contains('#') {
        return Err(invalid(format!("{uri} has a fragment")));
    }
    if parsed.scheme() == "http" && without_loopback_port(uri).is_none() {
        return Err(invalid(format!(
            "{uri}: http is for 127.0.0.1 and [::1] only, https for all other hosts"
        )));
    }
    Ok(())
}

/// Compares as strings, without normalising (RFC 9700 §2.1), the port of a loopback address excepted.
fn is_same(known: &str, uri: &str) -> bool {
    known == uri
        || without_loopback_port(known).is_some_and(|known| without_loopback_port(uri) == Some(known))
}

/// Origin and rest of a loopback URI, its port left out.
fn without_loopback_port(uri: &str) -> Option<(&str, &str)> {
    let (origin, rest) = LOOPBACK_ORIGINS
        .iter()
        .find_map(|origin| Some((*origin, uri.strip_prefix(origin)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (port, rest) = rest.split_at_checked(end)?;
            is_port(port).then_some(rest)?
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((origin, rest))
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
///
/// ```
/// use gatepass::test_server::{TestServer, TestUser};
///
/// # fn main() -> std::io::Result<()> {
/// let carol = TestUser::new("carol", "a long password").with_subject("3f2a").with_email("carol@example.com");
/// let server = TestServer::builder().user(carol).start()?;
/// let names: Vec<_> = server.users().iter().map(TestUser::username).collect();
/// assert_eq!(names, ["alice", "bob", "carol"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TestUser {
    username: String,
    password: String,
    subject: String,
    name: String,
    email: String,
}

impl TestUser {
    /// Someone with this user name and password; subject, name and e-mail address are made from the user name.
    ///
    /// ```
    /// use gatepass::test_server::{TestServer, TestUser};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let carol = TestUser::new("carol", "a long password").with_name("Carol Example");
    /// let server = TestServer::builder().user(carol.clone()).start()?;
    /// assert!(server.users().contains(&carol)); // after alice and bob
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> TestUser {
        let username = username.into();
        TestUser {
            password: password.into(),
            subject: format!("user-{username}"),
            name: username.clone(),
            email: format!("{username}@example.com"),
            username,
        }
    }

    /// With this `sub` claim.
    #[must_use]
    pub fn with_subject(self, subject: impl Into<String>) -> TestUser {
        let subject = subject.into();
        TestUser { subject, ..self }
    }

    /// With this `name` claim.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> TestUser {
        let name = name.into();
        TestUser { name, ..self }
    }

    /// With this `email` claim.
    #[must_use]
    pub fn with_email(self, email: impl Into<String>) -> TestUser {
        let email = email.into();
        TestUser { email, ..self }
    }

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
    let user = |username: &str, password: &str, subject: &str, name: &str| {
        TestUser::new(username, password)
            .with_subject(subject)
            .with_name(name)
    };
    vec![
        user("alice", "wonderland-42", "user-7f3a-alice", "Alice Example"),
        user("bob", "builder-17-yes", "user-21c9-bob", "Bob Example"),
    ]
}

/// Nobody can sign in as two people, nor two people as one.
pub(super) fn check_users(users: &[TestUser]) -> io::Result<()> {
    for (index, user) in users.iter().enumerate() {
        let is_twice = users
            .iter()
            .skip(index + 1)
            .any(|other| other.username == user.username || other.subject == user.subject);
        if is_twice {
            return Err(invalid(format!("{} is registered twice", user.username)));
        }
        // OpenID Connect Core §2 limits a subject to 255 ASCII characters.
        if user.username.is_empty()
            || user.subject.is_empty()
            || user.subject.len() > 255
            || !user.subject.is_ascii()
        {
            return Err(invalid(
                "a user has a name, and a subject of 1 to 255 ASCII characters",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TestClient, TestUser, check_users, form_action_source, users};

    #[test]
    fn redirect_uris_are_compared_as_strings_but_for_the_loopback_port() {
        let client = TestClient::first();
        for good in [
            "http://127.0.0.1/callback",
            "http://127.0.0.1:1/callback",
            "http://127.0.0.1:65535/callback",
            "http://[::1]/callback",
            "http://[::1]:49152/callback",
            "https://app.example.com/callback",
            "com.example.app:/callback",
        ] {
            assert!(client.is_redirect_uri(good), "{good}");
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
            assert!(!client.is_redirect_uri(bad), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_a_registration_is_refused() {
        TestClient::first().check().unwrap();
        for bad in [
            "",
            "/callback",
            "http://app.example.com/callback",
            "https://a.example/#x",
            "http://localhost/",
        ] {
            assert!(TestClient::new("a").redirect_uri(bad).check().is_err(), "{bad}");
        }
        assert!(TestClient::new("a").check().is_err());
        assert!(TestClient::new("").redirect_uri("a.b:/c").check().is_err());

        check_users(&users()).unwrap();
        for twin in [
            TestUser::new("alice", "x"),
            TestUser::new("x", "x").with_subject(users()[0].subject()),
            TestUser::new("x", "x").with_subject(""),
        ] {
            let all: Vec<_> = users().into_iter().chain([twin]).collect();
            assert!(check_users(&all).is_err());
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
