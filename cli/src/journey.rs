//! `sign-in`: the whole life of a session in one run.

use std::io::{BufRead as _, Read as _};
use std::time::Duration;

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
use crate::interrupts::Interrupts;
use crate::report::Report;

/// How long work that nobody waits for may delay the end of the program.
const PARTING: Duration = Duration::from_secs(2);

pub(crate) async fn run(options: SignIn, report: &Report) -> Exit {
    let report = *report;
    let server = match &options.issuer {
        Some(_) => None,
        None => match TestServer::start() {
            Ok(server) => Some(server),
            Err(error) => {
                report.failure(
                    Exit::Internal,
                    &format!("the test server could not be started on 127.0.0.1: {error}"),
                );
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
    let interrupts = Interrupts::listen();
    let outcome = tokio::select! {
        outcome = live(&client, &options, server.as_ref(), &interrupts, report) => outcome,
        // The first Ctrl-C is handled where it arrives; a second one means now.
        () = interrupts.reach(2) => Err(UserAgentFailure::Cancelled.into()),
    };
    let exit = match outcome {
        Ok(()) => Exit::Success,
        Err(error) => fail(report, &error),
    };
    // What nobody waits for any more gets a moment to finish.
    tokio::select! {
        () = client.drain() => {}
        () = tokio::time::sleep(PARTING) => {}
        () = interrupts.reach(2) => {}
    }
    exit
}

fn fail(report: Report, error: &Error) -> Exit {
    report.error(error);
    Exit::from(error)
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
        let origin = match url::Url::parse(api) {
            Ok(url) if url.username().is_empty() && url.password().is_none() => {
                url.origin().ascii_serialization()
            }
            _ => api.clone(),
        };
        builder = builder.api(origin);
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
    interrupts: &Interrupts,
    report: Report,
) -> Result<(), Error> {
    let session = sign_in(client, options, server, interrupts, report).await?;
    let used = tokio::select! {
        used = use_session(&session, options, report) => used,
        () = interrupts.reach(1) => Err(UserAgentFailure::Cancelled.into()),
    };
    // Whatever happened in between, nothing is left behind at the server.
    let signed_out = session.sign_out(SignOut::Revoke).await?;
    let (text, revoked) = match signed_out.revocation {
        Revocation::Done => ("Signed out: the server revoked the session", Ok(())),
        Revocation::NotOffered => ("Signed out here; the server offers no revocation", Ok(())),
        Revocation::Failed(error) => ("Signed out here, but not at the server", Err(error)),
        _ => ("Signed out", Ok(())),
    };
    report.event("signed_out", json!({}), text);
    used.and(revoked)
}

async fn sign_in(
    client: &Client,
    options: &SignIn,
    server: Option<&TestServer>,
    interrupts: &Interrupts,
    report: Report,
) -> Result<Session, Error> {
    let pending = tokio::select! {
        pending = client.begin_sign_in(SignInOptions::default()) => pending?,
        () = interrupts.reach(1) => return Err(UserAgentFailure::Cancelled.into()),
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
    let session = wait(client, &pending, &visitor, &mut pasted, interrupts, report).await?;
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
    interrupts: &Interrupts,
    report: Report,
) -> Result<Session, Error> {
    let mut visit = std::pin::pin!(visitor.visit(report, pending));
    let mut visiting = true;
    let mut progress = pending.progress();
    let mut received = false;
    let mut cancelled = false;
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
            line = next_line(pasted) => match client.resume_sign_in(&line).await {
                Err(error) if error.stage() == Stage::Callback && error.kind() == ErrorKind::Protocol => {
                    report.warn(&format!("That is not the redirect of this sign-in: {error}. Still waiting."));
                }
                // What else came of it reaches the one who waits.
                _ => {}
            },
            () = interrupts.reach(1), if !cancelled => {
                cancelled = true;
                pending.cancel();
                if received {
                    report.warn("The redirect has come, so the sign-in is finished first. Ctrl-C again stops at once.");
                }
            }
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

/// The longest pasted line that is looked at; a longer one arrives in pieces, none of which is a redirect.
const MAX_LINE_BYTES: u64 = 128 * 1024;

/// Lines from standard input, read on a thread that nobody waits for: a read cannot be called off.
fn pasted_lines() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() && send.blocking_send(text).is_err() {
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

async fn use_session(session: &Session, options: &SignIn, report: Report) -> Result<(), Error> {
    call_api(session, options, report).await?;
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
    call_api(session, options, report).await
}

/// Calls the API with the token, or the userinfo endpoint.
async fn call_api(session: &Session, options: &SignIn, report: Report) -> Result<(), Error> {
    let (what, status, outcome) = match &options.api {
        Some(url) => {
            let answer = session.http().get(url).send().await?;
            (
                url.as_str(),
                answer.status().as_u16(),
                answer.error_for_status().map(drop),
            )
        }
        None => match session.userinfo().await {
            Ok(_) => ("userinfo", 200, Ok(())),
            Err(error) if error.kind() == ErrorKind::Configuration => {
                report.event(
                    "api_call_skipped",
                    json!({ "reason": error.code() }),
                    &format!("No API call: {error}; name an API with --api"),
                );
                return Ok(());
            }
            Err(error) => match error.server().and_then(|server| server.status) {
                Some(status) => ("userinfo", status, Err(error)),
                None => return Err(error),
            },
        },
    };
    let text = format!("Called {what} with the access token: {status}");
    report.event(
        "api_call",
        json!({ "status": status }),
        if outcome.is_ok() { &text } else { "" },
    );
    outcome
}
