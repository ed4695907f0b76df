//! What came of many histories.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::fault::{Fault, Port};
use crate::history::Told;
use crate::say;
use crate::server::Rotation;

/// How many violations are printed.
const SHOWN: usize = 12;

#[derive(Default)]
pub(crate) struct Report {
    histories: u64,
    /// Histories in which something went wrong.
    with_fault: u64,
    steps: Vec<u64>,
    refreshes: u64,
    hits: BTreeMap<(Fault, Port), u64>,
    saved: BTreeMap<Rotation, (u64, u64)>,
    violations: Vec<(u64, String)>,
    panics: u64,
}

impl Report {
    pub(crate) fn add(&mut self, seed: u64, told: Told) {
        self.histories += 1;
        self.with_fault += u64::from(!told.hits.is_empty());
        self.steps.push(told.steps);
        self.refreshes += told.refreshes;
        for hit in told.hits {
            *self.hits.entry(hit).or_default() += 1;
        }
        if let Some(saved) = told.saved {
            let (kept, all) = self.saved.entry(told.rotation).or_default();
            *kept += u64::from(saved);
            *all += 1;
        }
        if let Some(first) = told.violations.into_iter().next() {
            self.violations.push((seed, first));
        }
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.histories += other.histories;
        self.with_fault += other.with_fault;
        self.steps.extend(other.steps);
        self.refreshes += other.refreshes;
        for (hit, count) in other.hits {
            *self.hits.entry(hit).or_default() += count;
        }
        for (rotation, (kept, all)) in other.saved {
            let sum = self.saved.entry(rotation).or_default();
            sum.0 += kept;
            sum.1 += all;
        }
        self.violations.extend(other.violations);
        self.panics += other.panics;
    }

    pub(crate) fn panicked(&mut self) {
        self.panics += 1;
    }

    fn rare(&self, cells: &[(Fault, Port)], at_least: u64) -> Vec<(Fault, Port)> {
        let count = |cell: &(Fault, Port)| self.hits.get(cell).copied().unwrap_or_default();
        cells
            .iter()
            .filter(|cell| count(cell) < at_least)
            .copied()
            .collect()
    }

    pub(crate) fn is_good(&self, cells: &[(Fault, Port)], at_least: u64) -> bool {
        let rare = self.rare(cells, at_least);
        for (fault, port) in &rare {
            say(&format!("too rare: {} at {}", fault.name(), port.name()));
        }
        self.violations.is_empty() && self.panics == 0 && rare.is_empty()
    }

    pub(crate) fn print(&mut self, cells: &[(Fault, Port)], took: Duration) {
        self.steps.sort_unstable();
        let median = self.steps.get(self.steps.len() / 2).copied().unwrap_or_default();
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let header = std::iter::once("port").chain(Fault::ALL.iter().map(|fault| fault.name()));
        table.set_header(header);
        let mut reasons = BTreeMap::new();
        for port in Port::ALL {
            let row = Fault::ALL.iter().map(|fault| match fault.excluded(port) {
                Some(why) => {
                    reasons.insert(why, ());
                    "–".to_owned()
                }
                None => self
                    .hits
                    .get(&(*fault, port))
                    .copied()
                    .unwrap_or_default()
                    .to_string(),
            });
            table.add_row(std::iter::once(port.name().to_owned()).chain(row));
        }
        say(&format!("{table}"));
        let reasons: Vec<&str> = reasons.into_keys().collect();
        say(&format!("–: {}", reasons.join("; ")));
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["rotation at the server", "sessions with a lost answer", "saved"]);
        for (rotation, (kept, all)) in &self.saved {
            let share = *kept as f64 * 100.0 / (*all).max(1) as f64;
            table.add_row([
                rotation.name().to_owned(),
                all.to_string(),
                format!("{share:.1} %"),
            ]);
        }
        say(&format!("\n{table}"));
        for (seed, violation) in self.violations.iter().take(SHOWN) {
            say(&format!("VIOLATION, replay with --replay {seed}: {violation}"));
        }
        let rarest = cells
            .iter()
            .map(|cell| (self.hits.get(cell).copied().unwrap_or_default(), cell))
            .min();
        if let Some((count, (fault, port))) = rarest {
            say(&format!(
                "rarest: {} at {}, {count} times",
                fault.name(),
                port.name()
            ));
        }
        say(&format!(
            "{} histories, {} with a fault, median {median} steps, {} refreshes sent, {} violations, {} panics, {:.1} s",
            self.histories,
            self.with_fault,
            self.refreshes,
            self.violations.len(),
            self.panics,
            took.as_secs_f64()
        ));
    }
}
