//! The `gatepass` program: tries a sign-in from a terminal, against any server or one that it brings along.

mod args;
mod browser;
mod exit;
mod journey;
mod report;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Exit;
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(args.verbose);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Report::new(args.json).failure(&format!("no runtime: {error}"));
            return Exit::Internal.into();
        }
    };
    let exit = match args.command {
        Command::SignIn(options) => runtime.block_on(journey::run(options, &Report::new(args.json))),
        Command::Serve(options) => runtime.block_on(serve::run(&options, &Report::new(args.json))),
    };
    exit.into()
}

/// `-v` shows the redacted timeline of Gatepass; `RUST_LOG` chooses anything.
fn log_to_stderr(verbose: bool) {
    let fallback = if verbose { "gatepass=debug" } else { "off" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
