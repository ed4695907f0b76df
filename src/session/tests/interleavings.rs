//! Callers, publishers and a sign-out in every order that some thousand schedules try out.
//!
//! The scheduler is shuttle's: each test runs again and again, each time in another order, random or with few but badly
//! placed changes of thread. What fails prints its schedule, and `shuttle::replay` runs that one again. The steps between
//! which another thread can come are those of [`sync`](crate::sync), of every port, and every await.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::super::begin::Begun;
use super::super::record::SessionRecord;
use super::super::{Session, SessionState, SignOut};
use super::world::{Shuttle, World, record};
use crate::client::Client;
use crate::error::{EndReason, ErrorKind};
use crate::ports::{BoxFuture, Spawner};
use crate::protocol::target::Target;
use crate::sync::lock;

/// Runs a test in this many random orders, and as many in which priorities change a few times.
fn in_every_order(count: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // A refresh in a build for tests needs more than the 60 kB that a small thread gets.
    config.stack_size = 0x10_0000;
    // Whoever waits for a lock tries again and again, so a deadlock shows as steps without end.
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    // The same orders in every run: what is found today is found tomorrow.
    let random = RandomScheduler::new_from_seed(0x6761_7465, count);
    Runner::new(random, config.clone()).run(move || again());
    let few_changes = PctScheduler::new_from_seed(0x7061_7373, 3, count);
    Runner::new(few_changes, config).run(move || test());
}

/// Begins a call on a thread of its own.
fn asks_for_a_token(session: &Session) -> JoinHandle<crate::error::Result<String>> {
    let session = session.clone();
    spawn(async move { Ok(session.access_token().await?.expose().to_owned()) })
}

async fn session_of(client: &Client) -> Session {
    client.session().await.unwrap().unwrap()
}

/// Counts a call that has got as far as it can without somebody else.
async fn arriving<T>(arrived: Arc<AtomicUsize>, call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let mut is_first = true;
    poll_fn(|context| {
        let polled = call.as_mut().poll(context);
        if std::mem::take(&mut is_first) {
            arrived.fetch_add(1, Ordering::SeqCst);
        }
        polled
    })
    .await
}

/// Keeps the tasks that it is given until it is told to begin them.
#[derive(Default)]
struct Waiting {
    holds: Mutex<bool>,
    tasks: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Waiting {
    /// Begins them, and says how many there were.
    fn begin(&self) -> usize {
        *lock(&self.holds) = false;
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let count = tasks.len();
        for task in tasks {
            Shuttle.spawn(task);
        }
        count
    }
}

impl Spawner for Waiting {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if *lock(&self.holds) {
            lock(&self.tasks).push(task);
        } else {
            Shuttle.spawn(task);
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        Shuttle.spawn_blocking(work);
    }
}

#[test]
fn rr_01_callers_at_once_begin_one_flight_and_the_next_caller_another() {
    in_every_order(400, || {
        block_on(async {
            let world = World::signed_in();
            let tasks = Arc::new(Waiting::default());
            let client = world.client_with("app", |builder| builder.spawner(tasks.clone()));
            let session = session_of(&client).await;
            *lock(&tasks.holds) = true;
            let arrived = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let (session, arrived) = (session.clone(), arrived.clone());
                    spawn(async move { arriving(arrived, session.refresh()).await })
                })
                .collect();
            while arrived.load(Ordering::SeqCst) < callers.len() {
                yield_now().await;
            }
            assert_eq!(tasks.begin(), 1, "one flight for all of them");
            for caller in callers {
                caller.await.unwrap().unwrap();
            }
            assert_eq!(world.server.refreshes(), 1);
            // It has landed: whoever asks now is not told of it.
            session.refresh().await.unwrap();
            assert_eq!(world.server.refreshes(), 2);
            client.drain().await;
            world.server.was_treated_well();
        });
    });
}

#[test]
fn rr_01_in_every_order_callers_at_expiry_cause_one_request() {
    in_every_order(400, || {
        block_on(async {
            let world = World::signed_in();
            let client = world.client("app");
            let session = session_of(&client).await;
            let callers: Vec<_> = (0..3).map(|_| asks_for_a_token(&session)).collect();
            for caller in callers {
                assert_eq!(caller.await.unwrap().unwrap(), "A2");
            }
            client.drain().await;
            assert_eq!(world.server.refreshes(), 1);
            world.server.was_treated_well();
            assert_eq!(session.peek().unwrap().expose(), "A2");
            assert!(world.events.named("Refreshed") >= 1);
        });
    });
}

#[test]
fn rr_02_rr_03_in_every_order_two_processes_at_expiry_cause_one_request() {
    in_every_order(150, || {
        block_on(async {
            let world = World::signed_in();
            let mut callers = Vec::new();
            let mut clients = Vec::new();
            for process in ["app", "extension"] {
                let client = world.client(process);
                let session = session_of(&client).await;
                callers.extend((0..2).map(|_| asks_for_a_token(&session)));
                clients.push((client, session));
            }
            for caller in callers {
                assert_eq!(caller.await.unwrap().unwrap(), "A2");
            }
            for (client, session) in clients {
                client.drain().await;
                assert_eq!(session.peek().unwrap().expose(), "A2");
            }
            assert_eq!(world.server.refreshes(), 1);
            world.server.was_treated_well();
        });
    });
}

#[test]
fn rr_23_in_every_order_nothing_comes_back_after_a_sign_out() {
    in_every_order(250, || {
        block_on(async {
            let world = World::signed_in();
            let client = world.client("app");
            let session = session_of(&client).await;
            let callers: Vec<_> = (0..2).map(|_| asks_for_a_token(&session)).collect();
            let signed_out = {
                let session = session.clone();
                spawn(async move {
                    session.sign_out(SignOut::Local).await.unwrap();
                    assert!(session.peek().is_none());
                    assert_eq!(session.state().get(), SessionState::SignedOut);
                })
            };
            let observer = {
                let session = session.clone();
                spawn(async move {
                    let mut state = session.state();
                    state.wait_for(|state| *state == SessionState::SignedOut).await;
                    assert!(session.peek().is_none(), "signed out, and there is a token");
                })
            };
            for caller in callers {
                match caller.await.unwrap() {
                    Ok(token) => assert_eq!(token, "A2"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
                    }
                }
            }
            signed_out.await.unwrap();
            observer.await.unwrap();
            client.drain().await;
            assert!(session.peek().is_none());
            assert_eq!(client.state().get(), SessionState::SignedOut);
            assert!(world.stored().signed_in().is_none());
            assert!(world.server.refreshes() <= 1);
            world.server.was_treated_well();
        });
    });
}

#[test]
fn rr_06_in_every_order_a_caller_that_goes_away_takes_nothing_with_it() {
    in_every_order(250, || {
        block_on(async {
            let world = World::signed_in();
            let client = world.client("app");
            let session = session_of(&client).await;
            let [first, second] = [asks_for_a_token(&session), asks_for_a_token(&session)];
            // Somewhere between its first step and its last.
            first.abort();
            assert_eq!(second.await.unwrap().unwrap(), "A2");
            drop(first.await);
            client.drain().await;
            assert_eq!(world.server.refreshes(), 1);
            assert_eq!(world.refresh_token(), "R2");
            world.server.was_treated_well();
        });
    });
}

#[test]
fn rr_24_in_every_order_a_refresh_does_not_take_the_place_of_a_new_sign_in() {
    in_every_order(250, || {
        block_on(async {
            let world = World::signed_in();
            let client = world.client("app");
            let session = session_of(&client).await;
            let caller = asks_for_a_token(&session);
            let anew = {
                let slot = Arc::clone(&session.slot);
                // Another grant, whose tokens have high numbers.
                let tokens = SessionRecord::decode(record(1, 100).as_bytes()).unwrap();
                spawn(async move {
                    let signed_in = tokens.signed_in().unwrap().clone();
                    match slot
                        .begin(signed_in, &|| Box::pin(async { Ok(true) }))
                        .await
                        .unwrap()
                    {
                        Begun::Session(session) => session,
                        Begun::Overtaken { .. } | Begun::Unwanted => panic!("nobody else signs in"),
                    }
                })
            };
            match caller.await.unwrap() {
                Ok(token) => assert_eq!(token, "A2", "of its own session"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
                }
            }
            let anew = anew.await.unwrap();
            client.drain().await;
            assert_eq!(world.refresh_token(), "R100");
            assert_eq!(anew.peek().unwrap().expose(), "A100");
            assert!(session.peek().is_none(), "its session is over");
            assert_eq!(client.state().get(), SessionState::SignedIn);
            world.server.was_treated_well();
        });
    });
}

#[test]
fn in_every_order_what_is_published_only_becomes_newer() {
    in_every_order(1_000, || {
        block_on(async {
            let world = World::signed_in();
            let client = world.client("app");
            let session = session_of(&client).await;
            let signed_in = |generation| SessionRecord::decode(record(1, generation).as_bytes()).unwrap();
            let mut over = signed_in(3).ended(EndReason::SignedOut, 0);
            over.epoch = 2;
            let published = |session: &Session| {
                let snapshot = session.published(&Target::default());
                snapshot.map(|snapshot| snapshot.generation)
            };
            let publishers = [signed_in(2), signed_in(3), over].map(|record| {
                let session = session.clone();
                spawn(async move {
                    session.slot.publish(&record);
                    // From when it was published on, there is nothing older.
                    let least = record.signed_in().map(|_| record.generation);
                    let now = published(&session);
                    assert!(
                        now.is_none() || least.is_some_and(|least| now >= Some(least)),
                        "{now:?} after {least:?}"
                    );
                })
            });
            let observer = {
                let session = session.clone();
                spawn(async move {
                    let mut last = published(&session);
                    for _ in 0..12 {
                        let is_over = session.state().get() == SessionState::SignedOut;
                        let now = published(&session);
                        assert!(now.is_none() || !is_over, "signed out, and there is a token");
                        assert!(
                            now.is_none() || now >= last && last.is_some(),
                            "{now:?} after {last:?}"
                        );
                        last = now;
                    }
                })
            };
            for publisher in publishers {
                publisher.await.unwrap();
            }
            observer.await.unwrap();
            assert_eq!(published(&session), None);
            assert_eq!(session.state().get(), SessionState::SignedOut);
            assert_eq!(client.state().get(), SessionState::SignedOut);
        });
    });
}
