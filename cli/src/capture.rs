//! From the authorization URL to the session: who visits it, and how the redirect comes back.

use std::io::{BufRead as _, Read as _};
use std::time::Duration;

use gatepass::{
    Client, Error, ErrorKind, PendingSignIn, Session, SignInOptions, SignInProgress, Stage, UserAgentFailure,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::browser::Visitor;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::program::Program;
use crate::report::Report;

/// How long a sign-in whose redirect has come may take to finish once the program is asked to stop. With what the end
/// of the program grants beside, it is gone within two seconds.
const PARTING: Duration = Duration::from_secs(1);

/// Signs the user in. `person` says that a person, and no browser on this machine, visits the URL.
pub(crate) async fn sign_in(
    program: &Program,
    client: &Client,
    options: SignInOptions,
    visitor: &Visitor,
) -> Result<Session, Failure> {
    let report = &program.report;
    let begin = report
        .progress()
        .during("Preparing the sign-in", client.begin_sign_in(options));
    let pending = tokio::select! {
        pending = begin => pending?,
        () = program.interrupts.asked() => return Err(Failure::called_off()),
    };
    let loopback = pending.redirect_uri().starts_with("http://");
    // A program cannot capture the other two kinds of redirect, so a person brings it; and with --no-browser the browser
    // may be on another device, where the loopback address leads nowhere.
    let mut pasted = (matches!(visitor, Visitor::Person) || !loopback).then(pasted_lines);
    visitor.announce(report, &pending);
    // No moving line where somebody types.
    let typed = pasted.is_some();
    if typed {
        report.note("Then paste the URL that the browser was sent to, unless it comes back by itself:");
    }
    let waiting = wait(
        client,
        &pending,
        visitor,
        &mut pasted,
        &program.interrupts,
        report,
    );
    if typed {
        return Ok(waiting.await?);
    }
    Ok(report
        .progress()
        .during("Waiting for the browser", waiting)
        .await?)
}

/// Waits for whatever ends the sign-in, and tells of the redirect on the way.
async fn wait(
    client: &Client,
    pending: &PendingSignIn,
    visitor: &Visitor,
    pasted: &mut Option<mpsc::Receiver<String>>,
    interrupts: &Interrupts,
    report: &Report,
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
                // Of a sign-in that another run of the program began, it may be: then nobody waits for it but this.
                Ok(session) => {
                    pending.cancel();
                    break Ok(session);
                }
                // What else came of it reaches the one who waits.
                Err(_) => {}
            },
            () = tokio::time::sleep(PARTING), if cancelled => {
                // The tokens, if they have come, wait in the store: the next command finishes the sign-in.
                break Err(UserAgentFailure::Cancelled.into());
            }
            () = interrupts.asked(), if !cancelled => {
                cancelled = true;
                pending.cancel();
                if received {
                    report.warn("The redirect has come, so the sign-in is finished first if that is quick. Ctrl-C again stops at once.");
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

fn redirect_received(report: &Report) {
    report.event(
        "redirect_received",
        &json!({}),
        "The redirect came back and passed its checks",
    );
}

/// The longest pasted line that is looked at; a longer one arrives in pieces, none of which is a redirect.
const MAX_LINE_BYTES: u64 = 128 * 1024;

/// Lines from standard input, read on a thread that nobody waits for: a read cannot be called off.
pub(crate) fn pasted_lines() -> mpsc::Receiver<String> {
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
