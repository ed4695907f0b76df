//! The rotation state machine: what becomes of a refresh token that is sent, as a pure function.
//!
//! ```text
//!              journal                  request                 Granted, Unusable
//!              durable                  goes out                with a refresh token
//!    Idle ──────────────▶ Prepared ──────────────▶ Sent ──────────────────────────▶ Committed
//!     ▲                                            │ │ ▲
//!     │              NotSent, TurnedDown           │ │ │  SendAgain: the same token,
//!     ├────────────────────────────────────────────┤ │ │  while it may still help
//!     │   nothing was in doubt: Stop, closed       │ │ │
//!     │                                    Unknown │ │ │
//!     │                                            ▼ │ │
//!     │                                      Uncertain ┘
//!     │                                            │ │
//!     │          the next need for a token,        │ │
//!     └──────── the next return of the app ◀───────┘ │  GrantRefused
//!                 Stop, open: the journal stays      ▼
//!                                                 Refused ──▶ Recheck: the store is read again.
//!                                                             Newer than what was sent: adopted.
//!                                                             Else ExpiredOrRevoked, or RotationLost
//!                                                             where the token was in doubt.
//! ```
//!
//! It does no I/O and knows no clock: [`Attempt`] is told what happened and when, and says what to do next. The session
//! does that and tells what came of it ([`refresh`](super::refresh)). `README.md` beside this file has the whole of it: what
//! each answer comes to, the journal, the lease, what is durable when.

use std::time::Duration;

use crate::error::EndReason;

/// The first send of a refresh waits this long for its answer.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// A token that is sent again waits less: servers that allow it do so for a minute or less.
const NEXT_PATIENCE: Duration = Duration::from_secs(5);
/// When the same token goes out again, counted from when its outcome was first seen to be unknown.
const RESEND_MILLIS: [u64; 5] = [0, 2_000, 5_000, 10_000, 20_000];
/// Counted from the first send: later than this the token is not sent again in the same attempt.
const RESEND_WINDOW_MILLIS: u64 = 30_000;
/// So much later than that a timer may ring.
const GRACE_MILLIS: u64 = 5_000;
/// A process that holds the lock longer is taken for suspended, or dead: its attempt may be taken over.
pub(super) const LEASE_MILLIS: u64 = 45_000;

/// What to do when nobody knows whether the server processed a refresh: the answer was cut, the gateway made a page of
/// its own, the server failed.
///
/// Servers that rotate refresh tokens differ in what they make of the same one sent again (RFC 9700 §4.14.2 leaves it to
/// them). Many take it for some 30 to 60 seconds, or until its successor is used: there it saves the session. A server
/// without such a grace takes it for theft and revokes the grant; there the session was lost with the answer, and sending
/// again may also end an access token that is still good.
///
/// ```
/// use gatepass::OnUnknownOutcome;
///
/// // What an app knows of the servers it is used with.
/// let policy = |revokes_everything_on_reuse: bool| match revokes_everything_on_reuse {
///     true => OnUnknownOutcome::RetryWhenExpired,
///     false => OnUnknownOutcome::default(),
/// };
/// assert_eq!(policy(false), OnUnknownOutcome::Retry);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknownOutcome {
    /// Send the same token again: at once, then 2, 5, 10 and 20 seconds later, and never later than 30 seconds after it was
    /// first sent.
    #[default]
    Retry,
    /// Send it again once, at once.
    RetryOnce,
    /// Use the access token for as long as it lives, and send the refresh token again only then. For a server that takes a
    /// second use for theft and revokes what is still good.
    RetryWhenExpired,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of this attempt is on disk, and nothing was sent.
    Idle,
    /// The journal is on disk; nothing was sent.
    Prepared,
    /// The request is out.
    Sent,
    /// It was out, and nobody knows what became of it.
    Uncertain,
    /// The server gave tokens.
    Committed,
    /// The server says that the token is no good.
    Refused,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Tokens.
    Granted,
    /// It was processed, and what came back cannot be used; whether there was a refresh token in it.
    Unusable { rotated: bool },
    /// `invalid_grant`.
    GrantRefused,
    /// Refused for another reason, without the token being spent.
    TurnedDown,
    /// It certainly did not reach the server.
    NotSent,
    /// Nobody can tell. The server may have said how long to wait.
    Unknown { retry_after: Option<Duration> },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make what came durable.
    Commit,
    /// Read the store again: what another process wrote is adopted. Else the session is over, for this reason.
    Recheck(EndReason),
    /// Send the same token again, no earlier than this by the boot clock, and only if the store still says so.
    SendAgain { not_before: u64 },
    /// Give up for now. `open`: the journal stays, as the outcome is not known.
    Stop { open: bool },
}

/// One attempt: from the journal to the outcome, all sends of the same refresh token included.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    state: State,
    policy: OnUnknownOutcome,
    /// By the boot clock: until when there is an access token to go on with.
    usable_until: u64,
    /// An earlier attempt with this token ended with nobody knowing its outcome.
    uncertain_before: bool,
    first_sent: Option<u64>,
    first_unknown: Option<u64>,
    resends: usize,
}

impl Attempt {
    /// `usable_until`: until when there is an access token to go on with, by the boot clock; 0 if there is none.
    pub(super) fn new(policy: OnUnknownOutcome, uncertain_before: bool, usable_until: u64) -> Self {
        Self {
            state: State::Idle,
            policy,
            usable_until,
            uncertain_before,
            first_sent: None,
            first_unknown: None,
            resends: 0,
        }
    }

    /// How long the attempt has to wait before it begins, in milliseconds.
    pub(super) fn has_to_wait(&self, now: u64) -> u64 {
        match self.policy {
            // A token of which nobody knows when it ends may have ended.
            OnUnknownOutcome::RetryWhenExpired if self.uncertain_before && self.usable_until < u64::MAX => {
                self.usable_until.saturating_sub(now)
            }
            _ => 0,
        }
    }

    /// Whether it is too late to send again: the process may have slept through the time for it.
    pub(super) fn is_late(&self, now: u64) -> bool {
        let window = RESEND_WINDOW_MILLIS.saturating_add(GRACE_MILLIS);
        self.first_sent
            .is_some_and(|sent| now > sent.saturating_add(window))
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether the token of this attempt may have been spent without anybody having the answer.
    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain_before || self.first_unknown.is_some()
    }

    /// The journal is durable.
    pub(super) fn journalled(&mut self) {
        self.state = State::Prepared;
    }

    /// The request goes out now; how long to wait for its answer.
    pub(super) fn sends(&mut self, now: u64) -> Duration {
        self.state = State::Sent;
        match self.first_sent {
            Some(_) => NEXT_PATIENCE,
            None => {
                self.first_sent = Some(now);
                FIRST_PATIENCE
            }
        }
    }

    /// What to do about an answer that came now. `jitter`, of a thousand, spreads the callers of a server that failed all
    /// of them at once.
    pub(super) fn answered(&mut self, answer: Answer, now: u64, jitter: u16) -> Next {
        let (state, next) = match answer {
            Answer::Granted | Answer::Unusable { rotated: true } => (State::Committed, Next::Commit),
            // What it was spent for is nowhere.
            Answer::Unusable { rotated: false } => {
                self.first_unknown.get_or_insert(now);
                (State::Uncertain, Next::Stop { open: true })
            }
            Answer::GrantRefused => (State::Refused, Next::Recheck(self.end_reason())),
            Answer::TurnedDown => self.untouched(),
            Answer::NotSent => match self.first_unknown {
                Some(_) => (State::Uncertain, self.again(now, jitter, None)),
                None => self.untouched(),
            },
            Answer::Unknown { retry_after } => {
                self.first_unknown.get_or_insert(now);
                (State::Uncertain, self.again(now, jitter, retry_after))
            }
        };
        self.state = state;
        next
    }

    /// This send left the token as it was: what was uncertain before still is, and nothing else.
    fn untouched(&self) -> (State, Next) {
        let open = self.is_uncertain();
        let state = if open { State::Uncertain } else { State::Idle };
        (state, Next::Stop { open })
    }

    fn end_reason(&self) -> EndReason {
        if self.is_uncertain() {
            EndReason::RotationLost
        } else {
            EndReason::ExpiredOrRevoked
        }
    }

    fn again(&mut self, now: u64, jitter: u16, retry_after: Option<Duration>) -> Next {
        let stop = Next::Stop { open: true };
        let allowed = match self.policy {
            OnUnknownOutcome::Retry => RESEND_MILLIS.len(),
            OnUnknownOutcome::RetryOnce => 1,
            OnUnknownOutcome::RetryWhenExpired if now < self.usable_until => 0,
            OnUnknownOutcome::RetryWhenExpired => RESEND_MILLIS.len(),
        };
        let (Some(first_sent), Some(first_unknown)) = (self.first_sent, self.first_unknown) else {
            return stop;
        };
        let Some(pause) = RESEND_MILLIS.get(self.resends).filter(|_| self.resends < allowed) else {
            return stop;
        };
        self.resends += 1;
        let last = first_sent.saturating_add(RESEND_WINDOW_MILLIS);
        let spread = pause.saturating_mul(u64::from(jitter.min(1_000))) / 10_000;
        let due = first_unknown.saturating_add(*pause);
        let due = due.saturating_add(spread).min(last).max(due);
        let wait = retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let not_before = due.max(now.saturating_add(wait)).max(now);
        if not_before > last {
            return stop;
        }
        Next::SendAgain { not_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Answer = Answer::Unknown { retry_after: None };

    fn attempt() -> Attempt {
        Attempt::new(OnUnknownOutcome::Retry, false, 0)
    }

    /// Sends at this time, and is answered at that.
    fn exchange(attempt: &mut Attempt, sent: u64, answer: Answer, answered: u64) -> Next {
        attempt.journalled();
        attempt.sends(sent);
        attempt.answered(answer, answered, 0)
    }

    #[test]
    fn rr_13_the_same_token_goes_out_again_at_the_times_that_may_help() {
        let mut attempt = attempt();
        let mut next = exchange(&mut attempt, 1_000, UNKNOWN, 3_000);
        for due in [3_000, 5_000, 8_000, 13_000, 23_000] {
            assert_eq!(next, Next::SendAgain { not_before: due });
            assert_eq!(attempt.sends(due), NEXT_PATIENCE);
            next = attempt.answered(UNKNOWN, due, 0);
        }
        assert_eq!(next, Next::Stop { open: true });
        assert_eq!(attempt.state(), State::Uncertain);
    }

    #[test]
    fn rr_13_none_later_than_30_s_after_the_first() {
        let mut attempt = attempt();
        // Ten seconds for the first answer, five for each of the others.
        let mut next = exchange(&mut attempt, 0, UNKNOWN, 10_000);
        let mut sent = Vec::new();
        while let Next::SendAgain { not_before } = next {
            sent.push(not_before);
            attempt.sends(not_before);
            next = attempt.answered(UNKNOWN, not_before + 5_000, 1_000);
        }
        assert!(sent.iter().all(|at| *at <= RESEND_WINDOW_MILLIS), "{sent:?}");
        assert_eq!(sent, [10_000, 15_000, 20_000, 25_000, 30_000]);
    }

    #[test]
    fn rr_13_jitter_delays_and_never_hastens() {
        for jitter in [0, 1, 500, 999, 1_000, u16::MAX] {
            let mut attempt = attempt();
            exchange(&mut attempt, 0, UNKNOWN, 0);
            attempt.sends(0);
            let Next::SendAgain { not_before } = attempt.answered(UNKNOWN, 0, jitter) else {
                panic!("not again");
            };
            assert!((2_000..=2_200).contains(&not_before), "{not_before}");
        }
    }

    #[test]
    fn rr_13_without_a_network_it_goes_on_trying() {
        let mut attempt = attempt();
        exchange(&mut attempt, 0, UNKNOWN, 0);
        attempt.sends(0);
        assert_eq!(
            attempt.answered(Answer::NotSent, 0, 0),
            Next::SendAgain { not_before: 2_000 }
        );
    }

    #[test]
    fn rr_14_a_server_that_says_when_is_not_asked_before() {
        let wait = |seconds| Answer::Unknown {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let next = exchange(&mut attempt(), 0, wait(7), 1_000);
        assert_eq!(next, Next::SendAgain { not_before: 8_000 });
        let next = exchange(&mut attempt(), 0, wait(60), 1_000);
        assert_eq!(next, Next::Stop { open: true }, "left for later, the token kept");
    }

    #[test]
    fn rr_35_what_is_done_about_an_unknown_outcome_can_be_chosen() {
        let mut once = Attempt::new(OnUnknownOutcome::RetryOnce, false, 0);
        assert_eq!(
            exchange(&mut once, 0, UNKNOWN, 5),
            Next::SendAgain { not_before: 5 }
        );
        once.sends(5);
        assert_eq!(once.answered(UNKNOWN, 6, 0), Next::Stop { open: true });

        let mut later = Attempt::new(OnUnknownOutcome::RetryWhenExpired, false, 1_000);
        assert_eq!(exchange(&mut later, 0, UNKNOWN, 5), Next::Stop { open: true });
        let next = Attempt::new(OnUnknownOutcome::RetryWhenExpired, true, 1_000);
        assert_eq!((next.has_to_wait(400), next.has_to_wait(1_000)), (600, 0));
        let mut expired = Attempt::new(OnUnknownOutcome::RetryWhenExpired, false, 1_000);
        assert_eq!(
            exchange(&mut expired, 2_000, UNKNOWN, 2_005),
            Next::SendAgain { not_before: 2_005 }
        );
    }

    #[test]
    fn rr_18_the_end_says_whether_an_answer_may_have_been_lost() {
        let refused = |mut attempt: Attempt| exchange(&mut attempt, 0, Answer::GrantRefused, 1);
        assert_eq!(refused(attempt()), Next::Recheck(EndReason::ExpiredOrRevoked));
        let before = Attempt::new(OnUnknownOutcome::Retry, true, 0);
        assert_eq!(refused(before), Next::Recheck(EndReason::RotationLost));
        let mut meanwhile = attempt();
        exchange(&mut meanwhile, 0, UNKNOWN, 1);
        assert_eq!(
            exchange(&mut meanwhile, 1, Answer::GrantRefused, 2),
            Next::Recheck(EndReason::RotationLost)
        );
    }

    #[test]
    fn rr_11_rr_20_what_was_not_processed_leaves_nothing_open_that_was_not() {
        for answer in [Answer::NotSent, Answer::TurnedDown] {
            assert_eq!(
                exchange(&mut attempt(), 0, answer, 1),
                Next::Stop { open: false },
                "{answer:?}"
            );
            let mut before = Attempt::new(OnUnknownOutcome::Retry, true, 0);
            assert_eq!(
                exchange(&mut before, 0, answer, 1),
                Next::Stop { open: true },
                "{answer:?}"
            );
        }
    }

    #[test]
    fn rr_08_a_useless_answer_is_committed_for_the_token_in_it() {
        let unusable = |rotated| exchange(&mut attempt(), 0, Answer::Unusable { rotated }, 1);
        assert_eq!(unusable(true), Next::Commit);
        assert_eq!(unusable(false), Next::Stop { open: true });
    }
}
