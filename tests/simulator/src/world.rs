//! Everything around the client: the device with its clock, disk and locks, the network, and the server. One world is one
//! history; whatever is left to chance in it comes from one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use fastrand::Rng;
use gatepass::BoxFuture;

use crate::disk::Disk;
use crate::fault::{Fault, Port};
use crate::judge::Judge;
use crate::server::{Answer, Rotation, Server};

/// A run of a program: a restart is another one.
pub(crate) type Pid = usize;

/// When histories begin, by the wall clock.
const BEGINS: i64 = 1_800_000_000_000;

/// The world of one history.
pub(crate) struct World(Mutex<State>);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

pub(crate) struct State {
    pub(crate) rng: Rng,
    /// Milliseconds since the history began, whatever the clocks of the device show.
    pub(crate) now: u64,
    pub(crate) booted_at: u64,
    boots: u32,
    /// What the wall clock shows besides.
    wall: i64,
    pub(crate) plan: Vec<Planned>,
    /// How often each port was called.
    pub(crate) calls: [u32; Port::ALL.len()],
    pub(crate) hits: Vec<(Fault, Port)>,
    pub(crate) steps: u64,
    pub(crate) disk: Disk,
    pub(crate) locks: BTreeMap<String, Pid>,
    pub(crate) server: Server,
    pub(crate) judge: Judge,
    processes: Vec<Process>,
    alarms: BTreeMap<(u64, u64), Waker>,
    events: BTreeMap<(u64, u64), WireEvent>,
    pub(crate) wire: BTreeMap<u64, Exchange>,
    pub(crate) sequence: u64,
    pub(crate) spawned: Vec<(Pid, Work)>,
    pub(crate) orders: Vec<Order>,
    locked_until: u64,
    full_until: u64,
    /// What happened, for whoever replays a seed.
    pub(crate) trace: Option<Vec<String>>,
}

#[derive(Debug)]
struct Process {
    lives: bool,
    frozen_until: u64,
}

/// A fault that is to happen in the `nth` call of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    pub(crate) port: Port,
    pub(crate) nth: u32,
}

/// Work that a process has given to its executor.
pub(crate) enum Work {
    Task(BoxFuture<'static, ()>),
    Blocking(Box<dyn FnOnce() + Send>),
}

/// What is to be done once the task that runs has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Kill(Pid),
    PowerLoss,
    Cancel(Pid),
    SignOut,
    SignIn,
}

enum WireEvent {
    Arrives(u64),
    Comes(u64, Outcome),
}

/// What the sender of a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answer(Answer),
    Broken,
}

/// A request on its way.
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    pub(crate) fault: Option<Fault>,
    /// How long the answer takes.
    pub(crate) back: u64,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) waker: Option<Waker>,
}

/// The process does not live any more.
pub(crate) struct Dead;

impl World {
    pub(crate) fn new(seed: u64, rotation: Rotation, id_token_on_refresh: bool, traced: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            rng: Rng::with_seed(seed),
            now: 0,
            booted_at: 0,
            boots: 1,
            wall: 0,
            plan: Vec::new(),
            calls: [0; Port::ALL.len()],
            hits: Vec::new(),
            steps: 0,
            disk: Disk::default(),
            locks: BTreeMap::new(),
            server: Server::new(rotation, id_token_on_refresh),
            judge: Judge::default(),
            processes: Vec::new(),
            alarms: BTreeMap::new(),
            events: BTreeMap::new(),
            wire: BTreeMap::new(),
            sequence: 0,
            spawned: Vec::new(),
            orders: Vec::new(),
            locked_until: 0,
            full_until: 0,
            trace: traced.then(Vec::new),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3}  {}", now as f64 / 1_000.0, what()));
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn start(&mut self) -> Pid {
        self.processes.push(Process {
            lives: true,
            frozen_until: 0,
        });
        self.processes.len() - 1
    }

    pub(crate) fn lives(&self, pid: Pid) -> bool {
        self.processes.get(pid).is_some_and(|process| process.lives)
    }

    pub(crate) fn is_frozen(&self, pid: Pid) -> bool {
        self.processes
            .get(pid)
            .is_some_and(|process| process.frozen_until > self.now)
    }

    pub(crate) fn frozen_for(&self, pid: Pid) -> u64 {
        self.processes
            .get(pid)
            .map_or(0, |process| process.frozen_until.saturating_sub(self.now))
    }

    /// Nothing goes wrong from here on, and what is wrong comes to an end.
    pub(crate) fn heal(&mut self) {
        self.plan.clear();
        self.locked_until = 0;
        self.full_until = 0;
        for process in &mut self.processes {
            process.frozen_until = 0;
        }
    }

    /// By the wall clock, as it should be.
    pub(crate) fn true_unix_millis(&self) -> i64 {
        BEGINS.saturating_add_unsigned(self.now)
    }

    /// By the wall clock of the device.
    pub(crate) fn unix_millis(&self) -> i64 {
        self.true_unix_millis().saturating_add(self.wall)
    }

    pub(crate) fn boot_millis(&self) -> u64 {
        self.now.saturating_sub(self.booted_at)
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    /// A call of a port begins. What goes wrong in it at once does; what the port has to do itself comes back.
    pub(crate) fn call(&mut self, pid: Pid, port: Port) -> Result<Option<Fault>, Dead> {
        if !self.lives(pid) {
            return Err(Dead);
        }
        self.steps += 1;
        let Some(calls) = self.calls.get_mut(port.index()) else {
            return Ok(None);
        };
        *calls += 1;
        let nth = *calls;
        self.note(|| format!("process {pid}: {}", port.name()));
        let due = |planned: &Planned| planned.port == port && planned.nth == nth;
        let Some(at) = self.plan.iter().position(due) else {
            return Ok(None);
        };
        let fault = self.plan.swap_remove(at).fault;
        self.hits.push((fault, port));
        self.note(|| format!("process {pid}: {}: {}", port.name(), fault.name().to_uppercase()));
        match fault {
            Fault::Kill if self.rng.bool() => {
                self.kill(pid);
                return Err(Dead);
            }
            Fault::Kill => self.orders.push(Order::Kill(pid)),
            Fault::PowerLoss if self.rng.bool() => {
                self.lose_power();
                return Err(Dead);
            }
            Fault::PowerLoss => self.orders.push(Order::PowerLoss),
            Fault::Cancel => self.orders.push(Order::Cancel(pid)),
            Fault::Freeze => {
                let until = self.now + self.rng.u64(3_000..150_000);
                if let Some(process) = self.processes.get_mut(pid) {
                    process.frozen_until = until;
                }
            }
            Fault::Delay if !port.is_http() => self.now += self.rng.u64(500..70_000),
            Fault::ClockForward => self.turn_clock(1),
            Fault::ClockBack => self.turn_clock(-1),
            Fault::SignOut => self.orders.push(Order::SignOut),
            Fault::SignIn => self.orders.push(Order::SignIn),
            Fault::Locked => self.locked_until = self.now + self.rng.u64(1..90_000),
            Fault::DiskFull => self.full_until = self.now + self.rng.u64(1..120_000),
            _ => return Ok(Some(fault)),
        }
        Ok(None)
    }

    pub(crate) fn turn_clock(&mut self, direction: i64) {
        let minutes = self.rng.i64(1..600);
        let years = if self.rng.u8(0..3) == 0 {
            self.rng.i64(1..40)
        } else {
            0
        };
        let by = minutes * 60_000 + years * 365 * 86_400_000;
        self.wall = (self.wall + direction * by).clamp(-(BEGINS - 1), 100 * 365 * 86_400_000);
        self.judge.clock_was_wrong = true;
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.now < self.locked_until
    }

    pub(crate) fn is_full(&self) -> bool {
        self.now < self.full_until
    }

    pub(crate) fn kill(&mut self, pid: Pid) {
        self.end(pid);
        self.look_at_disk();
    }

    fn end(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid) {
            process.lives = false;
        }
        self.note(|| format!("process {pid} is dead"));
        self.locks.retain(|_, holder| *holder != pid);
        self.judge.died(pid);
    }

    pub(crate) fn lose_power(&mut self) {
        for pid in 0..self.processes.len() {
            if self.lives(pid) {
                self.end(pid);
            }
        }
        self.disk.lose_power(&mut self.rng);
        self.look_at_disk();
        self.note(|| "the power is back".to_owned());
        self.now += self.rng.u64(5_000..60_000);
        self.booted_at = self.now;
        self.boots += 1;
        self.judge.rebooted = true;
    }

    /// Tells the judge what the next process will read.
    pub(crate) fn look_at_disk(&mut self) {
        let record = session_record(&self.disk);
        self.judge.found(record.as_deref());
    }

    pub(crate) fn set_alarm(&mut self, at: u64, waker: Waker) {
        let sequence = self.next();
        self.alarms.insert((at, sequence), waker);
    }

    pub(crate) fn send(&mut self, id: u64, exchange: Exchange, after: u64) {
        let sequence = self.next();
        self.events
            .insert((self.now + after, sequence), WireEvent::Arrives(id));
        self.wire.insert(id, exchange);
    }

    pub(crate) fn send_again(&mut self, id: u64, after: u64) {
        let sequence = self.next();
        self.events
            .insert((self.now + after, sequence), WireEvent::Arrives(id));
    }

    /// Something that lies in the future: goes there. `false` if there is nothing.
    pub(crate) fn advance(&mut self) -> bool {
        self.advance_until(u64::MAX)
    }

    /// As [`advance`](State::advance), and no further than this.
    pub(crate) fn advance_until(&mut self, until: u64) -> bool {
        let alarm = self.alarms.keys().next().map(|(at, _)| *at);
        let event = self.events.keys().next().map(|(at, _)| *at);
        let thaw = self
            .processes
            .iter()
            .filter(|process| process.lives && process.frozen_until > self.now)
            .map(|process| process.frozen_until)
            .min();
        match [alarm, event, thaw].into_iter().flatten().min() {
            Some(at) if at <= until => {
                self.now = self.now.max(at);
                self.ring();
                true
            }
            _ => false,
        }
    }

    /// Lets everything happen that is due.
    pub(crate) fn ring(&mut self) {
        while let Some((at, _)) = self.alarms.keys().next()
            && *at <= self.now
        {
            if let Some((_, waker)) = self.alarms.pop_first() {
                waker.wake();
            }
        }
        while let Some((at, _)) = self.events.keys().next()
            && *at <= self.now
        {
            match self.events.pop_first() {
                Some((_, WireEvent::Arrives(id))) => self.arrives(id),
                Some((_, WireEvent::Comes(id, outcome))) => {
                    if let Some(exchange) = self.wire.get_mut(&id) {
                        exchange.outcome.get_or_insert(outcome);
                        if let Some(waker) = exchange.waker.take() {
                            waker.wake();
                        }
                    }
                }
                None => {}
            }
        }
    }

    /// Whether a grant is on its way to the server: nobody can tell what will come of it.
    pub(crate) fn is_on_its_way(&self) -> bool {
        self.events.values().any(|event| match event {
            WireEvent::Arrives(id) => self
                .wire
                .get(id)
                .is_some_and(|exchange| exchange.path == "/token"),
            WireEvent::Comes(..) => false,
        })
    }

    /// A request has come to the server, whether anybody waits for its answer or not.
    fn arrives(&mut self, id: u64) {
        let Some(exchange) = self.wire.get(&id) else {
            return;
        };
        let (path, body) = (exchange.path.clone(), exchange.body.clone());
        let (fault, back) = (exchange.fault, exchange.back);
        let (now, unix_seconds) = (self.now, self.true_unix_millis() / 1_000);
        let mut process = || self.server.process(&path, &body, now, unix_seconds);
        let outcome = match fault {
            Some(Fault::RequestLost) => return,
            Some(Fault::ResponseLost) => {
                process();
                if !self.rng.bool() {
                    return;
                }
                Outcome::Broken
            }
            Some(Fault::GatewayError) => Outcome::Answer(Answer::page(http::StatusCode::BAD_GATEWAY)),
            Some(Fault::ServerError) => {
                process();
                Outcome::Answer(Answer::page(http::StatusCode::INTERNAL_SERVER_ERROR))
            }
            Some(Fault::TooMany) => Outcome::Answer(Answer::too_many()),
            Some(Fault::Page) => Outcome::Answer(Answer::page(http::StatusCode::OK)),
            Some(Fault::Truncated) => {
                let mut answer = process();
                answer.body.truncate(answer.body.len() / 2);
                Outcome::Answer(answer)
            }
            _ => Outcome::Answer(process()),
        };
        self.note(|| match &outcome {
            Outcome::Answer(answer) => format!("the server answers {path} with {}", answer.status),
            Outcome::Broken => format!("the connection for {path} breaks"),
        });
        let sequence = self.next();
        self.events
            .insert((self.now + back, sequence), WireEvent::Comes(id, outcome));
    }
}

/// The session record in a directory, without the header of its file.
fn session_record(disk: &Disk) -> Option<Vec<u8>> {
    let name = disk
        .names()
        .into_iter()
        .find(|name| name.starts_with("gp.session."))?;
    let bytes = disk.read(&name)?;
    let begin = bytes.iter().position(|byte| *byte == b'{')?;
    // The header before it is binary, and may hold a brace.
    (begin..bytes.len())
        .filter_map(|begin| bytes.get(begin..))
        .find(|rest| serde_json::from_slice::<serde_json::Value>(rest).is_ok())
        .map(<[u8]>::to_vec)
}
