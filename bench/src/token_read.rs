//! Reading a valid access token: what an app does before every API call.

use std::sync::RwLock;
use std::time::{Duration, Instant};

use gatepass::Session;

use crate::contest::{contender, run};

/// The usual homework: a token and its expiry behind a lock.
struct Homework {
    token: String,
    expires: Instant,
}

pub(crate) fn run_on(session: &Session) {
    let expires = Instant::now() + Duration::from_secs(3600);
    let homework = RwLock::new(Homework {
        token: "a token of the usual length, or a little more".to_owned(),
        expires,
    });
    run(
        "valid token, one thread",
        100_000,
        vec![
            contender("RwLock, expiry check, String clone", || {
                let homework = homework.read().expect("the lock");
                (Instant::now() < homework.expires).then(|| homework.token.clone())
            }),
            contender("gatepass, Session::peek", || session.peek()),
        ],
    );
}
