//! The `gatepass` program: tries a sign-in from a terminal, against any server or one that it brings along.

mod args;
mod browser;
mod exit;
mod interrupts;
mod journey;
mod report;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Exit;
use report::Report;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    log_to_stderr(args.verbose);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Report::new(args.json).failure(Exit::Internal, &format!("no runtime: {error}"));
            return Exit::Internal.into();
        }
    };
    let exit = match args.command {
        Command::SignIn(options) => runtime.block_on(journey::run(options, &Report::new(args.json))),
        Command::Serve(options) => runtime.block_on(serve::run(&options, &Report::new(args.json))),
    };
    exit.into()
}

/// Help and version are what was asked for; anything else is wrong usage, told to programs in their own form too.
fn usage(error: &clap::Error) -> ExitCode {
    // If standard error is closed there is nobody to tell.
    drop(error.print());
    if error.exit_code() == 0 {
        return Exit::Success.into();
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Report::new(true).failure(Exit::Configuration, first.trim_start_matches("error: "));
    }
    Exit::Configuration.into()
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
