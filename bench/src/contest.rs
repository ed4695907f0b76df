//! One row of the table: contenders take turns, each is measured twenty times, and medians are compared.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// How often each contender's turn comes.
pub(crate) const ROUNDS: usize = 20;

/// Does its operation as often as it is told and says how long that took.
type Round<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// Something that does one operation.
pub(crate) struct Contender<'a> {
    name: String,
    round: Round<'a>,
}

impl<'a> Contender<'a> {
    /// One call after the other.
    pub(crate) fn new<T>(name: &str, mut operation: impl FnMut() -> T + 'a) -> Self {
        Self::timed(name, move |times| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(operation());
            }
            start.elapsed()
        })
    }

    /// One await after the other. Entering the runtime is paid for once a round, not once a call.
    pub(crate) fn awaited<T, F: Future<Output = T>>(
        name: &str,
        runtime: &'a Runtime,
        mut operation: impl FnMut() -> F + 'a,
    ) -> Self {
        Self::timed(name, move |times| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..times {
                    black_box(operation().await);
                }
                start.elapsed()
            })
        })
    }

    /// On several threads at once, as often on each. What is told is the time of the slowest.
    pub(crate) fn on_threads<T>(name: &str, threads: usize, operation: impl Fn() -> T + Sync + 'a) -> Self {
        Self::timed(name, move |times| {
            let start_line = Barrier::new(threads);
            std::thread::scope(|scope| {
                let run = || {
                    start_line.wait();
                    let start = Instant::now();
                    for _ in 0..times {
                        black_box(operation());
                    }
                    start.elapsed()
                };
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                let took = running.into_iter().map(|thread| thread.join().expect("a thread"));
                took.max().unwrap_or_default()
            })
        })
    }

    /// A contender that reads the watch itself.
    pub(crate) fn timed(name: &str, round: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self {
            name: name.to_owned(),
            round: Box::new(round),
        }
    }
}

/// What was measured of one contender, in nanoseconds per operation.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) median: f64,
    /// A tenth of the rounds was faster than the first, a tenth slower than the second.
    spread: (f64, f64),
}

/// The figures of one row, in the order of the contenders.
#[derive(Clone, Debug)]
pub(crate) struct Row(Vec<Figure>);

impl Row {
    /// By the beginning of the contender's name.
    pub(crate) fn median(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|figure| figure.name.starts_with(name));
        found.map_or(f64::NAN, |figure| figure.median)
    }

    /// How much of `peer`'s time `ours` takes.
    pub(crate) fn ratio(&self, ours: &str, peer: &str) -> f64 {
        self.median(ours) / self.median(peer)
    }
}

/// Runs the contenders in turn and prints a line for each; the first is what the others are compared with.
pub(crate) fn run(operation: &str, per_round: u32, mut contenders: Vec<Contender<'_>>) -> Row {
    let mut nanos: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    for round in 0..=ROUNDS {
        for (contender, nanos) in contenders.iter_mut().zip(&mut nanos) {
            let took = (contender.round)(per_round);
            // The first round only warms up.
            if round > 0 {
                nanos.push(took.as_secs_f64() * 1e9 / f64::from(per_round));
            }
        }
    }
    let figures: Vec<Figure> = contenders
        .iter()
        .zip(nanos)
        .map(|(contender, nanos)| figure(&contender.name, nanos))
        .collect();
    let first = figures.first().map_or(f64::NAN, |figure| figure.median);
    println!(
        "\n{operation}\n  {:<58} {:>10} {:>19} {:>7}",
        "", "median", "10 % … 90 %", "ratio"
    );
    for figure in &figures {
        let (low, high) = figure.spread;
        println!(
            "  {:<58} {:>10} {:>19} {:>6.2}x",
            figure.name,
            shown(figure.median),
            format!("{} … {}", shown(low), shown(high)),
            figure.median / first
        );
    }
    Row(figures)
}

fn figure(name: &str, mut nanos: Vec<f64>) -> Figure {
    nanos.sort_by(f64::total_cmp);
    let at = |index: usize| nanos.get(index).copied().unwrap_or(f64::NAN);
    Figure {
        name: name.to_owned(),
        median: f64::midpoint(at((nanos.len().max(1) - 1) / 2), at(nanos.len() / 2)),
        spread: (at(nanos.len() / 10), at(nanos.len() - 1 - nanos.len() / 10)),
    }
}

/// A time as a person reads it.
pub(crate) fn shown(nanos: f64) -> String {
    if nanos < 1e3 {
        format!("{nanos:.1} ns")
    } else if nanos < 1e6 {
        format!("{:.2} µs", nanos / 1e3)
    } else {
        format!("{:.2} ms", nanos / 1e6)
    }
}
