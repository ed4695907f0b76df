//! Every fault of the test server at every endpoint: lost, late, cut, spoilt and foreign answers.

use std::time::Duration;

use gatepass::SignOut;
use gatepass::test_server::{CannedAnswer, Endpoint, FaultError, FaultPlan, PlannedFault};

use crate::ears::{self, Ears};
use crate::world::{World, with_par};

type Plan = fn(FaultPlan) -> Result<Box<dyn Fired>, FaultError>;

/// A fault, or a gate that opens by itself once somebody stands before it.
trait Fired {
    fn fired(&self) -> u64;
}

impl Fired for PlannedFault {
    fn fired(&self) -> u64 {
        Self::fired(self)
    }
}

fn fault(planned: Result<PlannedFault, FaultError>) -> Result<Box<dyn Fired>, FaultError> {
    planned.map(|planned| Box::new(planned) as Box<dyn Fired>)
}

/// The methods of [`FaultPlan`], by their names.
const EFFECTS: [(&str, Plan); 13] = [
    ("drop_before_processing", |plan| {
        fault(plan.drop_before_processing())
    }),
    ("drop_after_processing", |plan| {
        fault(plan.drop_after_processing())
    }),
    ("delay", |plan| fault(plan.delay(Duration::from_secs(20)))),
    ("delay_answer", |plan| {
        fault(plan.delay_answer(Duration::from_secs(20)))
    }),
    ("truncate_body", |plan| fault(plan.truncate_body())),
    ("content_type", |plan| fault(plan.content_type("text/plain"))),
    ("duplicate_member", |plan| {
        fault(plan.duplicate_member("access_token"))
    }),
    ("change_body", |plan| {
        fault(plan.change_body(|body| body.repeat(2)))
    }),
    ("header", |plan| fault(plan.header("x-more", "1"))),
    ("answer", |plan| {
        fault(plan.answer(CannedAnswer::captive_portal()))
    }),
    ("answer", |plan| {
        fault(plan.answer(CannedAnswer::oversized(8 << 20)))
    }),
    ("answer", |plan| {
        fault(plan.answer(CannedAnswer::redirect(302, "https://portal.example.net/?x=1")))
    }),
    ("answer_after_processing", |plan| {
        fault(plan.answer_after_processing(CannedAnswer::oauth_error(400, "invalid_grant")))
    }),
];
/// Those that wait for the test: `a_journey_that_is_left_in_the_middle…` stands in them.
const GATES: [&str; 2] = ["hold", "hold_answer"];

const ENDPOINTS: [Endpoint; 11] = [
    Endpoint::Any,
    Endpoint::Metadata,
    Endpoint::JwkSet,
    Endpoint::PushedAuthorization,
    Endpoint::Authorization,
    Endpoint::SignInPage,
    Endpoint::Token,
    Endpoint::Userinfo,
    Endpoint::Api,
    Endpoint::Revocation,
    Endpoint::EndSession,
];

/// A new fault or endpoint must be met here as well.
#[test]
fn every_fault_and_every_endpoint_is_listed() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/test_server/faults.rs")).unwrap();
    let plans = source
        .split("\nimpl FaultPlan {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    for method in plans.split("pub fn ").skip(1) {
        let name = method.split('(').next().unwrap();
        let listed = EFFECTS.iter().any(|(effect, _)| *effect == name) || GATES.contains(&name);
        assert!(listed, "no journey meets the fault {name}");
    }
    let endpoints = source
        .split("\npub enum Endpoint {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    let variants = endpoints
        .lines()
        .filter(|line| line.trim_end().ends_with(',') && !line.contains("//"));
    assert_eq!(
        variants.count(),
        ENDPOINTS.len(),
        "no journey meets one of the endpoints"
    );
}

#[tokio::test]
async fn no_fault_makes_anything_secret_said() {
    let ears = Ears::open();
    let mut never_fired = Vec::new();
    for endpoint in ENDPOINTS {
        for (name, plan) in EFFECTS {
            let what = format!("{name} at {endpoint:?}");
            let world = World::with(with_par);
            let client = world.client();
            // Before the sign-in where it would meet nothing later, else after it.
            let early = matches!(
                endpoint,
                Endpoint::Metadata
                    | Endpoint::JwkSet
                    | Endpoint::PushedAuthorization
                    | Endpoint::Authorization
                    | Endpoint::SignInPage
            );
            let planned = if early {
                let planned = plan(world.server.fault(endpoint).every()).unwrap();
                world.journey().await;
                planned
            } else {
                let session = world.sign_in(&client).await.unwrap();
                let planned = plan(world.server.fault(endpoint).every()).unwrap();
                ears::outcome(&session.http().get(world.server.api_url()).send().await);
                ears::outcome(&session.userinfo().await);
                ears::outcome(&session.refresh().await);
                ears::outcome(&session.access_token().await);
                if endpoint == Endpoint::Token {
                    drop(world.sign_in(&client).await);
                }
                ears::outcome(&session.sign_out(SignOut::EndSession).await);
                planned
            };
            world.finish_up(&client).await;
            ears.nothing_secret(&what);
            // Not every answer has what the others spoil.
            if planned.fired() == 0 && !matches!(name, "duplicate_member" | "truncate_body" | "change_body") {
                never_fired.push(what);
            }
        }
    }
    assert!(never_fired.is_empty(), "met nothing: {never_fired:?}");
}

/// Cancelled in the middle, called off by the user, out of time: with the request, and with the answer, under way.
#[tokio::test]
async fn a_journey_that_is_left_in_the_middle_says_nothing_secret() {
    let ears = Ears::open();
    for answer in [false, true] {
        for endpoint in [
            Endpoint::Token,
            Endpoint::Api,
            Endpoint::Userinfo,
            Endpoint::Revocation,
        ] {
            let world = World::with(with_par);
            let client = world.client();
            let session = world.sign_in(&client).await.unwrap();
            let plan = world.server.fault(endpoint).every();
            let gate = if answer { plan.hold_answer() } else { plan.hold() }.unwrap();
            let (own, url) = (session.clone(), world.server.api_url());
            let task = tokio::spawn(async move {
                match endpoint {
                    Endpoint::Token => drop(own.refresh().await),
                    Endpoint::Api => drop(own.http().get(url).send().await),
                    Endpoint::Userinfo => drop(own.userinfo().await),
                    _ => drop(own.sign_out(SignOut::Revoke).await),
                }
            });
            gate.arrived(1).await;
            task.abort();
            drop(task.await);
            if endpoint == Endpoint::Api {
                // One that has no time to wait.
                let late = session
                    .http()
                    .get(world.server.api_url())
                    .timeout(Duration::from_millis(20));
                ears::outcome(&late.send().await);
            }
            ears::print("session", &session);
            gate.release();
            world.finish_up(&client).await;
            ears.nothing_secret(&format!("left at {endpoint:?}, answer held: {answer}"));
        }
    }
    let world = World::new();
    let client = world.client();
    for end in ["cancelled", "superseded", "expired"] {
        let pending = client.begin_sign_in(World::options()).await.unwrap();
        match end {
            "cancelled" => pending.cancel(),
            "superseded" => drop(client.begin_sign_in(World::options()).await.unwrap()),
            _ => world.clock.advance(Duration::from_secs(16 * 60)),
        }
        ears::outcome(&pending.wait().await);
        ears::print("pending", &pending);
    }
    world.clock.advance(Duration::from_secs(16 * 60));
    world.finish_up(&client).await;
    ears.nothing_secret("cancelled, superseded, expired");
}
