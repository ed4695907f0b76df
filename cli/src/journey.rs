//! `sign-in`: the whole life of a session in one run.

use std::io::BufRead as _;

use gatepass::test_server::TestServer;
use gatepass::{
    AllowHttpOnLoopback, Client, Error, ErrorKind, PendingSignIn, Revocation, Session, SignInOptions,
    SignInProgress, SignOut, Stage, UserAgentFailure,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::args::SignIn;
use crate::browser::Visitor;
use crate::exit::Exit;
use crate::report::Report;

pub(crate) async fn run(options: SignIn, report: &Report) -> Exit {
    let report = *report;
    let server = match &options.issuer {
        Some(_) => None,
        None => match TestServer::start() {
            Ok(server) => Some(server),
            Err(error) => {
                report.failure(&format!(
                    "the test server could not be started on 127.0.0.1: {error}"
                ));
                return Exit::Internal;
            }
        },
    };
    if let Some(server) = &server {
        report.say(&format!(
            "No issuer given: using a test authorization server at {}",
            server.issuer()
        ));
        crate::serve::users_text(server, report);
        report.note(
            "It keeps everything in memory and ends with this command. Use --issuer for a real server.\n",
        );
    }
    let client = match client(&options, server.as_ref()) {
        Ok(client) => client,
        Err(error) => return fail(report, &error),
    };
    let outcome = tokio::select! {
        outcome = live(&client, &options, server.as_ref(), report) => outcome,
        exit = interrupted_twice() => return exit,
    };
    client.drain().await;
    match outcome {
        Ok(exit) => exit,
        Err(error) => fail(report, &error),
    }
}

fn fail(report: Report, error: &Error) -> Exit {
    report.error(error);
    Exit::from(error)
}

/// The first Ctrl-C is handled where it arrives, so that it ends in a typed error; a second one means now.
async fn interrupted_twice() -> Exit {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
    }
    Exit::Cancelled
}

fn client(options: &SignIn, server: Option<&TestServer>) -> Result<Client, Error> {
    let mut builder = match (server, &options.issuer, &options.client_id) {
        (Some(server), ..) => {
            Client::builder(server.issuer(), server.client_id()).allow_http_on_loopback(AllowHttpOnLoopback)
        }
        (None, issuer, client_id) => Client::builder(
            issuer.as_deref().unwrap_or_default(),
            client_id.as_deref().unwrap_or_default(),
        ),
    };
    if options.allow_http_on_loopback {
        builder = builder.allow_http_on_loopback(AllowHttpOnLoopback);
    }
    if let Some(api) = &options.api {
        // The token goes to the origin of the API; a URL that is none is told by the builder.
        let origin = url::Url::parse(api).map(|url| url.origin().ascii_serialization());
        builder = builder.api(origin.unwrap_or_else(|_| api.clone()));
    }
    builder
        .redirect(&options.redirect)
        .scopes(&options.scope)
        .sign_in_timeout(options.timeout)
        .build()
}

async fn live(
    client: &Client,
    options: &SignIn,
    server: Option<&TestServer>,
    report: Report,
) -> Result<Exit, Error> {
    let session = sign_in(client, options, server, report).await?;
    let used = tokio::select! {
        used = use_session(&session, options, report) => used,
        _ = tokio::signal::ctrl_c() => Err(UserAgentFailure::Cancelled.into()),
    };
    // Whatever happened in between, nothing is left behind at the server.
    let signed_out = session.sign_out(SignOut::Revoke).await?;
    let (text, failure) = match signed_out.revocation {
        Revocation::Done => ("Signed out: the server revoked the session", None),
        Revocation::NotOffered => ("Signed out here; the server offers no revocation", None),
        Revocation::Failed(error) => ("Signed out here, but not at the server", Some(error)),
        _ => ("Signed out", None),
    };
    report.event("signed_out", json!({}), text);
    match failure {
        Some(error) => used.and(Err(error)),
        None => used,
    }
}

async fn sign_in(
    client: &Client,
    options: &SignIn,
    server: Option<&TestServer>,
    report: Report,
) -> Result<Session, Error> {
    let pending = tokio::select! {
        pending = client.begin_sign_in(SignInOptions::default()) => pending?,
        _ = tokio::signal::ctrl_c() => return Err(UserAgentFailure::Cancelled.into()),
    };
    let visitor = match server {
        Some(server) if options.headless => Visitor::Program(server.clone()),
        _ if options.no_browser => Visitor::Person,
        fallback => Visitor::System {
            fallback: fallback.cloned(),
        },
    };
    let loopback = pending.redirect_uri().starts_with("http://");
    // A program cannot capture the other two kinds of redirect, so a person brings it; and with --no-browser the browser
    // may be on another device, where the loopback address leads nowhere.
    let mut pasted = (options.no_browser || !loopback).then(pasted_lines);
    visitor.announce(report, &pending);
    if pasted.is_some() {
        report.note("Then paste the URL that the browser was sent to, unless it comes back by itself:");
    }
    let session = wait(client, &pending, &visitor, &mut pasted, report).await?;
    let subject = session.claims().map(gatepass::Claims::subject);
    let expires_in = session.expires_in().map(|left| left.as_secs());
    report.event(
        "signed_in",
        json!({ "issuer": session.issuer(), "subject": subject, "scope": session.scope().join(" "), "expires_in": expires_in }),
        &format!(
            "Signed in as {} at {}\n  scope {}; access token valid for {}",
            subject.unwrap_or("somebody (no openid scope)"),
            session.issuer(),
            session.scope().join(" "),
            expires_in.map_or_else(|| "an unknown time".to_owned(), |seconds| format!("{seconds} s")),
        ),
    );
    Ok(session)
}

/// Waits for whatever ends the sign-in, and tells of the redirect on the way.
async fn wait(
    client: &Client,
    pending: &PendingSignIn,
    visitor: &Visitor,
    pasted: &mut Option<mpsc::Receiver<String>>,
    report: Report,
) -> Result<Session, Error> {
    let mut visit = std::pin::pin!(visitor.visit(report, pending));
    let mut visiting = true;
    let mut progress = pending.progress();
    let mut received = false;
    let outcome = loop {
        tokio::select! {
            biased;
            _ = progress.wait_for(|now| *now == SignInProgress::RedirectReceived), if !received => {
                received = true;
                redirect_received(report);
            }
            outcome = pending.wait() => break outcome,
            outcome = &mut visit, if visiting => {
                visiting = false;
                if let Err(failure) = outcome {
                    pending.user_agent_failed(failure);
                }
            }
            line = next_line(pasted) => match client.resume_sign_in(line.trim()).await {
                Err(error) if error.stage() == Stage::Callback && error.kind() == ErrorKind::Protocol => {
                    report.warn(&format!("That is not the redirect of this sign-in: {error}. Still waiting."));
                }
                // What else came of it reaches the one who waits.
                _ => {}
            },
            _ = tokio::signal::ctrl_c() => pending.cancel(),
        }
    };
    let past_the_redirect = |error: &Error| {
        matches!(
            error.stage(),
            Stage::TokenExchange | Stage::Jwks | Stage::IdToken | Stage::Storage
        )
    };
    if !received && outcome.as_ref().map_or_else(past_the_redirect, |_| true) {
        redirect_received(report);
    }
    outcome
}

fn redirect_received(report: Report) {
    report.event(
        "redirect_received",
        json!({}),
        "The redirect came back and passed its checks",
    );
}

/// Lines from standard input, read on a thread that nobody waits for: a read cannot be called off.
fn pasted_lines() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if !line.trim().is_empty() && send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receive
}

async fn next_line(pasted: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(lines) = pasted {
        if let Some(line) = lines.recv().await {
            return line;
        }
        // End of input: the loopback redirect can still come.
        *pasted = None;
    }
    std::future::pending().await
}

async fn use_session(session: &Session, options: &SignIn, report: Report) -> Result<Exit, Error> {
    let mut exit = call_api(session, options, report).await?;
    if session.can_refresh().await? {
        session.refresh().await?;
        report.event("refreshed", json!({}), "Refreshed: a new access token is in use");
    } else {
        report.event(
            "refresh_skipped",
            json!({ "reason": "no_refresh_token" }),
            "No refresh: the server gave no refresh token (is offline_access allowed for this client?)",
        );
    }
    if call_api(session, options, report).await? != Exit::Success {
        exit = Exit::Server;
    }
    Ok(exit)
}

/// Calls the API with the token, or the userinfo endpoint.
async fn call_api(session: &Session, options: &SignIn, report: Report) -> Result<Exit, Error> {
    let (what, status) = match &options.api {
        Some(url) => (
            url.as_str(),
            session.http().get(url).send().await?.status().as_u16(),
        ),
        None => match session.userinfo().await {
            Ok(_) => ("userinfo", 200),
            Err(error) if error.kind() == ErrorKind::Configuration => {
                report.event(
                    "api_call_skipped",
                    json!({ "reason": error.code() }),
                    &format!("No API call: {error}; name an API with --api"),
                );
                return Ok(Exit::Success);
            }
            Err(error) => match error.server().and_then(|server| server.status) {
                Some(status) if error.code() == "userinfo_refused" => ("userinfo", status),
                _ => return Err(error),
            },
        },
    };
    report.event(
        "api_call",
        json!({ "status": status }),
        &format!("Called {what} with the access token: {status}"),
    );
    if (200..300).contains(&status) {
        return Ok(Exit::Success);
    }
    report.warn(&format!("{what} answered with {status}."));
    Ok(Exit::Server)
}
