//! One redirect URI for each authorization server (RFC 8252 §8.10).
//!
//! A server that is hostile can send the user on to an honest one, and have the honest one's code delivered to an app that
//! takes it to the hostile one (mix-up, RFC 9700 §4.4). An app that uses several servers is safe if each has a redirect URI
//! of its own, or if all of them say in the callback who they are (RFC 9207).

use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::error::{Error, Result, Stage};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::redirect::RedirectUri;
use crate::session::context::Context;
use crate::session::gate::Place;
use crate::sync::lock;

/// A client of this process that has signed somebody in, or tried to.
struct Known {
    place: Place,
    redirect: String,
    issuer: String,
    sends_iss: bool,
    client: Weak<Context>,
}

/// Refuses a redirect URI that another server of the same app uses, unless both name themselves in the callback. Clients
/// over one storage are one app.
pub(super) fn check(
    context: &Arc<Context>,
    redirect: &RedirectUri,
    server: &AuthorizationServer,
) -> Result<()> {
    static KNOWN: OnceLock<Mutex<Vec<Known>>> = OnceLock::new();
    let place = Place::of(&context.ports.storage);
    let mut known = lock(KNOWN.get_or_init(Mutex::default));
    known.retain(|known| known.client.strong_count() > 0);
    let shared = known.iter().find(|known| {
        known.place == place
            && known.redirect == redirect.as_str()
            && known.issuer != context.issuer.as_str()
            && !(known.sends_iss && server.sends_iss())
    });
    if let Some(shared) = shared {
        return Err(Error::configuration(
            "redirect_shared",
            "RFC 8252 §8.10",
            format!(
                "the redirect URI {:?} is used for {:?} as well, and not both servers name themselves in the callback; register another one, with a path of its own for each server",
                redirect.as_str(),
                shared.issuer
            ),
        )
        .at_stage(Stage::AuthorizationRequest));
    }
    let again = |known: &Known| Weak::ptr_eq(&known.client, &Arc::downgrade(context));
    known.retain(|known| !again(known));
    known.push(Known {
        place,
        redirect: redirect.as_str().to_owned(),
        issuer: context.issuer.as_str().to_owned(),
        sends_iss: server.sends_iss(),
        client: Arc::downgrade(context),
    });
    Ok(())
}
