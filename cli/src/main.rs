//! The `gatepass` program: signs in from a terminal and stays signed in, at any server or one that it brings along.

mod app;
mod args;
mod association;
mod browser;
mod capture;
mod completions;
mod config;
mod doctor;
mod exit;
mod failure;
mod forget;
mod interrupts;
mod interstitial;
mod journey;
mod program;
mod progress;
mod report;
mod select;
mod serve;
mod sessions;
mod settings;
mod sign_in;
mod sign_out;
#[cfg(feature = "soak")]
mod soak;
mod status;
mod store;
mod token;
mod userinfo;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Exit;
use failure::Failure;
use interrupts::Interrupts;
use program::Program;
use progress::Progress;
use report::Report;

fn main() -> ExitCode {
    // Before the command line is read, so that a signal finds somebody who says so.
    let json = std::env::args_os().any(|argument| argument == "--json");
    let interrupts = Interrupts::new();
    let report = Report::new(json, interrupts.clone());
    if let Err(error) = interrupts.listen(report.clone()) {
        let failure = Failure::internal(format!("signals cannot be waited for: {error}"));
        return report.failure(&failure).into();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error, &report).into(),
    };
    let logs = log_to_stderr(args.global.verbose);
    let report = report.with(args.global.json, Progress::new(logs));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report
                .failure(&Failure::internal(format!("no runtime: {error}")))
                .into();
        }
    };
    #[cfg(feature = "soak")]
    soak::announce(&report);
    let program = Program::new(report, interrupts, args.global);
    let exit = runtime.block_on(async {
        let outcome = run(&program, &args.command).await;
        program.end(outcome).await
    });
    // A thread that waits for a keychain is not waited for.
    runtime.shutdown_background();
    exit.into()
}

async fn run(program: &Program, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::SignIn(options) => sign_in::run(program, options).await,
        Command::Token(options) => token::run(program, options).await,
        Command::Status(which) => status::run(program, which).await,
        Command::Userinfo(which) => userinfo::run(program, which).await,
        Command::SignOut(options) => sign_out::run(program, options).await,
        Command::Sessions(options) => sessions::run(program, options).await,
        Command::Forget(options) => forget::run(program, options).await,
        Command::Config(options) => config::run(program, options).await,
        Command::Completions { shell } => completions::run(program, *shell),
        Command::Serve(options) => serve::run(program, options).await,
        Command::Doctor(options) => doctor::run(program, options).await,
        Command::Association(options) => association::run(program, options).await,
        Command::Interstitial(options) => interstitial::run(program, options).await,
        #[cfg(feature = "soak")]
        Command::SoakServer(options) => soak::serve(program, options).await,
        #[cfg(feature = "soak")]
        Command::SoakSession(which) => soak::hold(program, which).await,
    }
}

/// Help and version are what was asked for; anything else is wrong usage, told to programs in their own form too.
fn usage(error: &clap::Error, report: &Report) -> Exit {
    // If it cannot be shown there is nobody to tell.
    drop(error.print());
    if error.exit_code() == 0 {
        return Exit::Success;
    }
    if report.is_json() {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.trim_start_matches("error: ");
        report.failure(&Failure::configuration("usage", message));
    }
    Exit::Configuration
}

/// `-v` shows the redacted timeline of Gatepass; `RUST_LOG` chooses anything. Says whether there is a log.
fn log_to_stderr(verbose: bool) -> bool {
    let chosen = tracing_subscriber::EnvFilter::try_from_default_env();
    let logs = verbose || chosen.is_ok();
    let fallback = if verbose { "gatepass=debug" } else { "off" };
    tracing_subscriber::fmt()
        .with_env_filter(chosen.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback)))
        .with_writer(std::io::stderr)
        .init();
    logs
}
