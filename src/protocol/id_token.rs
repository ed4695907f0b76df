//! The ID token: who signed in, and that it was this sign-in (OpenID Connect Core §2, §3.1.3.7, §12.2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::callback::AuthorizationCode;
use super::issuer::Issuer;
use super::json::Object;
use super::jwk::{Algorithm, Hash, JwkSet};
pub(crate) use super::jws::Refused;
use super::jws::{CompactJws, Unsigned};
use super::token::{AccessToken, IdToken};
use crate::error::{Error, Result, Stage};
use crate::secret::Secret;

/// How far device and server clocks may be apart, in seconds.
pub(crate) const SKEW_SECONDS: i64 = 60;

const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a verified ID token.
///
/// ```
/// fn greeting(session: &gatepass::Session) -> String {
///     let claims = session.claims();
///     let name = claims.and_then(|claims| claims.get("given_name")?.as_str());
///     format!("Hello {}", name.unwrap_or("there"))
/// }
/// ```
#[derive(Clone)]
pub struct Claims {
    subject: String,
    object: Object,
}

impl Claims {
    /// Who the user is at this issuer: unique and never reassigned. The pair of issuer and subject is the
    /// identity; an e-mail address is not (OpenID Connect Core §5.7).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Any claim by name, as JSON. `None` if it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.object.get(name)
    }

    /// When the user actually signed in at the server, in seconds since 1970, if the server says.
    #[must_use]
    pub fn auth_time(&self) -> Option<i64> {
        self.object.numeric_date("auth_time")
    }

    /// Claims from a stored record, verified when they were stored.
    pub(crate) fn from_stored(object: Object) -> Option<Self> {
        let subject = object.str("sub")?.to_owned();
        Some(Self { subject, object })
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }
}

impl fmt::Debug for Claims {
    /// Claims are personal data: only their names print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("names", &self.object.0.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// What the ID token is held against.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) client_id: &'a str,
    /// The algorithms in the server's metadata; of those, the ones this build verifies count. Without any, RS256
    /// (§3.1.3.7 item 7).
    pub(crate) algorithms: Option<&'a [String]>,
    pub(crate) access_token: &'a AccessToken,
    /// Now by the server's clock, in seconds since 1970.
    pub(crate) now: i64,
    pub(crate) occasion: Occasion<'a>,
}

/// When the ID token came.
#[derive(Clone, Copy)]
pub(crate) enum Occasion<'a> {
    /// With the code: the nonce of the request must be in it.
    SignIn {
        nonce: &'a Secret,
        code: &'a AuthorizationCode,
        max_age: Option<u32>,
        /// The authentication contexts that were asked for, if any were.
        acr_values: &'a [String],
    },
    /// With a refresh: it must be about the same user and sign-in (§12.2).
    Refresh { original: &'a Claims },
}

/// Verifies signature and claims. The signature comes first: before it, a token says nothing.
pub(crate) fn verify(token: &IdToken, keys: &JwkSet, expected: &Expected<'_>) -> Result<Claims, Refused> {
    let jws = CompactJws::parse(token.expose())?;
    let algorithm = jws.verify(keys, expected.algorithms).map_err(unsigned)?;
    Ok(check_claims(jws.payload, algorithm.hash(), expected)?)
}

fn unsigned(why: Unsigned) -> Refused {
    let (code, clause, why) = match why {
        Unsigned::Algorithm => {
            let known: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
            let why = format!(
                "is not signed with an algorithm that the server announced and this build verifies ({})",
                known.join(", ")
            );
            return refuse("id_token_algorithm", "OpenID Connect Core §3.1.3.7 item 7", &why).into();
        }
        Unsigned::UnknownKey => {
            return Refused::UnknownKey(refuse(
                "id_token_key",
                "OpenID Connect Core §10.1",
                "is signed with a key that is not in the server's key set",
            ));
        }
        Unsigned::Kid => (
            "id_token_key",
            "RFC 7515 §4.1.4",
            "has a kid that is not a string",
        ),
        Unsigned::Type => (
            "id_token_type",
            "RFC 8725 §3.11",
            "says that it is another kind of token",
        ),
        Unsigned::Ambiguous => (
            "id_token_key_ambiguous",
            "OpenID Connect Core §10.1",
            "fits several keys of the server and does not say which",
        ),
        Unsigned::Signature => (
            "id_token_signature",
            "OpenID Connect Core §3.1.3.7 item 6",
            "has a signature that does not verify",
        ),
    };
    refuse(code, clause, why).into()
}

pub(crate) fn check_claims(object: Object, hash: Hash, expected: &Expected<'_>) -> Result<Claims> {
    if object.str("iss") != Some(expected.issuer.as_str()) {
        return Err(refuse(
            "id_token_issuer",
            "OpenID Connect Core §3.1.3.7 item 2",
            "was issued by another server",
        ));
    }
    check_audience(&object, expected.client_id)?;
    let subject = object
        .str("sub")
        .filter(|sub| !sub.is_empty() && sub.len() <= 255 && sub.bytes().all(|b| (0x20..=0x7e).contains(&b)))
        .ok_or_else(|| {
            refuse(
                "id_token_subject",
                "OpenID Connect Core §2",
                "has no usable subject",
            )
        })?
        .to_owned();
    check_times(&object, expected.now)?;
    check_half_hash(&object, "at_hash", hash, expected.access_token.expose())?;
    // A logout token has the same issuer, audience and keys (OpenID Connect Back-Channel Logout 1.0 §2.4).
    if object
        .get("events")
        .is_some_and(|events| events.get(LOGOUT_EVENT).is_some())
    {
        return Err(refuse("id_token_type", "RFC 8725 §3.12", "is a logout token"));
    }
    match expected.occasion {
        Occasion::SignIn {
            nonce,
            code,
            max_age,
            acr_values,
        } => {
            if !object.str("nonce").is_some_and(|found| nonce.matches(found)) {
                return Err(refuse(
                    "id_token_nonce",
                    "OpenID Connect Core §3.1.3.7 item 11",
                    "does not carry the nonce of this sign-in: it was made for another one, or replayed",
                ));
            }
            if let Some(max_age) = max_age {
                check_auth_time(&object, max_age, expected.now)?;
            }
            check_half_hash(&object, "c_hash", hash, code.expose())?;
            check_acr(&object, acr_values)?;
        }
        Occasion::Refresh { original } => check_same_sign_in(&object, original)?,
    }
    Ok(Claims { subject, object })
}

fn check_audience(object: &Object, client_id: &str) -> Result<()> {
    let audience = match object.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        _ => object.strings("aud").unwrap_or_default(),
    };
    // Every audience must be trusted, and only ourselves are.
    if audience.is_empty() || audience.iter().any(|a| a != client_id) {
        return Err(refuse(
            "id_token_audience",
            "OpenID Connect Core §3.1.3.7 item 3",
            "is not for this client, or not for it alone",
        ));
    }
    if object.get("azp").is_some() && object.str("azp") != Some(client_id) {
        return Err(refuse(
            "id_token_authorized_party",
            "OpenID Connect Core §3.1.3.7 item 5",
            "was issued to another client (azp)",
        ));
    }
    Ok(())
}

fn check_times(object: &Object, now: i64) -> Result<()> {
    let time = |name: &str| {
        object.numeric_date(name).filter(|t| *t > 0).ok_or_else(|| {
            refuse(
                "id_token_time",
                "OpenID Connect Core §2",
                &format!("has no usable {name}"),
            )
        })
    };
    let (expires, issued) = (time("exp")?, time("iat")?);
    if now >= expires.saturating_add(SKEW_SECONDS) {
        return Err(refuse(
            "id_token_expired",
            "OpenID Connect Core §3.1.3.7 item 9",
            "has expired; if it was made just now, the clock of this device is wrong",
        ));
    }
    // No claim of an ID token, but of every JWT (RFC 7519 §4.1.5).
    let not_before = match object.get("nbf") {
        Some(_) => time("nbf")?,
        None => issued,
    };
    if issued.max(not_before) > now.saturating_add(SKEW_SECONDS) {
        return Err(refuse(
            "id_token_from_the_future",
            "OpenID Connect Core §3.1.3.7 item 10",
            "was issued in the future: the clock of this device or of the server is wrong",
        ));
    }
    Ok(())
}

/// If there is an `at_hash` or a `c_hash`, it must be of the token or code that came along (§3.1.3.6, §3.3.2.11): the
/// left half of the hash that belongs to the algorithm of the signature.
fn check_half_hash(object: &Object, name: &str, hash: Hash, of: &str) -> Result<()> {
    let Some(claim) = object.get(name) else {
        return Ok(());
    };
    let digest = hash.digest(of.as_bytes());
    let (left, _) = digest.split_at(digest.len() / 2);
    if claim.as_str() == Some(URL_SAFE_NO_PAD.encode(left).as_str()) {
        return Ok(());
    }
    Err(match name {
        "c_hash" => refuse(
            "id_token_c_hash",
            "OpenID Connect Core §3.3.2.11",
            "was not issued for the code that was exchanged",
        ),
        _ => refuse(
            "id_token_at_hash",
            "OpenID Connect Core §3.1.3.8",
            "was not issued together with the access token beside it",
        ),
    })
}

fn check_acr(object: &Object, wanted: &[String]) -> Result<()> {
    if wanted.is_empty()
        || object
            .str("acr")
            .is_some_and(|acr| wanted.iter().any(|one| one == acr))
    {
        return Ok(());
    }
    Err(refuse(
        "id_token_acr",
        "OpenID Connect Core §3.1.3.7 item 12",
        "does not show that the user authenticated in any of the ways that were asked for",
    ))
}

fn check_auth_time(object: &Object, max_age: u32, now: i64) -> Result<()> {
    let oldest = now
        .saturating_sub(i64::from(max_age))
        .saturating_sub(SKEW_SECONDS);
    match object.numeric_date("auth_time") {
        Some(auth_time) if auth_time >= oldest => Ok(()),
        _ => Err(refuse(
            "id_token_auth_time",
            "OpenID Connect Core §3.1.3.7 item 13",
            "does not show that the user authenticated as recently as was asked",
        )),
    }
}

fn check_same_sign_in(object: &Object, original: &Claims) -> Result<()> {
    let refuse = |code, why: &str| Err(refuse(code, "OpenID Connect Core §12.2", why));
    if object.str("sub") != Some(original.subject()) {
        return refuse(
            "id_token_subject_changed",
            "is about another user than the one who signed in",
        );
    }
    // It may be left out, but not be another one, nor appear where the sign-in had none.
    if let Some(nonce) = object.get("nonce")
        && original.get("nonce") != Some(nonce)
    {
        return refuse("id_token_nonce", "carries the nonce of another sign-in");
    }
    if let (Some(now), Some(then)) = (object.numeric_date("auth_time"), original.auth_time())
        && now != then
    {
        return refuse("id_token_auth_time", "names another time of sign-in");
    }
    Ok(())
}

fn refuse(code: &'static str, clause: &'static str, why: &str) -> Error {
    Error::protocol(Stage::IdToken, code, clause, format!("the ID token {why}"))
}

#[cfg(test)]
pub(super) mod tests;
