//! The processes of a history, and the executor they run on: one task at a time, in an order left to chance.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use fastrand::Rng;
use gatepass::{BoxFuture, Client, Error, ErrorKind, OnUnknownOutcome, Session, SignInOptions, SignOut};

use crate::history::sign_out;
use crate::ports::{Device, Storage};
use crate::server::{CLIENT_ID, ISSUER, REDIRECT};
use crate::world::{Order, Pid, Work, World};

/// More is a loop that does not end.
const MOST_STEPS: u64 = 60_000;

/// In the mean.
const TURNS_UNTIL_ANOTHER_LAGS: u8 = 50;

/// What an app asks for.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Token,
    Refresh,
    Open,
    SignOut(SignOut),
    Deliver(String),
    Forget,
}

/// A page that a browser shows.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) redirect: String,
    pub(crate) opened_at: u64,
    pub(crate) delivered: bool,
}

/// What a call gave: whether there is a session, where that was asked.
type Given = Result<bool, Error>;

struct Call {
    pid: Pid,
    what: String,
    /// Waits for a user, who may take long.
    waits: bool,
    given: Option<Given>,
    cancelled: bool,
}

/// A handle of an app, and whether the app has signed out with it.
#[derive(Clone)]
struct Handle {
    session: Session,
    signed_out: Arc<AtomicBool>,
}

struct App {
    pid: Pid,
    client: Client,
    handle: Arc<Mutex<Option<Handle>>>,
}

struct Running {
    pid: Pid,
    /// Of a caller; `None`: of the core.
    call: Option<usize>,
    task: BoxFuture<'static, ()>,
    ready: Arc<Ready>,
}

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The apps of a device.
pub(crate) struct Apps {
    pub(crate) world: Arc<World>,
    policy: OnUnknownOutcome,
    apps: Vec<Option<App>>,
    tasks: Vec<Running>,
    blocking: Vec<(Pid, Box<dyn FnOnce() + Send>)>,
    calls: Arc<Mutex<Vec<Call>>>,
    pages: Arc<Mutex<Vec<Page>>>,
    forgotten: bool,
    /// The system does not give every process its turn: one lags behind the others for a while.
    uneven: bool,
    behind: Option<Pid>,
    /// How many were begun: a later one takes the place of those before, whether it opens a page or not.
    pub(crate) sign_ins: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Apps {
    pub(crate) fn new(world: Arc<World>, count: usize, policy: OnUnknownOutcome, uneven: bool) -> Self {
        let mut apps = Self {
            world,
            policy,
            apps: Vec::new(),
            tasks: Vec::new(),
            blocking: Vec::new(),
            calls: Arc::default(),
            pages: Arc::default(),
            forgotten: false,
            uneven,
            behind: None,
            sign_ins: 0,
        };
        apps.apps.resize_with(count, || None);
        apps
    }

    pub(crate) fn count(&self) -> usize {
        self.apps.len()
    }

    pub(crate) fn broken(&self, what: String) {
        self.world.lock().judge.broken(what);
    }

    /// Whether somebody has had everything forgotten.
    pub(crate) fn was_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Starts a process, in place of the one before.
    pub(crate) fn restart(&mut self, app: usize) {
        let pid = {
            let mut state = self.world.lock();
            if let Some(Some(before)) = self.apps.get(app)
                && state.lives(before.pid)
            {
                state.kill(before.pid);
            }
            let pid = state.start();
            state.note(|| format!("process {pid} starts"));
            pid
        };
        let device = Device {
            world: Arc::clone(&self.world),
            pid,
        };
        let client = Client::builder(ISSUER, CLIENT_ID)
            .redirect(REDIRECT)
            .scopes(["openid", "offline_access"])
            .storage(Arc::new(Storage::new(&device)))
            .clock(Arc::new(device.clone()))
            .random(Arc::new(device.clone()))
            .spawner(Arc::new(device.clone()))
            .process_lock(Arc::new(device.clone()))
            .event_sink(Arc::new(device.clone()))
            .http_transport(Arc::new(device))
            .on_unknown_outcome(self.policy)
            .build();
        match client {
            Ok(client) => {
                if let Some(place) = self.apps.get_mut(app) {
                    *place = Some(App {
                        pid,
                        client,
                        handle: Arc::default(),
                    });
                }
            }
            Err(error) => self.broken(format!("no client: {error:?}")),
        }
        self.bury();
    }

    pub(crate) fn kill_all(&mut self) {
        {
            let mut state = self.world.lock();
            for app in self.apps.iter().flatten() {
                if state.lives(app.pid) {
                    state.kill(app.pid);
                }
            }
        }
        self.bury();
    }

    pub(crate) fn lives(&self, app: usize) -> bool {
        let process = self.apps.get(app).and_then(Option::as_ref);
        process.is_some_and(|process| self.world.lock().lives(process.pid))
    }

    /// A process that lives, for this app.
    fn process(&mut self, app: usize) -> Option<&App> {
        let lives = match self.apps.get(app) {
            Some(Some(process)) => self.world.lock().lives(process.pid),
            _ => false,
        };
        if !lives {
            self.restart(app);
        }
        self.apps.get(app)?.as_ref()
    }

    fn spawn_call(
        &mut self,
        pid: Pid,
        what: String,
        work: impl Future<Output = Given> + Send + 'static,
    ) -> usize {
        let calls = Arc::clone(&self.calls);
        let number = {
            let mut calls = lock(&calls);
            calls.push(Call {
                pid,
                what: what.clone(),
                waits: false,
                given: None,
                cancelled: false,
            });
            calls.len() - 1
        };
        let world = Arc::clone(&self.world);
        world
            .lock()
            .note(|| format!("process {pid}: call {number}: {what}"));
        let task = Box::pin(async move {
            let given = work.await;
            let mut state = world.lock();
            if !state.lives(pid) {
                return;
            }
            state.note(|| format!("process {pid}: call {number} gives {given:?}"));
            if let Err(error) = &given {
                match error.kind() {
                    ErrorKind::SessionEnded(reason) => state.judge.told_of_end(reason.name()),
                    ErrorKind::Internal if error.code() != "no_randomness" => {
                        state.judge.broken(format!("an internal error: {error:?}"));
                    }
                    _ => {}
                }
            }
            if let Some(call) = lock(&calls).get_mut(number)
                && call.given.replace(given).is_some()
            {
                state.judge.broken(format!("call {number} ended twice"));
            }
        });
        self.tasks.push(Running {
            pid,
            call: Some(number),
            task,
            ready: Arc::new(Ready(AtomicBool::new(true))),
        });
        number
    }

    pub(crate) fn call(&mut self, app: usize, what: What) {
        self.begin(app, what);
    }

    fn begin(&mut self, app: usize, what: What) -> Option<usize> {
        let text = match &what {
            // A redirect holds a state.
            What::Deliver(_) => "Deliver".to_owned(),
            other => format!("{other:?}"),
        };
        if let What::SignOut(_) | What::Forget = what {
            self.world.lock().judge.sign_out_begins();
        }
        if let What::Forget = what {
            self.forgotten = true;
        }
        if let What::Refresh = what {
            // From here on: nobody tells when a process that was stopped gets to it.
            self.world.lock().judge.wanted_anew += 1;
        }
        let world = Arc::clone(&self.world);
        let process = self.process(app)?;
        let (pid, client) = (process.pid, process.client.clone());
        let place = Arc::clone(&process.handle);
        Some(self.spawn_call(pid, text, async move {
            let handle = lock(&place).clone();
            let handle = match handle {
                Some(handle) => Some(handle),
                None => match what {
                    What::Token | What::Refresh | What::SignOut(_) => {
                        let session = client.session().await?;
                        keep(&place, session)
                    }
                    _ => None,
                },
            };
            match (what, handle) {
                (What::Open, _) => {
                    let session = client.session().await?;
                    Ok(keep(&place, session).is_some())
                }
                (What::Deliver(redirect), _) => {
                    let session = client.resume_sign_in(&redirect).await?;
                    keep(&place, Some(session));
                    Ok(true)
                }
                (What::Forget, _) => {
                    let begun = world.lock().judge.begun.clone();
                    client.forget_everything().await?;
                    let mut state = world.lock();
                    state.judge.forgotten.extend(begun);
                    state.judge.sign_out_is_done();
                    Ok(false)
                }
                (What::SignOut(_), None) => {
                    world.lock().judge.sign_out_is_done();
                    Ok(false)
                }
                (_, None) => Ok(false),
                (What::Token, Some(handle)) => {
                    let over = handle.signed_out.load(Ordering::Relaxed);
                    let token = handle.session.access_token().await?;
                    let mut state = world.lock();
                    let state = &mut *state;
                    if over {
                        state.judge.broken("a session gave a token after its sign-out");
                    }
                    if state.lives(pid) {
                        let now = state.now;
                        state.judge.handed_out(token.expose(), pid, now, &state.server);
                    }
                    Ok(true)
                }
                (What::Refresh, Some(handle)) => {
                    let over = handle.signed_out.load(Ordering::Relaxed);
                    handle.session.refresh().await?;
                    if over {
                        world
                            .lock()
                            .judge
                            .broken("a session was refreshed after its sign-out");
                    }
                    Ok(true)
                }
                (What::SignOut(how), Some(handle)) => {
                    handle.session.sign_out(how).await?;
                    handle.signed_out.store(true, Ordering::Relaxed);
                    world.lock().judge.sign_out_is_done();
                    Ok(true)
                }
            }
        }))
    }

    /// Calls, and lets time pass until there is an answer; `None` if there never is one.
    pub(crate) fn ask(&mut self, app: usize, what: What) -> Option<Given> {
        let text = format!("{what:?}");
        let number = self.begin(app, what)?;
        for _ in 0..20_000 {
            self.turns(usize::MAX);
            if let Some(given) = lock(&self.calls).get(number).and_then(|call| call.given.clone()) {
                return Some(given);
            }
            if !self.world.lock().advance() {
                break;
            }
        }
        self.broken(format!("{text} never ended"));
        None
    }

    pub(crate) fn begin_sign_in(&mut self, app: usize) {
        self.world.lock().judge.end_was_asked |= self.sign_ins > 0;
        self.sign_ins += 1;
        let world = Arc::clone(&self.world);
        let pages = Arc::clone(&self.pages);
        let Some(process) = self.process(app) else { return };
        let (pid, client) = (process.pid, process.client.clone());
        let place = Arc::clone(&process.handle);
        let calls = Arc::clone(&self.calls);
        let number = lock(&calls).len();
        self.spawn_call(pid, "sign-in".to_owned(), async move {
            let pending = client.begin_sign_in(SignInOptions::default()).await?;
            if let Some(call) = lock(&calls).get_mut(number) {
                call.waits = true;
            }
            {
                let mut state = world.lock();
                if !state.lives(pid) {
                    return Ok(false);
                }
                let (now, unix_seconds) = (state.now, state.true_unix_millis() / 1_000);
                state.judge.begun.insert(pending.diagnostic_id().to_owned());
                match state
                    .server
                    .authorize(pending.authorization_url(), now, unix_seconds)
                {
                    Some(redirect) => lock(&pages).push(Page {
                        redirect,
                        opened_at: now,
                        delivered: false,
                    }),
                    None => state.judge.broken("the authorization request is wrong"),
                }
            }
            let session = pending.wait().await?;
            keep(&place, Some(session));
            Ok(true)
        });
    }

    /// The page that was opened last.
    pub(crate) fn last_page(&self) -> Option<Page> {
        lock(&self.pages).last().cloned()
    }

    /// Browsers follow redirects, some of them twice, and to whichever process the system likes.
    pub(crate) fn deliver_some(&mut self, rng: &mut Rng) {
        let due: Vec<String> = {
            let mut pages = lock(&self.pages);
            let due = pages.iter_mut().filter(|page| {
                let again = page.delivered && rng.u8(0..10) == 0;
                again || (!page.delivered && rng.u8(0..5) > 0)
            });
            due.map(|page| {
                page.delivered = true;
                page.redirect.clone()
            })
            .collect()
        };
        for redirect in due {
            let app = if rng.u8(0..4) > 0 {
                0
            } else {
                rng.usize(0..self.count())
            };
            self.call(app, What::Deliver(redirect.clone()));
            if rng.u8(0..8) == 0 {
                let other = rng.usize(0..self.count());
                self.call(other, What::Deliver(redirect));
            }
            if rng.bool() {
                self.rest(3_000);
            }
        }
    }

    /// Time passes. What falls due happens on its way.
    pub(crate) fn wait(&mut self, millis: u64) {
        let until = self.world.lock().now + millis;
        for _ in 0..20_000 {
            self.turns(usize::MAX);
            let mut state = self.world.lock();
            if !state.advance_until(until) {
                break;
            }
        }
        let mut state = self.world.lock();
        state.now = state.now.max(until);
        state.ring();
    }

    /// Runs until nothing can run; then lets time pass, `advances` times at most, as long as somebody waits for an answer.
    pub(crate) fn rest(&mut self, advances: usize) {
        for _ in 0..=advances {
            self.turns(usize::MAX);
            if advances == 0 || !self.is_awaited() || !self.world.lock().advance() {
                return;
            }
        }
    }

    fn is_awaited(&self) -> bool {
        let state = self.world.lock();
        lock(&self.calls)
            .iter()
            .any(|call| !call.waits && call.given.is_none() && !call.cancelled && state.lives(call.pid))
    }

    /// Runs at most this many tasks.
    pub(crate) fn turns(&mut self, most: usize) {
        for _ in 0..most {
            self.world.lock().ring();
            if !self.turn() {
                return;
            }
            self.obey();
            let mut state = self.world.lock();
            if state.steps > MOST_STEPS {
                state.judge.broken("it goes on and on");
                return;
            }
        }
    }

    /// Runs one task or one piece of blocking work that can run now.
    fn turn(&mut self) -> bool {
        let mut state = self.world.lock();
        if state.steps > MOST_STEPS {
            return false;
        }
        let tasks = self.tasks.iter().enumerate().filter_map(|(at, running)| {
            let can = running.ready.0.load(Ordering::Relaxed)
                && state.lives(running.pid)
                && !state.is_frozen(running.pid);
            can.then_some((at, false))
        });
        let blocking = self.blocking.iter().enumerate().filter_map(|(at, (pid, _))| {
            let can = state.lives(*pid) && !state.is_frozen(*pid);
            can.then_some((at, true))
        });
        let mut can: Vec<(usize, bool)> = tasks.chain(blocking).collect();
        if can.is_empty() {
            return false;
        }
        if self.uneven && state.rng.u8(0..TURNS_UNTIL_ANOTHER_LAGS) == 0 {
            let behind = state.rng.usize(0..=self.apps.len());
            self.behind = self.apps.get(behind).and_then(|app| Some(app.as_ref()?.pid));
        }
        if let Some(behind) = self.behind {
            let others = can.iter().copied().filter(|(at, is_blocking)| {
                let pid = match is_blocking {
                    true => self.blocking.get(*at).map(|(pid, _)| *pid),
                    false => self.tasks.get(*at).map(|running| running.pid),
                };
                pid != Some(behind)
            });
            let others: Vec<_> = others.collect();
            if !others.is_empty() {
                can = others;
            }
        }
        let chosen = state.rng.usize(0..can.len());
        drop(state);
        match can.get(chosen) {
            Some((at, true)) => {
                let (_, work) = self.blocking.swap_remove(*at);
                work();
            }
            Some((at, false)) => {
                if let Some(running) = self.tasks.get_mut(*at) {
                    running.ready.0.store(false, Ordering::Relaxed);
                    let waker = Waker::from(Arc::clone(&running.ready));
                    let polled = running.task.as_mut().poll(&mut Context::from_waker(&waker));
                    if polled == Poll::Ready(()) {
                        drop(self.tasks.swap_remove(*at));
                    }
                }
            }
            None => {}
        }
        true
    }

    /// Takes what was spawned, and does what faults have ordered.
    fn obey(&mut self) {
        let (spawned, orders) = {
            let mut state = self.world.lock();
            (
                std::mem::take(&mut state.spawned),
                std::mem::take(&mut state.orders),
            )
        };
        for (pid, work) in spawned {
            match work {
                Work::Task(task) => self.tasks.push(Running {
                    pid,
                    call: None,
                    task,
                    ready: Arc::new(Ready(AtomicBool::new(true))),
                }),
                Work::Blocking(work) => self.blocking.push((pid, work)),
            }
        }
        for order in orders {
            match order {
                Order::Kill(pid) => {
                    let mut state = self.world.lock();
                    if state.lives(pid) {
                        state.kill(pid);
                    }
                }
                Order::PowerLoss => self.world.lock().lose_power(),
                Order::Cancel(pid) => self.cancel(pid),
                Order::SignOut => {
                    let app = self.some_app();
                    let how = sign_out(&mut self.world.lock().rng);
                    self.call(app, What::SignOut(how));
                }
                Order::SignIn => {
                    let app = self.some_app();
                    self.begin_sign_in(app);
                }
            }
        }
        self.bury();
    }

    fn some_app(&self) -> usize {
        let count = self.count();
        self.world.lock().rng.usize(0..count)
    }

    /// The callers of a process stop waiting.
    fn cancel(&mut self, pid: Pid) {
        let mut gone = Vec::new();
        let calls = Arc::clone(&self.calls);
        self.tasks.retain_mut(|running| {
            let Some(number) = running.call.filter(|_| running.pid == pid) else {
                return true;
            };
            if let Some(call) = lock(&calls).get_mut(number) {
                call.cancelled = true;
            }
            let nothing: BoxFuture<'static, ()> = Box::pin(async {});
            gone.push(std::mem::replace(&mut running.task, nothing));
            false
        });
        drop(gone);
    }

    /// Drops what was left of dead processes.
    fn bury(&mut self) {
        let (dead_tasks, dead_work) = {
            let state = self.world.lock();
            let (live, dead): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tasks)
                .into_iter()
                .partition(|running| state.lives(running.pid));
            self.tasks = live;
            let (live, dead_work): (Vec<_>, Vec<_>) = std::mem::take(&mut self.blocking)
                .into_iter()
                .partition(|(pid, _)| state.lives(*pid));
            self.blocking = live;
            (dead, dead_work)
        };
        drop(dead_tasks);
        drop(dead_work);
    }

    /// Lets everything come to its end: every call of a process that lives has one.
    pub(crate) fn finish(&mut self) {
        for _ in 0..20_000 {
            self.turns(usize::MAX);
            if !self.world.lock().advance() {
                break;
            }
        }
        let mut state = self.world.lock();
        for call in lock(&self.calls).iter() {
            if call.given.is_none() && !call.cancelled && state.lives(call.pid) {
                let what = format!("{} of process {} never ended", call.what, call.pid);
                state.judge.broken(what);
            }
        }
        drop(state);
        self.kill_all();
    }
}

fn keep(place: &Mutex<Option<Handle>>, session: Option<Session>) -> Option<Handle> {
    let handle = session.map(|session| Handle {
        session,
        signed_out: Arc::default(),
    });
    lock(place).clone_from(&handle);
    handle
}
