//! Findings for people and for programs.

use anstyle::{AnsiColor, Style};
use gatepass::association::{Finding, Severity};
use serde_json::json;

use crate::exit::Exit;
use crate::report::{Report, plain};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
/// Columns that a text is folded at.
const WIDTH: usize = 100;

/// Prints findings section by section, and counts them.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    report: &'a Report,
    counts: [usize; 4],
}

impl<'a> Printer<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        Self {
            report,
            counts: [0; 4],
        }
    }

    /// One thing that was looked at, worst first.
    pub(super) fn section(&mut self, name: &str, mut findings: Vec<Finding>) {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        let mut subject = None;
        for finding in &findings {
            if let Some(count) = self.counts.get_mut(rank(finding.severity())) {
                *count += 1;
            }
            let fields = json!({
                "section": name,
                "code": finding.code(),
                "severity": finding.severity().name(),
                "subject": finding.subject(),
                "found": finding.found(),
                "why": finding.why(),
                "remedy": (!finding.remedy().is_empty()).then(|| finding.remedy()),
            });
            let mut text = String::new();
            if subject != Some(finding.subject()) {
                if subject.is_none() {
                    text.push_str(&format!("{STRONG}{}{STRONG:#}\n", heading(name)));
                }
                text.push_str(&format!("  {FAINT}{}{FAINT:#}\n", plain(finding.subject())));
                subject = Some(finding.subject());
            }
            text.push_str(&row(finding));
            self.report.answer("finding", &fields, &text);
        }
        self.report.say("");
    }

    /// The sum, and the exit code by the worst.
    pub(super) fn end(self) -> Exit {
        let [good, notes, warnings, errors] = self.counts;
        let (worst, exit) = if errors > 0 {
            (Severity::Error, Exit::Errors)
        } else if warnings > 0 {
            (Severity::Warning, Exit::Warnings)
        } else if notes > 0 {
            (Severity::Note, Exit::Success)
        } else {
            (Severity::Good, Exit::Success)
        };
        let style = style(worst);
        let text = format!(
            "{style}{}{style:#}  {}, {}, {}, {good} good",
            match worst {
                Severity::Error => "This will not work.",
                Severity::Warning => "This works, but not for everybody.",
                _ => "All is well.",
            },
            count(errors, "error"),
            count(warnings, "warning"),
            count(notes, "note"),
        );
        let fields = json!({
            "worst": worst.name(), "errors": errors, "warnings": warnings, "notes": notes, "good": good,
        });
        self.report.answer("doctor", &fields, &text);
        exit
    }
}

fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

fn heading(section: &str) -> &str {
    match section {
        "server" => "Authorization server",
        "redirect" => "Redirect",
        "apple" => "Apple: apple-app-site-association",
        "android" => "Android: assetlinks.json",
        "interstitial" => "Interstitial page",
        "app" => "File of the app",
        other => other,
    }
}

fn rank(severity: Severity) -> usize {
    match severity {
        Severity::Good => 0,
        Severity::Note => 1,
        Severity::Warning => 2,
        _ => 3,
    }
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Good => GOOD,
        Severity::Note => NOTE,
        Severity::Warning => WARNING,
        _ => ERROR,
    }
}

/// The finding in one line, and below it why it matters and what to do.
fn row(finding: &Finding) -> String {
    let style = style(finding.severity());
    let mark = match finding.severity() {
        Severity::Good => "✓",
        Severity::Note => "·",
        Severity::Warning => "!",
        _ => "✗",
    };
    let (code, found) = (finding.code(), plain(finding.found()));
    let mut text = format!("  {style}{mark}{style:#} {code:30} {}", fold(&found, 35));
    if finding.severity() > Severity::Good {
        for (label, words) in [("why", finding.why()), ("mend", finding.remedy())] {
            if !words.is_empty() {
                text.push_str(&format!(
                    "\n      {FAINT}{label:4}{FAINT:#} {}",
                    fold(&plain(words), 11)
                ));
            }
        }
    }
    text
}

/// Folds a text at words, with the lines after the first moved in so far.
fn fold(text: &str, indent: usize) -> String {
    let mut folded = String::new();
    let mut column = indent;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            folded.push('\n');
            folded.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += width;
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_folded_at_words_and_none_is_lost() {
        let text = "word ".repeat(60);
        let folded = fold(text.trim(), 11);
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(folded.split_whitespace().count(), 60);
        assert_eq!(fold("short", 11), "short");
    }
}
