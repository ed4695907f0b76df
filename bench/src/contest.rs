//! One row of the table: contenders take turns, each is measured twenty times, and medians are compared.

use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 20;

/// Something that does one operation.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) operation: Box<dyn FnMut() + 'a>,
}

pub(crate) fn contender<'a, T>(name: &'static str, mut operation: impl FnMut() -> T + 'a) -> Contender<'a> {
    Contender {
        name,
        operation: Box::new(move || drop(black_box(operation()))),
    }
}

pub(crate) fn print_header() {
    println!(
        "{:<28} {:<34} {:>12} {:>8}",
        "operation", "contender", "median", "ratio"
    );
}

/// Runs the contenders in turn and prints a line for each; the first is what the others are compared with.
pub(crate) fn run(operation: &str, per_round: u32, mut contenders: Vec<Contender<'_>>) {
    let mut nanos: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    for round in 0..=ROUNDS {
        for (contender, nanos) in contenders.iter_mut().zip(&mut nanos) {
            let start = Instant::now();
            for _ in 0..per_round {
                (contender.operation)();
            }
            // The first round only warms up.
            if round > 0 {
                nanos.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(per_round));
            }
        }
    }
    let medians: Vec<f64> = nanos.into_iter().map(median).collect();
    let first = medians.first().copied().unwrap_or(f64::NAN);
    for (contender, median) in contenders.iter().zip(&medians) {
        println!(
            "{operation:<28} {:<34} {:>12} {:>7.2}x",
            contender.name,
            shown(*median),
            median / first
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn shown(nanos: f64) -> String {
    if nanos < 1_000.0 {
        format!("{nanos:.1} ns")
    } else {
        format!("{:.2} µs", nanos / 1_000.0)
    }
}
