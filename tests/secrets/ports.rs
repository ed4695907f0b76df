//! What the ports of an app do wrong: storage that is locked, full, lost or damaged, and ports that panic with all they
//! were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gatepass::{
    ErrorKind, EventSink, Generation, HttpFailure, HttpRequest, HttpResponse, HttpTransport, Random,
    RandomFailure, RecordKey, SecureStorage as _, SessionEvent, SessionId, SignOut, StorageFailure,
    UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn,
};

use crate::ears::{self, Ears};
use crate::world::{Ask, World};

#[tokio::test]
async fn no_failure_of_storage_makes_anything_secret_said() {
    let ears = Ears::open();
    for failure in [
        StorageFailure::Locked,
        StorageFailure::Lost("the key is gone".into()),
        StorageFailure::Failed("no space left on device".into()),
    ] {
        for failing in [Ask::Load, Ask::Commit, Ask::Remove, Ask::List] {
            let world = World::new();
            let client = world.client();
            let session = world.sign_in(&client).await.unwrap();
            let plan = {
                let failure = failure.clone();
                move |ask: Ask, _: &RecordKey, _: &[u8]| {
                    if ask == failing {
                        Err(failure.clone())
                    } else {
                        Ok(())
                    }
                }
            };
            world.storage.plan(plan);
            world.live(&session).await;
            drop(world.sign_in(&client).await);
            ears::outcome(&session.sign_out(SignOut::Revoke).await);
            ears::outcome(&client.forget_everything().await);
            world.finish_up(&client).await;
            world.storage.behave();
            world.finish_up(&client).await;
            ears.nothing_secret(&format!("{failing:?} fails: {failure}"));
        }
    }
}

/// A record that is cut, flipped or of another version holds the tokens all the same.
#[tokio::test]
async fn a_damaged_record_is_not_quoted() {
    let ears = Ears::open();
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 3),
        |bytes: &mut Vec<u8>| bytes[0] = b'[',
        |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"{}"),
        |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8_lossy(bytes)
                .replace("\"v\":1", "\"v\":9")
                .into_bytes()
        },
        |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8_lossy(bytes)
                .replace("\"refresh_token\":", "\"epoch\":")
                .into_bytes()
        },
        |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8_lossy(bytes)
                .replace("gpt_", "g\u{202e}")
                .into_bytes()
        },
    ] {
        let world = World::new();
        let client = world.client();
        let session = world.sign_in(&client).await.unwrap();
        let pending = client.begin_sign_in(World::options()).await.unwrap();
        let user = &world.server.users()[0];
        let redirect = world
            .server
            .browser()
            .sign_in(pending.authorization_url(), user)
            .await
            .unwrap();
        for key in world.storage.list("").unwrap() {
            let stored = world.storage.load(&key).unwrap().unwrap();
            let mut bytes = stored.bytes.to_vec();
            damage(&mut bytes);
            world.storage.commit(&key, stored.generation, &bytes).unwrap();
        }
        world.look_around(&client).await;
        world.live(&session).await;
        ears::outcome(&client.resume_sign_in(&redirect).await);
        pending.cancel();
        ears::outcome(&pending.wait().await);
        ears::outcome(&session.sign_out(SignOut::EndSession).await);
        world.finish_up(&client).await;
        ears.nothing_secret("a damaged record");
    }
}

/// Two processes that write the same record: what is in the way is not quoted.
#[tokio::test]
async fn a_conflict_is_not_quoted() {
    let ears = Ears::open();
    let world = World::new();
    let client = world.client();
    let session = world.sign_in(&client).await.unwrap();
    let storage = Arc::clone(&world.storage);
    let busy = AtomicBool::new(false);
    world.storage.plan(move |ask, key, _| {
        if ask == Ask::Commit && !busy.swap(true, Ordering::SeqCst) {
            let stored = storage.load(key).unwrap();
            let at = stored
                .as_ref()
                .map_or(Generation::ABSENT, |stored| stored.generation);
            let bytes = stored.map(|stored| stored.bytes.to_vec()).unwrap_or_default();
            drop(storage.commit(key, at, &bytes));
            busy.store(false, Ordering::SeqCst);
        }
        Ok(())
    });
    ears::outcome(&session.refresh().await);
    drop(world.sign_in(&client).await);
    ears::outcome(&session.sign_out(SignOut::Revoke).await);
    world.storage.behave();
    world.finish_up(&client).await;
    ears.nothing_secret("a conflict");
}

/// Panics with what it is given, printed.
#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl Panicking {
    fn maybe(&self, given: &dyn std::fmt::Debug) {
        if self.0.load(Ordering::SeqCst) {
            panic!("expected by this test, given {given:?} and {given:#?}");
        }
    }
}

#[async_trait]
impl HttpTransport for Panicking {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        self.maybe(&request);
        self.maybe(&request.headers);
        let answer = crate::hostile::plain(request).await;
        self.maybe(&answer);
        answer
    }
}

impl EventSink for Panicking {
    fn event(&self, session: Option<&SessionId>, event: SessionEvent) {
        self.maybe(&(session, event));
    }
}

#[async_trait]
impl UserAgent for Panicking {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        self.maybe(&request);
        Ok(UserAgentReturn::Opened)
    }
}

impl Random for Panicking {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        crate::world::Dice.fill(buffer)?;
        self.maybe(&"no random numbers");
        Ok(())
    }
}

#[tokio::test]
async fn a_port_that_panics_tells_nothing_secret_and_takes_nobody_along() {
    let ears = Ears::open();
    for which in ["transport", "storage", "events", "user agent", "random"] {
        let world = World::new();
        let port = Arc::new(Panicking::default());
        let builder = match which {
            "transport" => world.builder().http_transport(port.clone()),
            "events" => world.builder().event_sink(port.clone()),
            "user agent" => world.builder().user_agent(port.clone()),
            "random" => world.builder().random(port.clone()),
            _ => world.builder(),
        };
        let client = builder.build().unwrap();
        let session = world.sign_in(&client).await.unwrap();
        port.0.store(true, Ordering::SeqCst);
        if which == "storage" {
            world
                .storage
                .plan(|ask, key, _| panic!("expected by this test: {ask:?} {key:?}"));
        }
        let refreshed = session.refresh().await;
        ears::outcome(&refreshed);
        if matches!(which, "transport" | "storage") {
            assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::Internal, "{which}");
            assert!(ears.said("expected by this test"), "the ears hear panics");
        }
        // In tasks of their own, as the port may panic in the caller's.
        let tries = [
            tokio::spawn({
                let session = session.clone();
                async move { drop(session.userinfo().await) }
            }),
            tokio::spawn({
                let client = client.clone();
                async move { drop(client.sign_in(World::options()).await) }
            }),
            tokio::spawn({
                let session = session.clone();
                async move { drop(session.sign_out(SignOut::EndSession).await) }
            }),
        ];
        for task in tries {
            // A browser that stays open ends with the time of the sign-in.
            let abort = task.abort_handle();
            let over = async {
                loop {
                    tokio::task::yield_now().await;
                    if task.is_finished() {
                        return task.await;
                    }
                    world.clock.advance(std::time::Duration::from_secs(60));
                }
            };
            if let Err(failed) = over.await {
                ears::say("a task", &failed);
            }
            abort.abort();
        }
        world.storage.behave();
        port.0.store(false, Ordering::SeqCst);
        world.finish_up(&client).await;
        ears.nothing_secret(which);
    }
}
