//! Side-by-side benchmarks: every contender of a row runs in one process, taking turns, and the table shows ratios.
//!
//! `cargo xtask bench`, or `cargo run --release -p gatepass-bench`. Times vary from machine to machine and from hour to
//! hour; ratios of one run vary less. A missed time is reported; a missed count of requests, refreshes or crates fails.

// A benchmark prints its table, and stops at the first surprise.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable
)]

mod bed;
mod before;
mod contest;
mod expiry;
mod fixture;
mod heap;
mod journey;
mod peers;
mod pure;
mod token_read;
mod trees;
mod verdict;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::verdict::Verdicts;

#[derive(Parser)]
#[command(about = "Gatepass and its peers, side by side")]
struct Arguments {
    /// Only these (default: all). May be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The authorization URL.
    Url,
    /// Validation of the callback.
    Callback,
    /// Parsing of the token response.
    TokenResponse,
    /// Verification of ID tokens.
    IdToken,
    /// Reading a valid access token.
    TokenRead,
    /// From the redirect to the session.
    Redirect,
    /// What is asked before the browser opens.
    Before,
    /// Ten thousand callers at expiry.
    Expiry,
    /// The heap of an idle client.
    Heap,
    /// Crates in the tree.
    Crates,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--child", job)) = arguments.split_first().map(|(first, job)| (first.as_str(), job)) {
        journey::run_child(job);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut verdicts = Verdicts::default();
    for part in Part::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(part) {
            continue;
        }
        match part {
            Part::Url => pure::authorization_url(&runtime, &mut verdicts),
            Part::Callback => pure::callback(&runtime, &mut verdicts),
            Part::TokenResponse => pure::token_response(&mut verdicts),
            Part::IdToken => pure::id_token(&runtime, &mut verdicts),
            Part::TokenRead => {
                let server = bed::server(false);
                let client = bed::builder(&server).build().expect("a client");
                let session = runtime.block_on(bed::signed_in(&client, &server));
                token_read::run_on(&runtime, &session, &mut verdicts);
            }
            Part::Redirect => journey::run_all(&runtime, &mut verdicts),
            Part::Before => before::run_all(&runtime, &mut verdicts),
            Part::Expiry => expiry::run_all(&runtime, &mut verdicts),
            Part::Heap => heap::run_all(&runtime),
            Part::Crates => trees::run_all(&mut verdicts),
        }
    }
    if verdicts.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
