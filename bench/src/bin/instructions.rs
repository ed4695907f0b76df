//! Fixed pieces of work for callgrind: `gatepass-instructions` lists them, `gatepass-instructions NAME` does one.
//!
//! `cargo xtask bench --instructions` counts the instructions inside `measured`, and holds them against
//! `bench/instructions.toml`. Nothing here depends on the time, on chance or on a peer.

// A list is this program's product, and it stops at the first surprise.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

#[path = "../fixture.rs"]
mod fixture;

use std::hint::black_box;

use gatepass::Secret;
use gatepass::internals::{self, Door, TokenDoor};
use http::{HeaderMap, HeaderValue, header};

use crate::fixture::{ACCESS_TOKEN, CLIENT_ID, CODE, ISSUER, NONCE, NOW, REDIRECT, SCOPE, STATE, VERIFIER};

/// Something whose instructions are counted.
type Work<'a> = Box<dyn FnMut() + 'a>;

/// Long enough that what happens once does not show.
const TIMES: usize = 100;

/// Where callgrind counts: the name is known to `cargo xtask bench`.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}

fn main() {
    let door =
        Door::new(ISSUER, fixture::METADATA.as_bytes(), CLIENT_ID, REDIRECT, &SCOPE).expect("the fixture");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let octets = [[7; 32], [8; 32], [9; 32]];
    let state = Secret::new(STATE.to_owned());
    let callback = fixture::callback();
    let id_token = |token| {
        let keys = fixture::JWKS.as_bytes();
        door.id_token(token, keys, NONCE, CODE, ACCESS_TOKEN, NOW)
            .expect("the fixture")
    };
    let (rs256, es256) = (id_token(fixture::RS256), id_token(fixture::ES256));
    let token = TokenDoor::new();

    let mut work: Vec<(&str, Work<'_>)> = vec![
        (
            "authorization_url",
            Box::new(|| drop(black_box(door.authorization_url_from(&octets).expect("a URL")))),
        ),
        (
            "callback",
            Box::new(|| drop(black_box(door.check_callback(&callback, &state).expect("a code")))),
        ),
        (
            "token_response",
            Box::new(|| {
                let body = fixture::TOKEN_RESPONSE.as_bytes();
                let tokens = internals::read_tokens(&headers, body, &[CODE, VERIFIER]);
                drop(black_box(tokens.expect("tokens")));
            }),
        ),
        (
            "id_token_rs256",
            Box::new(|| drop(black_box(rs256.verify().expect("a good token")))),
        ),
        (
            "id_token_es256",
            Box::new(|| drop(black_box(es256.verify().expect("a good token")))),
        ),
        (
            "valid_token_read",
            Box::new(|| {
                black_box(token.length().expect("a token"));
            }),
        ),
    ];
    let Some(name) = std::env::args().nth(1) else {
        println!("times {TIMES}");
        for (name, _) in &work {
            println!("{name}");
        }
        return;
    };
    let found = work.iter_mut().find(|(known, _)| *known == name);
    let Some((_, work)) = found else {
        panic!("there is no {name}");
    };
    // Caches inside libraries fill, and symbols are bound.
    work();
    measured(work);
}
