//! What every contender gets to read: the documents of one server, and what it answered to one sign-in.
//!
//! Made once, with keys that were thrown away, so that the same bytes are measured everywhere and for ever. The
//! tokens live from `NOW` on, by a clock that every contender is told.

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const CLIENT_ID: &str = "my-app";
pub(crate) const REDIRECT: &str = "https://app.example.com/callback";
pub(crate) const SCOPE: [&str; 4] = ["openid", "profile", "email", "offline_access"];
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj9fJk3LqPzXv8RtYbHcDe7GmUiOaNsEw";
pub(crate) const STATE: &str = "af0ifjsldkj-Xv8RtYbHcDe7GmUiOaNsEwn0S6WzA2M";
pub(crate) const CODE: &str = "SplxlOBeZQQYbYS6WxSbIA-a7Kd03mQy5nVtXwPz2Lc";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const ACCESS_TOKEN: &str = "gV7mXq2ZbTn4Rw9cKd1sHf6uYp3aLe8jWt5vBx0iOzE";
/// Within the life of the ID tokens, in seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_010;

pub(crate) const METADATA: &str = include_str!("../fixtures/metadata.json");
pub(crate) const JWKS: &str = include_str!("../fixtures/jwks.json");
/// 1.2 kB: access, refresh and ID token.
pub(crate) const TOKEN_RESPONSE: &str = include_str!("../fixtures/token_response.json");
pub(crate) const RS256: &str = include_str!("../fixtures/id_token.rs256.jwt");
pub(crate) const ES256: &str = include_str!("../fixtures/id_token.es256.jwt");

/// The redirect that ends a sign-in at this server.
pub(crate) fn callback() -> String {
    format!("{REDIRECT}?code={CODE}&state={STATE}&iss=https%3A%2F%2Flogin.example.com")
}
