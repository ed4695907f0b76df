//! Text that is configured or that an API sends: URIs that read the same twice, challenges within their bounds.

use ::http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::input::is_clean;
use crate::client::builder::origin;
use crate::error::{ErrorKind, Stage};
use crate::protocol::endpoint::{self, AllowHttpOnLoopback, TransportPolicy};
use crate::protocol::issuer::Issuer;
use crate::protocol::redirect::{RedirectKind, RedirectUri};
use crate::protocol::resource::Resource;
use crate::protocol::target::Target;
use crate::protocol::www_authenticate::Challenge;

/// The input is a URI, taken for a redirect URI, an issuer, an endpoint, an API and a resource indicator.
pub fn redirect_uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    redirect(text);
    issuer(text);
    endpoint(text);
    api(text);
    resource(text);
}

fn redirect(text: &str) {
    let redirect = match RedirectUri::parse(text) {
        Ok(redirect) => redirect,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.code().starts_with("redirect_"));
            // It says what to write instead, once: that may want a path or have an escape, but is in normal form.
            if error.code() == "redirect_not_normal"
                && let Some((_, better)) = error.to_string().rsplit_once(" write ")
            {
                let better = better.split(" [").next().unwrap();
                assert_ne!(better, text);
                if let Err(error) = RedirectUri::parse(better) {
                    assert_ne!(error.code(), "redirect_not_normal", "the advice was bad");
                }
            }
            return;
        }
    };
    let again = RedirectUri::parse(redirect.as_str()).expect("read once, refused the second time");
    assert_eq!(again, redirect);
    assert_eq!((redirect.as_str(), again.kind()), (text, redirect.kind()));
    assert_eq!(
        (redirect.to_string(), format!("{redirect:?}")),
        (text.into(), text.into())
    );
    // Every reader sees the same, to the letter.
    let url = Url::parse(text).unwrap();
    assert_eq!(url.as_str(), text);
    assert!(url.query().is_none() && url.fragment().is_none());
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]"));
    match redirect.kind() {
        RedirectKind::ClaimedHttps => assert_eq!(url.scheme(), "https"),
        RedirectKind::Loopback => assert!(url.scheme() == "http" && loopback && url.port() != Some(0)),
        RedirectKind::PrivateUseScheme => {
            assert!(url.scheme().contains('.') && url.host().is_none());
            let rest = &text[url.scheme().len()..];
            assert!(rest.starts_with(":/") && !rest.starts_with("://"));
        }
    }
    #[cfg(any(feature = "loopback", test))]
    for address in ["127.0.0.1:49152", "[::1]:8080"] {
        let bound = redirect.bound_to(address.parse().unwrap());
        assert_eq!(bound.is_some(), redirect.kind() == RedirectKind::Loopback);
        let Some(bound) = bound else { continue };
        assert_eq!(RedirectUri::parse(bound.as_str()).unwrap(), bound);
        assert_eq!(bound.path(), redirect.path());
        #[cfg(feature = "loopback")]
        assert!(bound.port().is_some());
    }
}

const POLICIES: [TransportPolicy; 2] = [
    TransportPolicy {
        http_on_loopback: None,
    },
    TransportPolicy {
        http_on_loopback: Some(AllowHttpOnLoopback),
    },
];

fn issuer(text: &str) {
    let [strict, loose] = POLICIES.map(|policy| Issuer::parse(text, policy));
    assert!(strict.is_err() || loose.is_ok());
    for (issuer, policy) in [strict, loose].into_iter().zip(POLICIES) {
        let Ok(issuer) = issuer else { continue };
        assert_eq!(issuer.as_str(), text, "an issuer is compared as it came");
        assert_eq!(Issuer::parse(issuer.as_str(), policy).unwrap(), issuer);
        let own = Url::parse(text).unwrap();
        assert!(own.scheme() == "https" || policy.http_on_loopback.is_some());
        let places = issuer.metadata_urls();
        assert!((2..=3).contains(&places.len()));
        for place in places {
            // Each of them can be asked, and is at the issuer's own origin.
            let url = endpoint::parse(&place, "the metadata URL", Stage::Discovery, policy).unwrap();
            assert_eq!(url.origin(), own.origin(), "{text} is asked at {place}");
            assert!(url.path().contains("/.well-known/"));
        }
    }
}

fn endpoint(text: &str) {
    for policy in POLICIES {
        let Ok(url) = endpoint::parse(text, "an endpoint", Stage::Discovery, policy) else {
            continue;
        };
        let again = endpoint::parse(url.as_str(), "an endpoint", Stage::Discovery, policy).unwrap();
        assert_eq!(again, url);
        assert!(policy.admits(&url) && url.fragment().is_none() && url.username().is_empty());
        let added = [("state", "a b&c=d".into()), ("code", "\u{e9}".into())];
        if let Ok(with) = endpoint::with_parameters(&url, &["nonce"], &added, Stage::AuthorizationRequest) {
            let with = Url::parse(&with).unwrap();
            let pairs: Vec<(String, String)> = with.query_pairs().into_owned().collect();
            for (name, value) in &added {
                let found: Vec<_> = pairs.iter().filter(|(known, _)| known == name).collect();
                assert_eq!(found.len(), 1, "{name} stands there twice");
                assert_eq!(found[0].1, *value);
            }
            assert!(!pairs.iter().any(|(name, _)| name == "nonce"));
            assert_eq!(with.origin(), url.origin());
            assert_eq!(
                pairs.len(),
                url.query_pairs().count() + added.len(),
                "its own query is kept"
            );
        }
    }
}

fn api(text: &str) {
    for policy in POLICIES {
        let Ok(found) = origin(text, policy) else { continue };
        assert!(found.is_tuple());
        let written = found.ascii_serialization();
        assert_eq!(origin(&written, policy).unwrap(), found);
        assert!(written.starts_with("https://") || policy.http_on_loopback.is_some());
    }
}

fn resource(text: &str) {
    if let Ok(resource) = Resource::parse(text) {
        assert_eq!(
            (resource.as_str(), format!("{resource:?}")),
            (text, text.to_owned())
        );
        assert!(text.is_ascii() && !text.contains('#') && text.len() <= 2048);
        let target = Target::resource(text).unwrap();
        assert_eq!(Target::from_value(&target.to_value()), Some(target));
    }
}

/// The input is the value of a `WWW-Authenticate` header; each line of it is one header.
pub fn www_authenticate(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        challenges(&Challenge::parse(text));
    }
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(40) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    challenges(&Challenge::of(&headers));
}

fn challenges(found: &[Challenge]) {
    assert!(found.len() <= 32);
    let mut all = String::new();
    for challenge in found {
        assert!(is_token(challenge.scheme()) && challenge.is(&challenge.scheme().to_ascii_uppercase()));
        shown(challenge);
        let written = write(challenge);
        // Line breaks would end the header; within quotes they can come in by `parse` alone.
        let again = Challenge::parse(&written);
        if written.len() <= 16 * 1024 {
            assert_eq!(again, std::slice::from_ref(challenge), "{written:?}");
        }
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&written);
    }
    // Side by side they are still the same, and none takes a parameter of its neighbour.
    if all.len() <= 16 * 1024 {
        assert_eq!(Challenge::parse(&all), found, "{all:?}");
    }
}

fn shown(challenge: &Challenge) {
    assert!(challenge.parameters.len() <= 64);
    assert!(challenge.token68().is_none() || challenge.parameters.is_empty());
    for (at, (name, value)) in challenge.parameters.iter().enumerate() {
        assert!(is_token(name));
        let twice = challenge.parameters[..at]
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name));
        assert!(!twice, "a parameter twice");
        let found = challenge.parameter(&name.to_ascii_uppercase());
        assert_eq!(found.unwrap_or_default(), value);
    }
    assert!(challenge.error().is_none_or(|text| is_clean(&text, 128)));
    assert!(
        challenge
            .error_description()
            .is_none_or(|text| is_clean(&text, 512))
    );
    assert!(challenge.realm().is_none_or(|text| is_clean(&text, 256)));
    for uri in [challenge.error_uri(), challenge.resource_metadata()] {
        assert!(uri.is_none_or(|uri| uri.starts_with("https://") && is_clean(&uri, 8192)));
    }
    let acr_values = challenge.acr_values();
    assert!(acr_values.len() <= 32 && acr_values.iter().all(|value| is_clean(value, 256)));
    for token in challenge.scope() {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.contains(['"', '\\']));
    }
    let age = challenge.parameter("max_age");
    assert!(challenge.max_age().is_none() || age.is_some_and(|age| age.bytes().all(|b| b.is_ascii_digit())));
    if challenge.token68().is_some() {
        // It prints like one without.
        let bare = Challenge::parse(challenge.scheme());
        assert_eq!(
            format!("{bare:?}"),
            format!("[{challenge:?}]"),
            "data of a scheme is printed"
        );
    }
}

fn is_token(text: &str) -> bool {
    let special = "!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || special.contains(c))
}

fn write(challenge: &Challenge) -> String {
    let mut written = challenge.scheme().to_owned();
    if let Some(data) = challenge.token68() {
        return format!("{written} {data}");
    }
    for (at, (name, value)) in challenge.parameters.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        written += if at == 0 { " " } else { ", " };
        written += &format!("{name}=\"{value}\"");
    }
    written
}
