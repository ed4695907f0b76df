//! The table that closes `cargo xtask test`: part, what happened, how long it took.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::run;

/// How a part ended.
pub(crate) enum Outcome {
    /// It ran and passed.
    Passed,
    /// It ran and failed, or should have run and could not.
    Failed(String),
    /// It did not run, for this reason.
    NotRun(String),
}

/// One line of the table.
pub(crate) struct Row {
    /// The part's name.
    pub(crate) part: &'static str,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long it may take on two cores, from nothing, where that is laid down.
    pub(crate) budget: Option<Duration>,
}

/// The table as text, then one plain line with the counts.
pub(crate) fn render(rows: &[Row], total_budget: Duration) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["part", "result", "duration"]);
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    for row in rows {
        let result = match &row.outcome {
            Outcome::Passed => {
                passed += 1;
                "passed".to_owned()
            }
            Outcome::Failed(why) => {
                failed += 1;
                format!("FAILED: {why}")
            }
            Outcome::NotRun(why) => {
                not_run += 1;
                format!("not run: {why}")
            }
        };
        table.add_row([row.part.to_owned(), result, against(row.took, row.budget)]);
    }
    let total = rows.iter().map(|row| row.took).sum();
    table.add_row([
        "total".to_owned(),
        String::new(),
        against(total, Some(total_budget)),
    ]);
    format!("{table}\nparts: {passed} passed, {failed} failed, {not_run} skipped")
}

/// "2 min 10 s of 5 min", and a word where the budget is exceeded.
fn against(took: Duration, budget: Option<Duration>) -> String {
    let Some(budget) = budget else {
        return run::duration(took);
    };
    let over = if took > budget { ", OVER BUDGET" } else { "" };
    format!("{} of {} min{over}", run::duration(took), budget.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_ran_and_why_not() {
        let row = |part, outcome, seconds| Row {
            part,
            outcome,
            took: Duration::from_secs(seconds),
            budget: Some(Duration::from_secs(300)),
        };
        let rows = [
            row("rust", Outcome::Passed, 130),
            row("kotlin", Outcome::NotRun("no `mvn`".into()), 0),
            row("swift", Outcome::Failed("`swift test` failed".into()), 301),
        ];
        let text = render(&rows, Duration::from_secs(45 * 60));
        assert!(text.contains("2 min 10 s of 5 min"), "{text}");
        assert!(text.contains("not run: no `mvn`"), "{text}");
        assert!(text.contains("5 min 01 s of 5 min, OVER BUDGET"), "{text}");
        assert!(text.ends_with("\nparts: 1 passed, 1 failed, 1 skipped"), "{text}");
    }
}
