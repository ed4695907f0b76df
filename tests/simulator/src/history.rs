//! One history: processes that start, sign in, ask for tokens, die and start again, in an order and with faults that come
//! from one seed; and then a world in which nothing goes wrong any more, where it shows what was lost.

use std::sync::Arc;

use fastrand::Rng;
use gatepass::{EndReason, ErrorKind, OnUnknownOutcome, SignOut};

use crate::apps::{Apps, Page, What};
use crate::fault::{Fault, Port};
use crate::server::Rotation;
use crate::world::{Planned, World};

/// How often faults are drawn anew where none of them happened.
const TRIES: u32 = 40;

/// What came of a history.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) rotation: Rotation,
    pub(crate) violations: Vec<String>,
    pub(crate) steps: u64,
    pub(crate) hits: Vec<(Fault, Port)>,
    pub(crate) refreshes: u64,
    /// Whether the session outlived a lost answer; `None` if none was lost, or somebody ended it.
    pub(crate) saved: Option<bool>,
    pub(crate) trace: Vec<String>,
}

/// What is drawn before a history begins.
#[derive(Debug)]
struct Setting {
    rotation: Rotation,
    policy: OnUnknownOutcome,
    apps: usize,
    operations: usize,
    /// Whether a process can lag behind the others.
    uneven: bool,
}

/// Runs the history of a seed: once as it would go by itself, to see which calls there are, and then with something wrong
/// in some of them.
pub(crate) fn run(seed: u64, cells: &[(Fault, Port)], traced: bool) -> Told {
    let (quiet, calls) = live(seed, Vec::new(), traced);
    if !quiet.violations.is_empty() {
        return quiet;
    }
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let mut told = quiet;
    // One fault can keep another from happening; one at least does.
    for _ in 0..TRIES {
        told = live(seed, plan(&mut rng, cells, &calls), traced).0;
        if !told.hits.is_empty() {
            break;
        }
    }
    told
}

/// Draws what is to go wrong.
fn plan(rng: &mut Rng, cells: &[(Fault, Port)], calls: &[u32]) -> Vec<Planned> {
    let called = |port: Port| calls.get(port.index()).copied().unwrap_or_default();
    let ports: Vec<Port> = Port::ALL
        .into_iter()
        .filter(|port| called(*port) > 0)
        .flat_map(|port| std::iter::repeat_n(port, port.weight()))
        .collect();
    let planned = (0..rng.usize(1..=4)).filter_map(|_| {
        // Now and then at a port that only a fault leads to.
        let port = match rng.u8(0..8) {
            0 => rng.choice(Port::ALL)?,
            _ => rng.choice(ports.iter().copied())?,
        };
        let here = cells.iter().filter(|(_, its)| *its == port);
        let (fault, _) = rng.choice(here.collect::<Vec<_>>())?;
        let nth = rng.u32(1..=called(port).max(3));
        Some(Planned {
            fault: *fault,
            port,
            nth,
        })
    });
    planned.collect()
}

fn live(seed: u64, plan: Vec<Planned>, traced: bool) -> (Told, [u32; Port::ALL.len()]) {
    let mut rng = Rng::with_seed(seed);
    let setting = Setting {
        rotation: rng.choice(Rotation::ALL).unwrap_or(Rotation::Strict),
        policy: match rng.u8(0..10) {
            0 => OnUnknownOutcome::RetryOnce,
            1 => OnUnknownOutcome::RetryWhenExpired,
            _ => OnUnknownOutcome::Retry,
        },
        apps: rng.usize(1..=3),
        operations: rng.usize(3..12),
        uneven: rng.bool(),
    };
    let world = World::new(rng.u64(..), setting.rotation, rng.bool(), traced);
    world.lock().note(|| format!("{setting:?}, {plan:?}"));
    world.lock().plan = plan;
    let mut apps = Apps::new(Arc::clone(&world), setting.apps, setting.policy, setting.uneven);
    script(&mut apps, &mut rng, setting.operations);
    let calls = world.lock().calls;
    let saved = recover(&mut apps, &mut rng, setting.policy);
    apps.finish();
    let mut state = world.lock();
    let told = Told {
        rotation: setting.rotation,
        violations: std::mem::take(&mut state.judge.violations),
        steps: state.steps,
        hits: std::mem::take(&mut state.hits),
        refreshes: state.judge.refreshes,
        saved,
        trace: state.trace.take().unwrap_or_default(),
    };
    (told, calls)
}

/// What users and systems do.
fn script(apps: &mut Apps, rng: &mut Rng, operations: usize) {
    apps.begin_sign_in(0);
    apps.rest(3_000);
    for _ in 0..operations {
        let app = rng.usize(0..apps.count());
        apps.deliver_some(rng);
        match rng.u8(0..100) {
            0..10 => apps.call(app, What::Token),
            10..40 => {
                // Whoever wants a token wants it when the last one expires, and so does everybody else.
                apps.wait(rng.u64(520_000..620_000));
                for _ in 0..rng.usize(1..4) {
                    let app = rng.usize(0..apps.count());
                    apps.call(app, What::Token);
                }
            }
            40..52 => apps.call(app, What::Refresh),
            52..60 => apps.call(app, What::Open),
            60..64 => apps.call(app, What::SignOut(sign_out(rng))),
            64..70 => apps.begin_sign_in(app),
            70..78 => apps.restart(app),
            78..91 => {
                let by = match rng.u8(0..6) {
                    0 => rng.u64(1..5_000),
                    1 | 2 => rng.u64(5_000..300_000),
                    3 | 4 => rng.u64(500_000..700_000),
                    _ => rng.u64(700_000..100_000_000),
                };
                apps.wait(by);
            }
            91..94 => apps.call(app, What::Forget),
            94..96 => {
                let mut state = apps.world.lock();
                state.judge.server_ended_all = true;
                state.server.end_all();
            }
            _ => {
                let direction = if rng.bool() { 1 } else { -1 };
                apps.world.lock().turn_clock(direction);
            }
        }
        match rng.u8(0..10) {
            0..3 => apps.turns(rng.usize(1..40)),
            3..5 => apps.rest(0),
            _ => apps.rest(3_000),
        }
    }
}

pub(crate) fn sign_out(rng: &mut Rng) -> SignOut {
    if rng.bool() {
        SignOut::Local
    } else {
        SignOut::Revoke
    }
}

/// Nothing goes wrong any more. Whether what should be there is. Returns whether a lost answer was survived.
fn recover(apps: &mut Apps, rng: &mut Rng, policy: OnUnknownOutcome) -> Option<bool> {
    {
        let mut state = apps.world.lock();
        state.heal();
        state.note(|| "-- from here on nothing goes wrong".to_owned());
    }
    if rng.bool() {
        apps.rest(3_000);
    }
    if rng.bool() {
        those_that_run_on_agree(apps);
    }
    apps.kill_all();
    apps.restart(0);
    deliver_last(apps);
    let opened = apps.ask(0, What::Open);
    let (durable, accepted, on_its_way) = {
        let mut state = apps.world.lock();
        state.judge.settled();
        let durable = state.judge.durable.clone();
        let token = durable.refresh_token.as_deref();
        let accepted = token.is_some_and(|token| state.server.would_accept(token, state.now));
        (durable, accepted, state.is_on_its_way())
    };
    match &opened {
        Some(Ok(found)) if *found == durable.lives => {}
        other => apps.broken(format!(
            "the next start said {other:?}, and somebody was signed in: {}",
            durable.lives
        )),
    }
    let mut usable = false;
    if durable.lives && policy == OnUnknownOutcome::Retry {
        usable = refresh(apps, accepted && !on_its_way);
        if usable && accepted && !on_its_way {
            apps.wait(700_000);
            token(apps);
        }
    }
    let saved = {
        let state = apps.world.lock();
        let ended = state.judge.end_was_asked || state.judge.server_ended_all;
        let counts = state.judge.lost_response && !ended && policy == OnUnknownOutcome::Retry;
        counts.then_some(usable)
    };
    stays_signed_out(apps, rng);
    saved
}

/// Processes that have run all along find what the next start would find.
fn those_that_run_on_agree(apps: &mut Apps) {
    // Whatever is still under way comes to its end.
    apps.wait(400_000);
    for app in 0..apps.count() {
        if !apps.lives(app) {
            continue;
        }
        let opened = apps.ask(app, What::Open);
        let durable = {
            let mut state = apps.world.lock();
            state.judge.settled();
            state.judge.durable.clone()
        };
        if !matches!(opened, Some(Ok(found)) if found == durable.lives) {
            apps.broken(format!(
                "a process that ran on said {opened:?}, and somebody was signed in: {}",
                durable.lives
            ));
        }
    }
}

/// A redirect that no process has ever seen completes its sign-in, whichever process it comes to.
fn deliver_last(apps: &mut Apps) {
    let Some(page) = apps.last_page() else { return };
    let Page {
        redirect, opened_at, ..
    } = &page;
    let expected = {
        let state = apps.world.lock();
        let code = code_of(redirect);
        let quiet = state
            .hits
            .iter()
            .all(|(fault, _)| !matches!(fault, Fault::Cancel | Fault::SignOut | Fault::SignIn));
        quiet
            && !state.judge.clock_was_wrong
            && !apps.was_forgotten()
            && apps.sign_ins == 1
            && !page.delivered
            && !state.judge.was_sent(&code)
            && state.now.saturating_sub(*opened_at) < 50_000
    };
    let outcome = apps.ask(0, What::Deliver(redirect.clone()));
    if expected && !matches!(outcome, Some(Ok(true))) {
        apps.broken(format!("a redirect into a new process gave {outcome:?}"));
    }
}

fn code_of(redirect: &str) -> String {
    url::Url::parse(redirect)
        .ok()
        .and_then(|url| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(name, _)| name == "code")
                .map(|(_, code)| code.into_owned())
        })
        .unwrap_or_default()
}

fn refresh(apps: &mut Apps, accepted: bool) -> bool {
    let mut last = None;
    // An attempt that was begun without the lock is given its lease.
    for _ in 0..12 {
        match apps.ask(0, What::Refresh) {
            Some(Ok(_)) => return true,
            Some(Err(error)) if matches!(error.kind(), ErrorKind::SessionEnded(_)) => {
                if accepted {
                    apps.broken(format!(
                        "the server would have taken the newest token, and the session ended: {error:?}"
                    ));
                }
                let reason = match error.kind() {
                    ErrorKind::SessionEnded(reason) => reason,
                    _ => EndReason::SignedOut,
                };
                if !matches!(reason, EndReason::RotationLost | EndReason::ExpiredOrRevoked) {
                    apps.broken(format!("the session ended as {}", reason.name()));
                }
                return false;
            }
            other => last = Some(other),
        }
        apps.wait(5_000);
    }
    apps.broken(format!(
        "nothing goes wrong, and the session cannot be used: {last:?}"
    ));
    false
}

fn token(apps: &mut Apps) {
    match apps.ask(0, What::Token) {
        Some(Ok(_)) => {}
        other => apps.broken(format!("a session that was just refreshed gives {other:?}")),
    }
}

/// Whoever signs out stays signed out, over every restart.
fn stays_signed_out(apps: &mut Apps, rng: &mut Rng) {
    let lives = apps.world.lock().judge.durable.lives;
    if !lives {
        return;
    }
    let outcome = apps.ask(0, What::SignOut(sign_out(rng)));
    if !matches!(outcome, Some(Ok(_))) {
        apps.broken(format!("signing out gave {outcome:?}"));
    }
    apps.kill_all();
    apps.restart(0);
    match apps.ask(0, What::Open) {
        Some(Ok(false)) => {}
        other => apps.broken(format!("after sign-out the next start says {other:?}")),
    }
}
