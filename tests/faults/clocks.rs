//! Clocks that nobody can rely on: a device that sleeps, restarts, has no battery, or is set by its user, by minutes or by
//! years. A wrong clock costs a refresh at most, never the session, and no token is used for longer than it was good.

use std::sync::Arc;

use async_trait::async_trait;
use gatepass::{
    Client, Clock, Delivery, ErrorKind, LockFailure, LockGuard, ProcessLock, Session, SessionState,
};
use tokio::sync::watch;

use crate::world::{Answer, World, granted};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;
/// What the wall clock shows at first: some day in 2023.
const NOON: i64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
struct Shown {
    unix_millis: i64,
    boot_millis: u64,
    boot_id: Option<String>,
}

/// The clocks of a device that can be put to sleep, set and restarted.
#[derive(Debug)]
struct Device(watch::Sender<Shown>);

impl Device {
    fn new(boot_id: Option<&str>) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Shown {
            unix_millis: NOON,
            boot_millis: 3 * HOUR,
            boot_id: boot_id.map(str::to_owned),
        })))
    }

    /// Time passes, awake or asleep: both clocks count it.
    fn pass(&self, millis: u64) {
        self.0.send_modify(|shown| {
            shown.unix_millis = shown.unix_millis.saturating_add_unsigned(millis);
            shown.boot_millis += millis;
        });
    }

    /// Somebody sets the wall clock.
    fn set(&self, unix_millis: i64) {
        self.0.send_modify(|shown| shown.unix_millis = unix_millis);
    }

    /// Off for so long, and on again: the boot clock begins anew. The wall clock goes on.
    fn restart(&self, off: u64) {
        self.0.send_modify(|shown| {
            shown.unix_millis = shown.unix_millis.saturating_add_unsigned(off);
            shown.boot_millis = 7_000;
            shown.boot_id = shown.boot_id.as_ref().map(|before| format!("after {before}"));
        });
    }
}

#[async_trait]
impl Clock for Device {
    fn unix_millis(&self) -> i64 {
        self.0.borrow().unix_millis
    }

    fn boot_millis(&self) -> u64 {
        self.0.borrow().boot_millis
    }

    fn boot_id(&self) -> Option<String> {
        self.0.borrow().boot_id.clone()
    }

    async fn sleep_until(&self, boot_millis: u64) {
        let left = boot_millis.saturating_sub(self.boot_millis());
        self.pass(left);
        tokio::task::yield_now().await;
    }
}

/// A session whose tokens came at noon and live for an hour: `A2`, `R2`.
struct Signed {
    world: World,
    device: Arc<Device>,
}

impl Signed {
    async fn at_noon(boot_id: Option<&str>) -> Self {
        let signed = Self {
            world: World::signed_in(),
            device: Device::new(boot_id),
        };
        signed.world.net.answer([granted("R2", "A2")]);
        signed.start().await.1.refresh().await.unwrap();
        signed
    }

    /// The app is started.
    async fn start(&self) -> (Client, Session) {
        let client = self.world.client_with(|b| b.clock(self.device.clone()));
        let session = client.session().await.unwrap().unwrap();
        (client, session)
    }

    fn refreshes(&self) -> usize {
        // Without the one at noon.
        self.world.net.refreshes().len() - 1
    }

    /// Whatever the clocks show: signed in, and after a refresh with the newest token all is well.
    async fn lives_on(&self, what: &str) {
        let (client, session) = self.start().await;
        assert_eq!(client.state().get(), SessionState::SignedIn, "{what}");
        self.world.net.answer([granted("R3", "A3")]);
        session.refresh().await.unwrap();
        assert_eq!(session.peek().unwrap().expose(), "A3", "{what}");
        let last = self.world.net.refreshes().pop().unwrap();
        assert_eq!(last, "R2", "{what}");
    }
}

fn peeked(session: &Session) -> Option<String> {
    session.peek().map(|token| token.expose().to_owned())
}

#[tokio::test]
async fn rr_51_a_token_ends_while_the_device_sleeps_whatever_the_wall_clock_shows() {
    for wall in [
        NOON,
        NOON - 1_000 * 3600,
        0,
        i64::MIN,
        i64::MAX,
        NOON + 10 * YEAR as i64,
    ] {
        let signed = Signed::at_noon(Some("one")).await;
        let (_, session) = signed.start().await;
        signed.device.pass(HOUR - 6_000);
        signed.device.set(wall);
        assert_eq!(peeked(&session).as_deref(), Some("A2"), "{wall}");
        // The same for a process that is started now.
        assert_eq!(peeked(&signed.start().await.1).as_deref(), Some("A2"), "{wall}");
        signed.device.pass(1_000);
        signed.device.set(wall);
        assert_eq!(peeked(&session), None, "{wall}");
        assert_eq!(peeked(&signed.start().await.1), None, "{wall}");
        assert_eq!(signed.refreshes(), 0, "{wall}");
        signed.lives_on("after a sleep").await;
    }
}

#[tokio::test]
async fn rr_51_across_a_restart_a_token_keeps_the_life_it_has_left() {
    let signed = Signed::at_noon(Some("one")).await;
    signed.device.pass(10 * MINUTE);
    signed.device.restart(20 * MINUTE);
    let (_, session) = signed.start().await;
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    assert_eq!(session.expires_in().unwrap().as_secs(), 30 * 60);
    // From here on by the boot clock of this run: the user may set the other one.
    signed.device.set(0);
    signed.device.pass(30 * MINUTE - 5_001);
    assert_eq!(peeked(&session).as_deref(), Some("A2"));
    signed.device.pass(1);
    assert_eq!(peeked(&session), None);
    assert_eq!(signed.refreshes(), 0);
    signed.lives_on("after a restart").await;
}

#[tokio::test]
async fn rr_51_a_token_that_ended_while_the_device_was_off_is_not_used() {
    for off in [HOUR - 5_000, HOUR, YEAR, 1_000 * YEAR] {
        let signed = Signed::at_noon(Some("one")).await;
        signed.device.restart(off);
        let (_, session) = signed.start().await;
        assert_eq!(peeked(&session), None, "{off}");
        signed.world.net.answer([granted("R3", "A3")]);
        assert_eq!(session.access_token().await.unwrap().expose(), "A3", "{off}");
        assert_eq!(signed.refreshes(), 1, "{off}");
    }
}

#[tokio::test]
async fn rr_53_after_a_restart_with_a_clock_that_was_set_back_a_new_token_is_fetched_first() {
    // No battery: 1970, or some years ago, or an hour.
    for wall in [0, i64::MIN, NOON - YEAR as i64, NOON - HOUR as i64] {
        let signed = Signed::at_noon(Some("one")).await;
        signed.device.restart(0);
        signed.device.set(wall);
        let (_, session) = signed.start().await;
        // Nobody can tell how long it was off. What is left is the old token, and only where no newer can be had.
        signed.world.net.answer([Answer::Fails(Delivery::NotSent)]);
        assert_eq!(session.access_token().await.unwrap().expose(), "A2", "{wall}");
        assert_eq!(signed.refreshes(), 1, "{wall}: asked for first");
        signed.device.pass(10_000);
        signed.world.net.answer([granted("R3", "A3")]);
        assert_eq!(session.access_token().await.unwrap().expose(), "A3", "{wall}");
        assert_eq!(session.expires_in().unwrap().as_secs(), 3_600, "{wall}");
    }
    // And never for longer than it was given, whatever the clocks show.
    let signed = Signed::at_noon(Some("one")).await;
    signed.device.restart(0);
    signed.device.set(i64::MIN);
    let (_, session) = signed.start().await;
    assert_eq!(session.expires_in().unwrap().as_secs(), 3_600);
    signed.device.pass(HOUR);
    assert_eq!(peeked(&session), None);
}

#[tokio::test]
async fn rr_53_after_a_restart_with_a_clock_that_is_ahead_a_refresh_is_all_it_costs() {
    for wall in [NOON + HOUR as i64, NOON + 100 * YEAR as i64, i64::MAX] {
        let signed = Signed::at_noon(Some("one")).await;
        signed.device.restart(0);
        signed.device.set(wall);
        let (_, session) = signed.start().await;
        assert_eq!(peeked(&session), None, "{wall}");
        signed.world.net.answer([granted("R3", "A3")]);
        assert_eq!(session.access_token().await.unwrap().expose(), "A3", "{wall}");
        // Then the network sets the clock right: nothing comes of it.
        signed.device.set(NOON);
        assert_eq!(peeked(&session).as_deref(), Some("A3"), "{wall}");
        assert_eq!(peeked(&signed.start().await.1).as_deref(), Some("A3"), "{wall}");
        assert_eq!(signed.refreshes(), 1, "{wall}");
    }
}

#[tokio::test]
async fn rr_51_where_the_platform_does_not_name_its_runs_the_wall_clock_counts_between_processes() {
    let signed = Signed::at_noon(None).await;
    let (_, session) = signed.start().await;
    signed.device.pass(30 * MINUTE);
    // Within a process the boot clock counts all the same.
    signed.device.set(NOON + YEAR as i64);
    assert_eq!(peeked(&session).as_deref(), Some("A2"));
    assert_eq!(peeked(&signed.start().await.1), None);
    signed.device.set(NOON + 30 * MINUTE as i64);
    assert_eq!(peeked(&signed.start().await.1).as_deref(), Some("A2"));
    signed.device.set(NOON + HOUR as i64);
    assert_eq!(peeked(&signed.start().await.1), None);
    signed.lives_on("without names of runs").await;
}

/// There is no lock here, so only the journal tells of another process.
#[derive(Debug)]
struct Broken;

impl ProcessLock for Broken {
    fn try_lock(&self, _name: &str) -> Result<Option<LockGuard>, LockFailure> {
        Err(LockFailure("no locks here".to_owned()))
    }
}

#[tokio::test]
async fn r_8_3_no_clock_makes_an_attempt_of_before_look_as_if_it_were_under_way_for_long() {
    // A process died with its request out; then the device restarts, and the wall clock shows anything.
    for wall in [
        0,
        i64::MIN,
        NOON - 1,
        NOON - YEAR as i64,
        NOON + MINUTE as i64,
        i64::MAX,
    ] {
        let signed = Signed::at_noon(Some("one")).await;
        let mut record = signed.world.disk.session();
        record["journal"] = serde_json::json!({
            "attempt_id": "gp-died", "uncertain": false, "number": 9,
            "begun": { "boot_millis": 3 * HOUR, "boot_id": "one", "unix_millis": NOON },
        });
        signed.world.disk.write(&record);
        signed.device.restart(0);
        signed.device.set(wall);
        let client = signed
            .world
            .client_with(|b| b.clock(signed.device.clone()).process_lock(Arc::new(Broken)));
        let session = client.session().await.unwrap().unwrap();
        signed.world.net.answer([granted("R3", "A3")]);
        if let Err(error) = session.refresh().await {
            // A clock that shows about that time may be right. Then it takes its 45 seconds, and no more.
            assert_eq!(error.code(), "refresh_busy", "{wall}");
            signed.device.pass(45_000);
            session
                .refresh()
                .await
                .unwrap_or_else(|error| panic!("{wall}: {error:?}"));
        }
        assert_eq!(signed.world.disk.session()["refresh_token"], "R3", "{wall}");
    }
    // A moment later it may well be under way.
    let signed = Signed::at_noon(Some("one")).await;
    let mut record = signed.world.disk.session();
    record["journal"] = serde_json::json!({
        "attempt_id": "gp-other", "uncertain": false, "number": 9,
        "begun": { "boot_millis": 3 * HOUR, "boot_id": "one", "unix_millis": NOON },
    });
    signed.world.disk.write(&record);
    signed.device.pass(20_000);
    let client = signed
        .world
        .client_with(|b| b.clock(signed.device.clone()).process_lock(Arc::new(Broken)));
    let session = client.session().await.unwrap().unwrap();
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::RateLimited, "refresh_busy")
    );
    signed.device.pass(45_000);
    signed.world.net.answer([granted("R3", "A3")]);
    session.refresh().await.unwrap();
}
