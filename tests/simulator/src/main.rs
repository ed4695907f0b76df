//! The whole client in a world of its own: every fault at every port, and what must hold whatever happens.

mod apps;
mod disk;
mod fault;
mod history;
mod judge;
mod ports;
mod report;
mod server;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;

use crate::report::Report;

/// Runs histories.
#[derive(Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 2_000)]
    histories: u64,
    /// The seed of the first one; each next one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs one history and tells what happens in it.
    #[arg(long)]
    replay: Option<u64>,
    /// Stops at the first violation.
    #[arg(long)]
    stop: bool,
    /// How often each fault must have happened at each port; less is a failure.
    #[arg(long, default_value_t = 0)]
    at_least: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cells = fault::cells();
    if let Some(seed) = arguments.replay {
        let told = history::run(seed, &cells, true);
        for line in &told.trace {
            say(line);
        }
        for violation in &told.violations {
            say(&format!("VIOLATION: {violation}"));
        }
        return ExitCode::from(u8::from(!told.violations.is_empty()));
    }
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let stopped = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut report = Report::default();
        while !stopped.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= arguments.histories {
                break;
            }
            let seed = arguments.seed.wrapping_add(number);
            let told = history::run(seed, &cells, false);
            if arguments.stop && !told.violations.is_empty() {
                stopped.store(true, Ordering::Relaxed);
            }
            report.add(seed, told);
        }
        report
    };
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => report.take(part),
                Err(_) => report.panicked(),
            }
        }
    });
    report.print(&cells, begun.elapsed());
    ExitCode::from(u8::from(!report.is_good(&cells, arguments.at_least)))
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few of the histories of `cargo xtask simulate`, which runs as many as you like.
    #[test]
    fn whatever_goes_wrong_nothing_is_lost() {
        let cells = fault::cells();
        let mut faults = 0;
        for seed in 1..=300 {
            let told = history::run(seed, &cells, false);
            assert!(
                told.violations.is_empty(),
                "cargo xtask simulate --replay {seed}: {:?}",
                told.violations
            );
            faults += told.hits.len();
        }
        assert!(faults >= 300, "{faults} faults");
    }

    #[test]
    fn a_seed_gives_the_same_history_each_time() {
        let cells = fault::cells();
        for seed in 1..=200 {
            let told = || history::run(seed, &cells, true);
            let (first, second) = (told(), told());
            for (line, (one, other)) in first.trace.iter().zip(&second.trace).enumerate() {
                assert_eq!(one, other, "seed {seed}, line {line}");
            }
            assert_eq!(
                (first.steps, first.hits),
                (second.steps, second.hits),
                "seed {seed}"
            );
        }
    }
}
