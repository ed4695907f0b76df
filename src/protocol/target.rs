//! What an access token is for: certain APIs (RFC 8707), or a narrower scope (RFC 6749 §6), out of one grant.

use serde_json::{Value, json};

use super::resource::Resource;
use super::scope::Scope;
use crate::error::Result;

/// What an access token is for, where a session has tokens for several APIs.
///
/// ```
/// use gatepass::Target;
///
/// let calendar = Target::resource("https://calendar.example.com/")?.with_scope(["events.read"])?;
/// # Ok::<(), gatepass::Error>(())
/// ```
///
/// The default is what the sign-in asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    resources: Vec<Resource>,
    scope: Option<Scope>,
}

impl Target {
    /// A token for one API, named by the URI that the server knows it by (RFC 8707 §2).
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with a code that starts with `resource_`, if it is
    /// not an absolute URI without a fragment.
    pub fn resource(uri: &str) -> Result<Self> {
        Self::default().and_resource(uri)
    }

    /// A token of a narrower scope, for no API in particular.
    ///
    /// # Errors
    /// As [`with_scope`](Target::with_scope).
    pub fn scope<S: AsRef<str>>(tokens: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::default().with_scope(tokens)
    }

    /// The same token is for one more API. Servers may refuse that: a token that several APIs take can be stolen at the
    /// weakest of them.
    ///
    /// # Errors
    /// As [`resource`](Target::resource).
    pub fn and_resource(mut self, uri: &str) -> Result<Self> {
        let resource = Resource::parse(uri)?;
        if !self.resources.contains(&resource) {
            self.resources.push(resource);
        }
        Ok(self)
    }

    /// Only this scope, which must have been granted at sign-in (RFC 6749 §6).
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), code `scope_malformed`.
    pub fn with_scope<S: AsRef<str>>(mut self, tokens: impl IntoIterator<Item = S>) -> Result<Self> {
        self.scope = Some(Scope::from_tokens(tokens)?);
        Ok(self)
    }

    /// Whether this is what the sign-in asked for.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    pub(crate) fn wanted_scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    pub(crate) fn to_value(&self) -> Value {
        let resources: Vec<&str> = self.resources.iter().map(Resource::as_str).collect();
        json!({ "resources": resources, "scope": self.scope.as_ref().map(Scope::as_str) })
    }

    /// What [`to_value`](Target::to_value) made; `None` for anything else.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let resources = value.get("resources")?.as_array()?;
        let scope = match value.get("scope") {
            Some(Value::String(text)) => Some(Scope::from_response(text)),
            _ => None,
        };
        Some(Self {
            resources: resources
                .iter()
                .map(|uri| Resource::parse(uri.as_str()?).ok())
                .collect::<Option<_>>()?,
            scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ri_01_ri_05_a_target_is_told_by_its_resources_and_scope() {
        let target = Target::resource("https://a.example/").unwrap();
        assert_ne!(target, Target::resource("https://a.example").unwrap());
        let narrow = target.clone().with_scope(["read"]).unwrap();
        assert_ne!(target, narrow);
        assert_eq!(target, target.clone().and_resource("https://a.example/").unwrap());
        assert_eq!(
            Target::scope(["a", "b"]).unwrap(),
            Target::scope(["b", "a"]).unwrap(),
            "order means nothing"
        );
        assert!(Target::default().is_default() && !narrow.is_default());
        assert_eq!(Target::resource("/api").unwrap_err().code(), "resource_malformed");
        assert_eq!(Target::scope(["a b"]).unwrap_err().code(), "scope_malformed");
        for target in [Target::default(), target, narrow] {
            assert_eq!(Target::from_value(&target.to_value()).unwrap(), target);
        }
    }
}
