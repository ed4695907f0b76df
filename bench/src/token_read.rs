//! Reading a valid access token: what an app does before every API call.

use std::hint::black_box;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use gatepass::Session;
use huskarl::cache::{InMemoryTokenCache, TokenSource as _};
use tokio::runtime::Runtime;

use crate::contest::{Contender, run};
use crate::peers::FixedSource;
use crate::verdict::{Kind, Verdicts};

/// The usual homework: a token and its expiry behind a lock.
struct Homework {
    token: String,
    expires: Instant,
}

pub(crate) fn run_on(runtime: &Runtime, session: &Session, verdicts: &mut Verdicts) {
    let homework = RwLock::new(Homework {
        token: "a token of the usual length, or a little more".to_owned(),
        expires: Instant::now() + Duration::from_secs(3600),
    });
    let huskarl = InMemoryTokenCache::builder().source(FixedSource::new()).build();
    runtime.block_on(huskarl.token()).expect("a token");
    let times = 100_000;
    let contenders = |threads: usize| {
        vec![
            Contender::on_threads(
                "RwLock<Token>, expiry check, length read in place",
                threads,
                || {
                    let homework = homework.read().expect("the lock");
                    (Instant::now() < homework.expires).then(|| homework.token.len())
                },
            ),
            Contender::on_threads("RwLock<Token>, expiry check, String cloned", threads, || {
                let homework = homework.read().expect("the lock");
                (Instant::now() < homework.expires).then(|| homework.token.clone())
            }),
            Contender::on_threads("huskarl 0.11, InMemoryTokenCache::token", threads, || {
                crate::peers::ready(huskarl.token())
            }),
            Contender::on_threads("gatepass, Session::peek_with: read in place", threads, || {
                session.peek_with(|token| black_box(token.expose().len()))
            }),
            Contender::on_threads("gatepass, Session::peek: a handle of one's own", threads, || {
                session.peek()
            }),
            Contender::on_threads("gatepass, Session::access_token().await", threads, || {
                crate::peers::ready(session.access_token())
            }),
        ]
    };
    let one = run(
        "valid access token, 1 thread (oauth2, openidconnect: keep none)",
        times,
        contenders(1),
    );
    let two = run("valid access token, 2 threads", times, contenders(2));
    let ours = "gatepass, Session::peek_with";
    for (threads, row) in [("1 thread", &one), ("2 threads", &two)] {
        let nanos = row.median(ours);
        verdicts.add(
            Kind::Time,
            &format!("valid access token, {threads}"),
            "≤ 50 ns",
            format!("{nanos:.1} ns"),
            nanos <= 50.0,
        );
    }
    verdicts.ratio(
        "valid access token, 2 threads, of the time on 1",
        1.25,
        two.median(ours) / one.median(ours),
    );
}
