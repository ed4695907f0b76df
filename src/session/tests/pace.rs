//! How often a server is asked, against the rules read anew from everything that ever happened.

use std::time::Duration;

use proptest::prelude::*;

use super::super::pace::{Pace, Want};
use crate::error::{Delivery, EndReason, Error, ErrorKind, NextStep, ServerError, Stage};

/// One failed refresh.
#[derive(Clone, Copy, Debug)]
struct Failure {
    kind: Kind,
    retry_after: Option<Duration>,
}

/// What a refresh can fail of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Unknown,
    Server,
    Protocol,
    TooMany,
    NotSent,
    Locked,
    Ended,
    /// A rest that was ours, not the server's word.
    OwnRest,
}

impl Failure {
    /// Whether the server was asked and did not do it.
    fn is_the_servers(self) -> bool {
        matches!(
            self.kind,
            Kind::Unknown | Kind::Server | Kind::Protocol | Kind::TooMany
        )
    }

    fn error(self) -> Error {
        let kind = match self.kind {
            Kind::Unknown => ErrorKind::Network(Delivery::UnknownOutcome),
            Kind::Server => ErrorKind::Server,
            Kind::Protocol => ErrorKind::Protocol,
            Kind::TooMany | Kind::OwnRest => ErrorKind::RateLimited,
            Kind::NotSent => ErrorKind::Network(Delivery::NotSent),
            Kind::Locked => ErrorKind::StorageLocked,
            Kind::Ended => ErrorKind::SessionEnded(EndReason::SignedOut),
        };
        let error = Error::new(kind, Stage::Refresh, "made_up", "no");
        let error = match self.kind {
            Kind::TooMany => error.with_server(ServerError {
                status: Some(429),
                ..ServerError::default()
            }),
            _ => error,
        };
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Begun(Want),
    Succeeded,
    Failed(Failure),
}

fn failures() -> impl Strategy<Value = Failure> {
    let kinds = prop_oneof![
        Just(Kind::Unknown),
        Just(Kind::Server),
        Just(Kind::Protocol),
        Just(Kind::TooMany),
        Just(Kind::NotSent),
        Just(Kind::Locked),
        Just(Kind::Ended),
        Just(Kind::OwnRest),
    ];
    let waits = prop_oneof![
        4 => Just(None),
        2 => (0..1_200_000_u64).prop_map(|millis| Some(Duration::from_millis(millis))),
    ];
    (kinds, waits).prop_map(|(kind, retry_after)| Failure { kind, retry_after })
}

fn wants() -> impl Strategy<Value = Want> {
    prop_oneof![Just(Want::Now), Just(Want::Soon)]
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => wants().prop_map(Happening::Begun),
        1 => Just(Happening::Succeeded),
        8 => failures().prop_map(Happening::Failed),
    ]
}

/// What somebody who asks now must be told: nothing, or a code and for how long. From the whole history, oldest first.
fn rules(history: &[(u64, Happening)], now: u64, want: Want) -> Option<(&'static str, u64)> {
    let since = history
        .iter()
        .rposition(|(_, what)| matches!(what, Happening::Succeeded))
        .map_or(0, |at| at + 1);
    let failed = history[since..].iter().filter_map(|(at, what)| match what {
        Happening::Failed(failure) if failure.is_the_servers() => Some((*at, failure)),
        _ => None,
    });
    // The fifth failure in a row brings half a minute of rest, each after it twice that, ten minutes at most; and what the
    // server itself asked for holds if it is longer.
    let rests = [30_000, 60_000, 120_000, 240_000, 480_000];
    let ends = failed.enumerate().map(|(before, (at, failure))| {
        let rest = match before {
            0..4 => 0,
            more => rests.get(more - 4).copied().unwrap_or(600_000),
        };
        let asked = failure
            .retry_after
            .map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap());
        at + rest.max(asked)
    });
    let until = ends.max().unwrap_or(0);
    if now < until {
        return Some(("refresh_paused", until - now));
    }
    let ahead = history
        .iter()
        .rfind(|(_, what)| matches!(what, Happening::Begun(Want::Soon)));
    match (want, ahead) {
        (Want::Soon, Some((at, _))) if now < at + 5_000 => Some(("refresh_too_soon", at + 5_000 - now)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn rr_14_rr_32_the_pace_is_what_the_rules_say_of_all_that_happened(
        happened in prop::collection::vec((prop_oneof![3 => 0..6_000_u64, 1 => 0..700_000_u64], happenings()), 0..24),
        asked in prop::collection::vec((0..6_000_u64, wants()), 1..4),
    ) {
        let pace = Pace::default();
        let mut history: Vec<(u64, Happening)> = Vec::new();
        let mut now = 0;
        for (pause, what) in happened {
            now += pause;
            for want in [Want::Now, Want::Soon] {
                let told = pace.admit(now, want).err();
                prop_assert_eq!(told.as_ref().map(answer), rules(&history, now, want), "{:?}", history);
            }
            match what {
                Happening::Begun(want) => pace.begun(now, want),
                Happening::Succeeded => pace.succeeded(),
                Happening::Failed(failure) => pace.failed(now, &failure.error()),
            }
            history.push((now, what));
        }
        for (pause, want) in asked {
            now += pause;
            let told = pace.admit(now, want).err();
            prop_assert_eq!(told.as_ref().map(answer), rules(&history, now, want), "{:?}", history);
        }
    }

    #[test]
    fn rr_32_no_time_and_no_wait_is_too_long_for_the_pace(
        happened in prop::collection::vec((any::<u64>(), happenings(), any::<Option<u64>>()), 0..40),
        now: u64,
        want in wants(),
    ) {
        let pace = Pace::default();
        for (now, what, wait) in happened {
            match what {
                Happening::Begun(want) => pace.begun(now, want),
                Happening::Succeeded => pace.succeeded(),
                Happening::Failed(failure) => {
                    let retry_after = wait.map(Duration::from_secs).or(failure.retry_after);
                    pace.failed(now, &Failure { retry_after, ..failure }.error());
                }
            }
        }
        if let Err(error) = pace.admit(now, want) {
            prop_assert_eq!(error.kind(), ErrorKind::RateLimited);
            prop_assert!(matches!(error.next_step(), NextStep::RetryAfter(wait) if wait > Duration::ZERO));
        }
    }
}

fn answer(error: &Error) -> (&'static str, u64) {
    let NextStep::RetryAfter(wait) = error.next_step() else {
        panic!("{error:?} does not say for how long");
    };
    (error.code(), u64::try_from(wait.as_millis()).unwrap())
}
