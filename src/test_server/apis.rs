//! The protected APIs: which audience and which scope an access token needs at each (RFC 8707, RFC 6750).

use super::params::Scope;
use super::registration::invalid;
use std::io;
use url::{Url, form_urlencoded};

/// Everything protected lives below this path.
pub(super) const PREFIX: &str = "/api/";
/// The API that wants a token for the issuer itself, which is what a token is for that names no resource.
pub(super) const ME: &str = "me";
const OTHER: &str = "other";

/// A protected API at the test server, `/api/NAME`, and what an access token needs there.
///
/// `me` wants a token for the issuer with the scope `profile`, and takes `GET`. All others take `GET`, `POST`, `PUT`,
/// `PATCH` and `DELETE`. They answer with who is signed in, and with `aud` and `scope` of the token.
///
/// ```
/// use gatepass::test_server::{TestApi, TestServer};
///
/// # fn main() -> std::io::Result<()> {
/// let orders = TestApi::new("orders").audience("https://orders.example.com").scope("orders.read");
/// let server = TestServer::builder().api(orders.clone()).start()?;
/// assert!(server.url_of_api("orders").ends_with("/api/orders"));
///
/// // From now on a token with the scope `orders.read` alone is answered 403 insufficient_scope.
/// server.protect(orders.scope("orders.read orders.write"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an API is there once it is given to the builder or the server"]
pub struct TestApi {
    name: String,
    audience: Option<String>,
    scope: Option<String>,
}

impl TestApi {
    /// An API that needs a token whose audience is its own URL, of whatever scope.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            audience: None,
            scope: None,
        }
    }

    /// The resource indicator (RFC 8707 §2) that apps must name to get a token for this API.
    pub fn audience(self, uri: impl Into<String>) -> Self {
        let audience = Some(uri.into());
        Self { audience, ..self }
    }

    /// The scope a token must have here, all of it. From now on the server grants it to whom asks.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        let scope = Some(scope.into());
        Self { scope, ..self }
    }
}

/// An API as it is served.
#[derive(Debug, Clone)]
pub(super) struct Protected {
    pub(super) path: String,
    pub(super) audience: String,
    pub(super) scope: Option<Scope>,
}

/// The path of an API, whatever characters its name has.
pub(super) fn path(name: &str) -> String {
    format!(
        "{PREFIX}{}",
        form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>()
    )
}

/// The APIs of one server.
pub(super) struct Apis {
    issuer: String,
    served: Vec<Protected>,
}

impl Apis {
    pub(super) fn new(issuer: &str, added: Vec<TestApi>) -> io::Result<Apis> {
        let mut apis = Apis {
            issuer: issuer.to_owned(),
            served: Vec::new(),
        };
        let first = [
            TestApi::new(ME).audience(issuer).scope("profile"),
            TestApi::new(OTHER),
        ];
        for api in first.into_iter().chain(added) {
            apis.protect(api)?;
        }
        Ok(apis)
    }

    /// Adds an API, or replaces the one of this name.
    pub(super) fn protect(&mut self, api: TestApi) -> io::Result<()> {
        if matches!(api.name.as_str(), "" | "." | "..") {
            return Err(invalid(format!("{:?} cannot name an API", api.name)));
        }
        let path = path(&api.name);
        let audience = api.audience.unwrap_or_else(|| format!("{}{path}", self.issuer));
        if !is_resource(&audience) {
            return Err(invalid(format!(
                "{audience}: an audience is an absolute URI without a fragment"
            )));
        }
        let scope = match api.scope {
            None => None,
            Some(text) => Some(
                Scope::parse(&text)
                    .ok_or_else(|| invalid(format!("{text:?} is no scope (RFC 6749 §3.3)")))?,
            ),
        };
        self.served.retain(|known| known.path != path);
        self.served.push(Protected {
            path,
            audience,
            scope,
        });
        Ok(())
    }

    pub(super) fn at(&self, path: &str) -> Option<&Protected> {
        self.served.iter().find(|api| api.path == path)
    }

    /// Whether tokens for this audience can be asked for: that of an API, or the issuer. Compared as strings.
    pub(super) fn knows(&self, resource: &str) -> bool {
        resource == self.issuer || self.served.iter().any(|api| api.audience == resource)
    }

    /// The scope tokens that some API needs.
    pub(super) fn scope_tokens(&self) -> impl Iterator<Item = &str> {
        self.served
            .iter()
            .filter_map(|api| api.scope.as_ref())
            .flat_map(Scope::tokens)
    }
}

/// RFC 8707 §2.
pub(super) fn is_resource(text: &str) -> bool {
    Url::parse(text).is_ok_and(|uri| uri.fragment().is_none())
}

#[cfg(test)]
mod tests {
    use super::{Apis, TestApi};

    #[test]
    fn what_cannot_be_an_api_is_refused() {
        let mut apis = Apis::new("http://127.0.0.1:1", Vec::new()).unwrap();
        for bad in [
            TestApi::new(""),
            TestApi::new(".."),
            TestApi::new("a").audience("relative"),
            TestApi::new("a").audience("https://a.example/#part"),
            TestApi::new("a").scope(""),
            TestApi::new("a").scope("two  spaces"),
        ] {
            assert!(apis.protect(bad.clone()).is_err(), "{bad:?}");
        }
        apis.protect(TestApi::new("a/b")).unwrap();
        assert!(apis.at("/api/a%2Fb").is_some());
        assert!(apis.knows("http://127.0.0.1:1/api/a%2Fb"));
        assert!(!apis.knows("http://127.0.0.1:1/"));
    }
}
