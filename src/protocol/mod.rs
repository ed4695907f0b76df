//! The standards as pure functions: bytes and values in, values out.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and chance are passed in. Every parser
//! takes any bytes without panicking, and every limit is a named constant. One file per standard or mechanism.

pub(crate) mod answer;
#[cfg(feature = "association")]
pub(crate) mod association;
pub(crate) mod authorization;
pub(crate) mod callback;
pub(crate) mod claims;
pub(crate) mod clock_offset;
pub(crate) mod end_session;
pub(crate) mod endpoint;
pub(crate) mod form;
pub(crate) mod id_token;
pub(crate) mod issuer;
pub(crate) mod json;
pub(crate) mod jwk;
pub(crate) mod jws;
pub(crate) mod metadata;
pub(crate) mod par;
pub(crate) mod pkce;
pub(crate) mod redirect;
pub(crate) mod resource;
pub(crate) mod revocation;
pub(crate) mod scope;
pub(crate) mod signature;
pub(crate) mod target;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod userinfo;
pub(crate) mod www_authenticate;

#[cfg(test)]
mod tests;
