//! Sign-ins: every attempt ends once, every code is exchanged at most once.

// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use gatepass::{
    Client, ErrorKind, EventSink, SessionEvent, SessionId, SessionState, SignInOptions, SignInProgress,
    SignOut, UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn,
};
use tokio::sync::OnceCell;

use crate::world::{Answer, Ask, Fate, REDIRECT, World, granted, html, redirect_of, refused, sign_in};

#[tokio::test]
async fn bi_27_two_callbacks_at_once_are_one_exchange() {
    let world = World::new();
    let client = world.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = redirect_of(&pending).await;
    let answer = world.net.answer_later();
    let first = tokio::spawn({
        let (client, redirect) = (client.clone(), redirect.clone());
        async move { client.resume_sign_in(&redirect).await }
    });
    world.net.until_sent("/token", 1).await;
    for other in [&client, &world.client()] {
        let error = other.resume_sign_in(&redirect).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyHandled, "{error:?}");
    }
    answer.send(granted("R1", "A1")).ok().unwrap();
    first.await.unwrap().unwrap();
    pending.wait().await.unwrap();
    assert_eq!(world.net.sent_to("/token").len(), 1);
    assert_eq!(world.disk.flows(), 0, "nothing of it is left on disk");
}

#[tokio::test]
async fn an_exchange_that_was_superseded_still_ends_its_own_call() {
    let world = World::new();
    let client = world.client();
    let first = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = redirect_of(&first).await;
    let answer = world.net.answer_later();
    let exchange = tokio::spawn({
        let client = client.clone();
        async move { client.resume_sign_in(&redirect).await }
    });
    world.net.until_sent("/token", 1).await;
    let second = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    answer.send(granted("R1", "A1")).ok().unwrap();
    exchange.await.unwrap().unwrap();
    first
        .wait()
        .await
        .expect("its redirect came before the newer sign-in");
    second.cancel();
    assert_eq!(second.wait().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

/// Whoever stops waiting before they have the URL has nothing to cancel with.
#[tokio::test]
async fn a_sign_in_whose_caller_goes_before_it_has_begun_is_called_off() {
    let world = World::new();
    let client = world.client();
    let metadata = world
        .net
        .answer_document_later("/.well-known/openid-configuration");
    let caller = tokio::spawn({
        let client = client.clone();
        async move { client.begin_sign_in(SignInOptions::default()).await.map(drop) }
    });
    world.net.until_sent("/.well-known/openid-configuration", 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    metadata.send(world.net.metadata()).ok().unwrap();
    client.drain().await;
    assert_eq!(world.disk.flows(), 0, "nothing of it is left on disk");
}

#[tokio::test]
async fn a_claim_that_may_have_been_written_ends_the_attempt() {
    for lie in [true, false] {
        let world = World::new();
        let client = world.client();
        let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
        let redirect = redirect_of(&pending).await;
        world.disk.plan(move |kind, ask, _| match ask {
            Ask::Commit(_) if kind == "flow" && lie => Fate::DoneButFails,
            Ask::Commit(_) if kind == "flow" => refused(),
            _ => Fate::Done,
        });
        let error = client.resume_sign_in(&redirect).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageWriteFailed);
        let error = pending.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageWriteFailed);
        assert_eq!(
            world.net.sent_to("/token").len(),
            0,
            "a code that is not claimed is not sent"
        );
        assert_eq!(world.disk.flows(), 0);
    }
}

#[tokio::test]
async fn a_redirect_taken_by_a_process_that_died_does_not_keep_the_call_waiting() {
    let world = World::new();
    let client = world.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = redirect_of(&pending).await;
    // The other process: it takes the redirect, and its exchange never comes back.
    let other = world.client();
    let _never = world.net.answer_later();
    let dead = tokio::spawn(async move { other.resume_sign_in(&redirect).await });
    world.net.until_sent("/token", 1).await;
    assert_eq!(pending.progress().get(), SignInProgress::WaitingForRedirect);
    pending.cancel();
    assert_eq!(pending.wait().await.unwrap_err().kind(), ErrorKind::Cancelled);
    dead.abort();
}

#[tokio::test]
async fn an_exchange_that_panics_ends_the_attempt() {
    let world = World::new();
    let client = world.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    world.net.answer([Answer::Panics]);
    let error = client
        .resume_sign_in(&redirect_of(&pending).await)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(pending.wait().await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn oa_16_a_code_whose_outcome_is_unknown_is_not_sent_again() {
    let world = World::new();
    let client = world.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = redirect_of(&pending).await;
    world.net.answer([html(200)]);
    let error = client.resume_sign_in(&redirect).await.unwrap_err();
    assert!(error.requires_sign_in(), "{error:?}");
    assert_eq!(
        client.resume_sign_in(&redirect).await.unwrap_err().code(),
        "no_pending_sign_in"
    );
    assert_eq!(world.net.sent_to("/token").len(), 1);
    assert!(pending.wait().await.unwrap_err().requires_sign_in());
}

#[tokio::test]
async fn a_session_that_cannot_be_stored_is_given_back() {
    let world = World::new();
    let client = world.client();
    world.disk.plan(|kind, ask, _| match ask {
        Ask::Commit(_) if kind == "session" => refused(),
        _ => Fate::Done,
    });
    world.net.answer([granted("R1", "A1")]);
    assert_eq!(
        sign_in(&client).await.unwrap_err().kind(),
        ErrorKind::StorageWriteFailed
    );
    client.drain().await;
    assert!(world.net.sent_to("/revoke")[0].contains("token=R1"));
    assert_ne!(client.state().get(), SessionState::SignedIn);
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_stored_opens_no_browser() {
    let world = World::new();
    let client = world.client();
    world.disk.plan(|_, _, _| refused());
    let error = client.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageWriteFailed);
}

/// Delivers the redirect by two ways at once, as Android does (an intent and the result of the Auth Tab).
#[derive(Debug, Default)]
struct TwoWays(OnceCell<Client>);

#[async_trait]
impl UserAgent for TwoWays {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        let state = request.authorization_url.split("state=").nth(1).unwrap();
        let redirect = format!("{REDIRECT}?code=C1&state={}", state.split('&').next().unwrap());
        let (client, url) = (self.0.get().unwrap().clone(), redirect.clone());
        tokio::spawn(async move { client.resume_sign_in(&url).await });
        // It is being handled, so that this one comes second.
        while client_is_waiting(self.0.get().unwrap()) {
            tokio::task::yield_now().await;
        }
        Ok(UserAgentReturn::Redirected(redirect))
    }
}

fn client_is_waiting(client: &Client) -> bool {
    client.state().get() != SessionState::SignedIn
}

#[tokio::test]
async fn pl_24_a_redirect_that_came_by_two_ways_signs_in_once() {
    let world = World::new();
    let agent = Arc::new(TwoWays::default());
    let client = world.client_with(|b| b.user_agent(agent.clone()));
    agent.0.set(client.clone()).unwrap();
    world.net.answer([granted("R1", "A1")]);
    let session = client.sign_in(SignInOptions::default()).await.unwrap();
    assert_eq!(session.peek().unwrap().expose(), "A1");
    assert_eq!(world.net.sent_to("/token").len(), 1);
}

#[tokio::test]
async fn rr_15_what_is_left_of_a_finished_sign_in_does_not_bring_its_first_tokens_back() {
    let world = World::new();
    world.net.answer([granted("R1", "A1"), granted("R2", "A2")]);
    // The process dies, or storage fails, between storing the session and removing the sign-in.
    world.disk.plan(|kind, ask, _| match ask {
        Ask::Remove if kind == "flow" => refused(),
        _ => Fate::Done,
    });
    let session = sign_in(&world.client()).await.unwrap();
    session.refresh().await.unwrap();
    world.disk.behave();
    assert_eq!(world.disk.flows(), 1);

    let session = world.session().await;
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    assert_eq!(world.disk.flows(), 0, "it is removed at last");
}

#[tokio::test]
async fn what_is_left_of_a_sign_in_does_not_come_back_where_forgetting_was_half_done() {
    let world = World::new();
    world.net.answer([granted("R1", "A1")]);
    world.disk.plan(|kind, ask, _| match ask {
        Ask::Remove if kind == "flow" => refused(),
        _ => Fate::Done,
    });
    let client = world.client();
    sign_in(&client).await.unwrap();
    // Nor can it be overwritten.
    world.disk.plan(|kind, ask, _| match ask {
        Ask::Remove | Ask::Commit(_) if kind == "flow" => refused(),
        _ => Fate::Done,
    });
    client.forget_everything().await.unwrap_err();
    assert!(!world.disk.text("session").unwrap().contains("issuer"));
    world.disk.behave();
    assert_eq!(world.disk.flows(), 1);

    assert!(world.client().session().await.unwrap().is_none());
    assert_eq!(world.disk.flows(), 0, "it is removed at last");
}

#[tokio::test]
async fn a_write_that_is_not_known_to_have_happened_does_not_end_the_sign_in() {
    // The second write of the sign-in takes the redirect, the third holds its tokens.
    let world = World::new();
    world.net.answer([granted("R1", "A1")]);
    let mut writes = 0;
    world.disk.plan(move |kind, ask, _| {
        let is_one = kind == "flow" && matches!(ask, Ask::Commit(_));
        writes += usize::from(is_one);
        if is_one && writes == 3 {
            Fate::DoneButFails
        } else {
            Fate::Done
        }
    });
    let client = world.client();
    let session = sign_in(&client).await.unwrap();
    client.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R1");
    assert!(world.net.sent_to("/revoke").is_empty());
    assert_eq!(session.access_token().await.unwrap().expose(), "A1");
    assert_eq!(world.disk.flows(), 0);
}

#[tokio::test]
async fn an_event_sink_that_panics_takes_nothing_with_it() {
    #[derive(Debug)]
    struct Panics;
    impl EventSink for Panics {
        fn event(&self, _session: Option<&SessionId>, _event: SessionEvent) {
            panic!("expected by this test");
        }
    }
    let world = World::new();
    world.net.answer([granted("R1", "A1"), granted("R2", "A2")]);
    let client = world.client_with(|builder| builder.event_sink(Arc::new(Panics)));
    let session = sign_in(&client).await.unwrap();
    session.refresh().await.unwrap();
    session.sign_out(SignOut::Revoke).await.unwrap();
    assert_eq!(world.net.sent_to("/revoke").len(), 1);
    client.forget_everything().await.unwrap();
}
