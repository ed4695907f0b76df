//! Side-by-side benchmarks: every contender of a row runs in one process, taking turns, and the table shows ratios.
//!
//! `cargo xtask bench`, or `cargo run --release -p gatepass-bench`. Times vary from machine to machine and from hour to
//! hour; ratios of one run vary less. A missed time is reported; a missed count of requests, refreshes or crates fails.

// A benchmark prints its table, and stops at the first surprise.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

mod contest;
mod fixture;
mod pure;
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
}

fn main() -> ExitCode {
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
        }
    }
    if verdicts.print() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
