//! The table of the README beside the code, run against the code.

use std::time::Duration;

use super::super::rotation::{Answer, Attempt, Next, OnUnknownOutcome, State};
use crate::error::EndReason;

const README: &str = include_str!("../README.md");

/// A token may be in doubt in these ways, as the table has them.
const DOUBTS: [&str; 3] = ["no", "before", "now"];
const TIMES: [&str; 2] = ["yes", "no"];

struct Row<'a> {
    answer: &'a str,
    doubts: Vec<&'a str>,
    times: Vec<&'a str>,
    state: &'a str,
    next: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let (_, table) = README
        .split_once("| answer | in doubt | in time | state | next |\n|---|---|---|---|---|\n")
        .unwrap();
    let choice = |cell: &'static str, all: &[&'static str]| match cell {
        "any" => all.to_vec(),
        some => some.split(", ").collect(),
    };
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [answer, doubt, time, state, next] = cells[..] else {
                panic!("{line}");
            };
            Row {
                answer,
                doubts: choice(doubt, &DOUBTS),
                times: choice(time, &TIMES),
                state,
                next,
            }
        })
        .collect()
}

fn answer(cell: &str) -> Answer {
    match cell {
        "`Granted`" => Answer::Granted,
        "`Unusable` with a refresh token" => Answer::Unusable { rotated: true },
        "`Unusable` without one" => Answer::Unusable { rotated: false },
        "`GrantRefused`" => Answer::GrantRefused,
        "`TurnedDown`" => Answer::TurnedDown,
        "`NotSent`" => Answer::NotSent,
        "`Unknown`" => Answer::Unknown { retry_after: None },
        other => panic!("no answer: {other}"),
    }
}

/// What an attempt in this doubt makes of the answer, in the words of the table.
fn comes_to(given: Answer, doubt: &str, in_time: bool) -> (String, String) {
    let mut attempt = Attempt::new(OnUnknownOutcome::Retry, doubt == "before", 0);
    attempt.journalled();
    assert_eq!(attempt.state(), State::Prepared);
    attempt.sends(0);
    if doubt == "now" {
        attempt.answered(Answer::Unknown { retry_after: None }, 0, 0);
        attempt.sends(0);
    }
    assert_eq!(attempt.state(), State::Sent);
    let next = attempt.answered(given, if in_time { 10 } else { 30_001 }, 0);
    let next = match next {
        Next::Commit => "`Commit`".to_owned(),
        Next::Recheck(reason) => {
            assert!(matches!(
                reason,
                EndReason::ExpiredOrRevoked | EndReason::RotationLost
            ));
            format!("`Recheck`, `{reason:?}`")
        }
        Next::SendAgain { .. } => "`SendAgain`".to_owned(),
        Next::Stop { open: true } => "`Stop`, open".to_owned(),
        Next::Stop { open: false } => "`Stop`, closed".to_owned(),
    };
    (format!("`{:?}`", attempt.state()), next)
}

#[test]
fn the_table_says_what_the_machine_does_and_leaves_nothing_out() {
    let mut told = Vec::new();
    for row in rows() {
        for doubt in &row.doubts {
            for time in &row.times {
                let done = comes_to(answer(row.answer), doubt, *time == "yes");
                let said = (row.state.to_owned(), row.next.to_owned());
                assert_eq!(done, said, "{} | {doubt} | {time}", row.answer);
                told.push(format!("{} | {doubt} | {time}", row.answer));
            }
        }
    }
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count, "a case stands there twice");
    assert_eq!(
        count,
        7 * DOUBTS.len() * TIMES.len(),
        "a case is missing: {told:#?}"
    );
}

#[test]
fn in_time_is_what_the_policy_and_the_server_say_too() {
    let unknown = |seconds| Answer::Unknown {
        retry_after: Some(Duration::from_secs(seconds)),
    };
    let (_, next) = comes_to(unknown(29), "no", true);
    assert_eq!(next, "`SendAgain`");
    let (_, next) = comes_to(unknown(31), "no", true);
    assert_eq!(next, "`Stop`, open");
}
