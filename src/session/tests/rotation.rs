//! The rotation state machine against the rules of section R, written down a second time and in another form: not as a
//! machine that remembers, but as what a whole story of sends and answers must come to.

use std::time::Duration;

use proptest::prelude::*;

use super::super::rotation::{Answer, Attempt, Next, OnUnknownOutcome, State};
use crate::error::EndReason;

/// One send of the token, and what came of it.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    sent: u64,
    answered: u64,
    answer: Answer,
}

/// Everything that happened in one attempt so far, in order.
#[derive(Clone, Debug)]
struct Story {
    policy: OnUnknownOutcome,
    uncertain_before: bool,
    usable_until: u64,
    exchanges: Vec<Exchange>,
}

/// What the rules say of a story.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Commit,
    Recheck(EndReason),
    Stop {
        open: bool,
    },
    /// The same token once more, at a time between these two.
    Again {
        from: u64,
        until: u64,
    },
}

/// The answers of which nobody can tell whether the server has spent the token.
fn leaves_unknown(answer: Answer) -> bool {
    matches!(
        answer,
        Answer::Unknown { .. } | Answer::Unusable { rotated: false }
    )
}

impl Story {
    fn first_unknown(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|e| leaves_unknown(e.answer))
    }

    fn may_be_spent(&self) -> bool {
        self.uncertain_before || self.first_unknown().is_some()
    }

    /// R.5, read for the last exchange.
    fn verdict(&self) -> Verdict {
        let last = self.exchanges.last().unwrap();
        let reason = if self.may_be_spent() {
            EndReason::RotationLost
        } else {
            EndReason::ExpiredOrRevoked
        };
        match last.answer {
            Answer::Granted | Answer::Unusable { rotated: true } => Verdict::Commit,
            Answer::GrantRefused => Verdict::Recheck(reason),
            Answer::Unusable { rotated: false } => Verdict::Stop { open: true },
            Answer::TurnedDown => Verdict::Stop {
                open: self.may_be_spent(),
            },
            Answer::NotSent if self.first_unknown().is_none() => Verdict::Stop {
                open: self.uncertain_before,
            },
            Answer::NotSent => self.again(0),
            Answer::Unknown { retry_after } => self.again(retry_after.map_or(0, |wait| wait.as_millis())),
        }
    }

    /// RR-13: the resends start 0, 2, 5, 10 and 20 s after the first unknown outcome was seen, none later than 30 s after
    /// the first send. RR-14: not before the server said. RR-35: less often, where the app chose so. In 128 bits, in which
    /// nothing of this overflows.
    fn again(&self, server_says: u128) -> Verdict {
        let give_up = Verdict::Stop { open: true };
        let now = u128::from(self.exchanges.last().unwrap().answered);
        let resends = self.exchanges.len() - 1;
        let offsets: &[u128] = match self.policy {
            OnUnknownOutcome::Retry => &[0, 2_000, 5_000, 10_000, 20_000],
            OnUnknownOutcome::RetryOnce => &[0],
            OnUnknownOutcome::RetryWhenExpired if now < u128::from(self.usable_until) => &[],
            OnUnknownOutcome::RetryWhenExpired => &[0, 2_000, 5_000, 10_000, 20_000],
        };
        let Some(offset) = offsets.get(resends) else {
            return give_up;
        };
        let scheduled = u128::from(self.first_unknown().unwrap().answered) + offset;
        let window = u128::from(self.exchanges[0].sent) + 30_000;
        let from = scheduled.max(now).max(now + server_says);
        if from > window {
            return give_up;
        }
        // With jitter: a tenth of the pause at most.
        let until = from.max(scheduled + offset / 10).min(window);
        Verdict::Again {
            from: u64::try_from(from).unwrap(),
            until: u64::try_from(until).unwrap(),
        }
    }
}

fn policies() -> impl Strategy<Value = OnUnknownOutcome> {
    prop_oneof![
        3 => Just(OnUnknownOutcome::Retry),
        1 => Just(OnUnknownOutcome::RetryOnce),
        1 => Just(OnUnknownOutcome::RetryWhenExpired),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    let waits = prop_oneof![
        6 => Just(None),
        2 => (0..40_000_u64).prop_map(|millis| Some(Duration::from_millis(millis))),
        1 => any::<u64>().prop_map(|seconds| Some(Duration::from_secs(seconds))),
    ];
    prop_oneof![
        1 => Just(Answer::Granted),
        1 => Just(Answer::GrantRefused),
        1 => Just(Answer::TurnedDown),
        1 => any::<bool>().prop_map(|rotated| Answer::Unusable { rotated }),
        2 => Just(Answer::NotSent),
        9 => waits.prop_map(|retry_after| Answer::Unknown { retry_after }),
    ]
}

/// How long an answer takes, its kind, the jitter, and how much too late a timer rings.
fn turns() -> impl Strategy<Value = Vec<(u64, Answer, u16, u64)>> {
    let delays = prop_oneof![3 => 0..200_u64, 1 => 0..12_000_u64];
    let oversleep = prop_oneof![6 => Just(0), 3 => 0..3_000_u64, 1 => 0..60_000_u64];
    prop::collection::vec((delays, answers(), any::<u16>(), oversleep), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rr_13_rr_14_rr_18_rr_35_the_machine_does_what_the_rules_say_of_the_whole_story(
        policy in policies(),
        uncertain_before: bool,
        began in 0..1_000_000_u64,
        usable_until in prop_oneof![Just(0), Just(u64::MAX), 0..1_100_000_u64],
        turns in turns(),
    ) {
        let mut story = Story { policy, uncertain_before, usable_until, exchanges: Vec::new() };
        let mut attempt = Attempt::new(policy, uncertain_before, usable_until);
        let mut now = began;
        attempt.journalled();
        for (delay, answer, jitter, oversleep) in turns {
            let patience = attempt.sends(now);
            prop_assert_eq!(attempt.state(), State::Sent);
            // RR-06.
            let expected = if story.exchanges.is_empty() { 10 } else { 5 };
            prop_assert_eq!(patience, Duration::from_secs(expected));
            let sent = now;
            now += delay;
            story.exchanges.push(Exchange { sent, answered: now, answer });
            let next = attempt.answered(answer, now, jitter);
            prop_assert_eq!(attempt.is_uncertain(), story.may_be_spent());
            match (story.verdict(), next) {
                (Verdict::Commit, Next::Commit) => {
                    prop_assert_eq!(attempt.state(), State::Committed);
                    break;
                }
                (Verdict::Recheck(expected), Next::Recheck(reason)) => {
                    prop_assert_eq!(reason, expected);
                    prop_assert_eq!(attempt.state(), State::Refused);
                    break;
                }
                (Verdict::Stop { open: expected }, Next::Stop { open }) => {
                    prop_assert_eq!(open, expected, "{:?}", story);
                    let left = if open { State::Uncertain } else { State::Idle };
                    prop_assert_eq!(attempt.state(), left);
                    break;
                }
                (Verdict::Again { from, until }, Next::SendAgain { not_before }) => {
                    prop_assert!((from..=until).contains(&not_before), "{} not in {}..={}: {:?}", not_before, from, until, story);
                    prop_assert_eq!(attempt.state(), State::Uncertain);
                    now = not_before + oversleep;
                    // A process that slept through the window gives up, and leaves it open.
                    let too_late = now > story.exchanges[0].sent + 35_000;
                    prop_assert_eq!(attempt.is_late(now), too_late);
                    if too_late {
                        break;
                    }
                }
                (verdict, next) => prop_assert!(false, "{next:?} where the rules say {verdict:?}: {story:?}"),
            }
        }
        prop_assert!(story.exchanges.len() <= 6, "once, and five times more");
    }

    #[test]
    fn rr_35_an_attempt_waits_only_where_the_token_is_in_doubt_and_the_access_token_lives(
        policy in policies(),
        uncertain_before: bool,
        now: u64,
        usable_until in prop_oneof![Just(u64::MAX), any::<u64>()],
    ) {
        let attempt = Attempt::new(policy, uncertain_before, usable_until);
        let waits = policy == OnUnknownOutcome::RetryWhenExpired
            && uncertain_before
            && usable_until != u64::MAX
            && now < usable_until;
        prop_assert_eq!(attempt.has_to_wait(now), if waits { usable_until - now } else { 0 });
    }
}

/// What can be called, in any order and at any time: clocks are not believed either.
#[derive(Clone, Copy, Debug)]
enum Call {
    Journalled,
    Sends(u64),
    Answered(Answer, u64, u16),
    Asked(u64),
}

fn times() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..60_000_u64, (u64::MAX - 60_000)..=u64::MAX]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        1 => Just(Call::Journalled),
        4 => times().prop_map(Call::Sends),
        6 => (answers(), times(), any::<u16>()).prop_map(|(answer, now, jitter)| Call::Answered(answer, now, jitter)),
        1 => times().prop_map(Call::Asked),
    ];
    prop::collection::vec(call, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rr_13_whatever_the_clocks_say_a_token_goes_out_again_only_when_nobody_knows_and_in_time(
        policy in policies(),
        uncertain_before: bool,
        usable_until in times(),
        calls in calls(),
    ) {
        let mut attempt = Attempt::new(policy, uncertain_before, usable_until);
        let (mut first_sent, mut resends) = (None, 0);
        for call in calls {
            match call {
                Call::Journalled => attempt.journalled(),
                Call::Sends(now) => {
                    attempt.sends(now);
                    first_sent.get_or_insert(now);
                }
                Call::Asked(now) => {
                    attempt.has_to_wait(now);
                    let window = first_sent.map(|sent: u64| sent.saturating_add(35_000));
                    prop_assert_eq!(attempt.is_late(now), window.is_some_and(|end| now > end));
                }
                Call::Answered(answer, now, jitter) => {
                    let may = matches!(answer, Answer::Unknown { .. } | Answer::NotSent);
                    if let Next::SendAgain { not_before } = attempt.answered(answer, now, jitter) {
                        prop_assert!(may, "again after {:?}", answer);
                        resends += 1;
                        prop_assert!(not_before >= now);
                        prop_assert!(not_before <= first_sent.unwrap().saturating_add(30_000));
                    }
                }
            }
        }
        let most = match policy {
            OnUnknownOutcome::RetryOnce => 1,
            _ => 5,
        };
        prop_assert!(resends <= most, "{} times", resends);
    }
}
