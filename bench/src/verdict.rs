//! What was to be reached, and whether it was.

/// Whether a missed target fails the run. Times of a shared machine do not; what comes out the same every time does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Time,
    Count,
}

struct Verdict {
    what: String,
    wanted: String,
    reached: String,
    met: bool,
    kind: Kind,
}

/// The closing table.
#[derive(Default)]
pub(crate) struct Verdicts(Vec<Verdict>);

impl Verdicts {
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        what: &str,
        wanted: impl Into<String>,
        reached: impl Into<String>,
        met: bool,
    ) {
        self.0.push(Verdict {
            what: what.to_owned(),
            wanted: wanted.into(),
            reached: reached.into(),
            met,
            kind,
        });
    }

    /// At most this part of a peer's time.
    pub(crate) fn ratio(&mut self, what: &str, at_most: f64, reached: f64) {
        let (wanted, shown) = (format!("≤ {at_most:.2}×"), format!("{reached:.2}×"));
        self.add(Kind::Time, what, wanted, shown, reached <= at_most);
    }

    /// Exactly this many.
    pub(crate) fn exactly(&mut self, what: &str, wanted: usize, reached: usize) {
        self.add(
            Kind::Count,
            what,
            wanted.to_string(),
            reached.to_string(),
            reached == wanted,
        );
    }

    /// Prints the table; `false` if one that counts was missed.
    pub(crate) fn print(&self) -> bool {
        if self.0.is_empty() {
            return true;
        }
        println!("\n{:<66} {:>12} {:>12}  verdict", "target", "wanted", "reached");
        for verdict in &self.0 {
            let word = match (verdict.met, verdict.kind) {
                (true, _) => "met",
                (false, Kind::Time) => "MISSED (a time: reported)",
                (false, Kind::Count) => "MISSED",
            };
            println!(
                "{:<66} {:>12} {:>12}  {word}",
                verdict.what, verdict.wanted, verdict.reached
            );
        }
        let missed = self.0.iter().filter(|verdict| !verdict.met).count();
        println!("targets: {} met, {missed} missed", self.0.len() - missed);
        !self
            .0
            .iter()
            .any(|verdict| !verdict.met && verdict.kind == Kind::Count)
    }
}
