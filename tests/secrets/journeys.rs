//! Journeys that go well, and those at a server that makes mistakes: each mistake from the beginning, and each from the
//! sign-in on.

use gatepass::SignOut;
use gatepass::test_server::Mistake;

use crate::ears::{self, Ears, canaries};
use crate::world::{World, with_par};

#[tokio::test]
async fn a_good_life_says_nothing_secret() {
    let ears = Ears::open();
    for pushed in [false, true] {
        let world = if pushed {
            World::with(with_par)
        } else {
            World::new()
        };
        world.journey().await;
        assert!(ears.said("signed in"), "the ears hear Gatepass");
        ears.nothing_secret(if pushed { "with PAR" } else { "without PAR" });
    }
    let kinds = canaries().kinds();
    for kind in [
        "access_token",
        "refresh_token",
        "ID token",
        "code",
        "verifier",
        "state",
        "nonce",
        "random octets",
        "code_verifier",
        "id_token_hint",
    ] {
        assert!(kinds.contains(kind), "no canary is a {kind}: {kinds:?}");
    }
    assert!(canaries().len() > 30);
}

#[tokio::test]
async fn no_mistake_of_a_server_makes_anything_secret_said() {
    let ears = Ears::open();
    let mut never_made = Vec::new();
    for &mistake in Mistake::ALL {
        let at_once = World::with(with_par);
        at_once.server.misbehave(mistake);
        at_once.journey().await;
        ears.nothing_secret(&format!("{mistake:?}"));

        let later = World::with(with_par);
        let client = later.client();
        let session = later.sign_in(&client).await.unwrap();
        later.server.misbehave(mistake);
        later.live(&session).await;
        later.sign_in_again(&client).await;
        ears::outcome(&session.sign_out(SignOut::EndSession).await);
        later.finish_up(&client).await;
        ears.nothing_secret(&format!("{mistake:?} after the sign-in"));

        if at_once.server.times_made(mistake) + later.server.times_made(mistake) == 0 {
            never_made.push(mistake);
        }
    }
    assert!(never_made.is_empty(), "not met: {never_made:?}");
}
