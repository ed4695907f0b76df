//! Apple's patterns for links: `*`, `?`, substitution variables; and the components that are made of them.
//!
//! Android 15 takes the same components for its dynamic rules.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How many comparisons of characters one file may cost. An honest one costs some hundreds.
const MAX_STEPS: usize = 4_000_000;

/// A link as components look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) path: &'a str,
    /// What follows `?`.
    pub(crate) query: &'a str,
    /// What follows `#`.
    pub(crate) fragment: &'a str,
}

/// How much may still be compared.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_STEPS)
    }
}

impl Budget {
    fn spend(&mut self, steps: usize) -> bool {
        match self.0.checked_sub(steps) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => {
                self.0 = 0;
                false
            }
        }
    }

    /// Whether something was left uncompared.
    pub(crate) fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// Substitution variables by name.
pub(crate) type Variables = BTreeMap<String, Vec<String>>;

/// What a component or its surroundings say about comparing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) case_sensitive: bool,
    pub(crate) percent_encoded: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            case_sensitive: true,
            percent_encoded: true,
        }
    }
}

impl Defaults {
    /// These, unless the object says otherwise.
    pub(crate) fn overridden(self, by: &Map<String, Value>) -> Self {
        let bool = |name, own| by.get(name).and_then(Value::as_bool).unwrap_or(own);
        Self {
            case_sensitive: bool("caseSensitive", self.case_sensitive),
            percent_encoded: bool("percentEncoded", self.percent_encoded),
        }
    }
}

/// Compares whole texts with patterns, within a budget.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    pub(crate) variables: &'a Variables,
    pub(crate) budget: &'a mut Budget,
}

impl Matcher<'_> {
    /// Whether a component fits the link: every part of it that is there must.
    pub(crate) fn fits(
        &mut self,
        component: &Map<String, Value>,
        defaults: Defaults,
        link: Link<'_>,
    ) -> bool {
        let rules = defaults.overridden(component);
        let part = |name: &str| component.get(name).and_then(Value::as_str);
        for (name, text) in [("/", link.path), ("#", link.fragment)] {
            if let Some(pattern) = part(name)
                && !self.matches(pattern, text, rules)
            {
                return false;
            }
        }
        match component.get("?") {
            Some(Value::String(pattern)) => self.matches(pattern, link.query, rules),
            Some(Value::Object(items)) => items.iter().all(|(name, pattern)| {
                let pattern = pattern.as_str().unwrap_or_default();
                let values: Vec<&str> = link
                    .query
                    .split('&')
                    .filter_map(|item| {
                        let (known, value) = item.split_once('=').unwrap_or((item, ""));
                        (known == name).then_some(value)
                    })
                    .collect();
                // A parameter that is absent counts as empty; of one that comes again each must fit.
                match values.as_slice() {
                    [] => self.matches(pattern, "", rules),
                    values => values.iter().all(|value| self.matches(pattern, value, rules)),
                }
            }),
            _ => true,
        }
    }

    /// Whether the pattern fits the whole text.
    pub(crate) fn matches(&mut self, pattern: &str, text: &str, rules: Defaults) -> bool {
        let text = if rules.percent_encoded {
            Cow::Borrowed(text)
        } else {
            percent_decoded(text)
        };
        let text: Vec<char> = text.chars().collect();
        let mut at = vec![false; text.len() + 1];
        if let Some(first) = at.first_mut() {
            *first = true;
        }
        let at = self.advance(pattern, &text, at, rules, true);
        at.last().copied().unwrap_or(false)
    }

    /// From these places in the text, those that the pattern leads to. No backtracking: all places go along at once, so the
    /// cost is the product of the lengths at worst.
    fn advance(
        &mut self,
        pattern: &str,
        text: &[char],
        mut at: Vec<bool>,
        rules: Defaults,
        variables: bool,
    ) -> Vec<bool> {
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if !self.budget.spend(text.len() + 1) {
                return vec![false; text.len() + 1];
            }
            if variables && let Some((name, after)) = variable(rest) {
                at = self.substitute(name, text, &at, rules);
                rest = after;
                continue;
            }
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            at = match first {
                '*' => {
                    let mut reached = false;
                    at.into_iter()
                        .map(|here| {
                            reached |= here;
                            reached
                        })
                        .collect()
                }
                '?' => step(&at, text, |_| true),
                wanted => step(&at, text, |c| same(wanted, c, rules.case_sensitive)),
            };
            if !at.contains(&true) {
                return at;
            }
        }
        at
    }

    fn substitute(&mut self, name: &str, text: &[char], at: &[bool], rules: Defaults) -> Vec<bool> {
        let two_letters = |at: &[bool]| {
            let one = step(at, text, |c| c.is_ascii_alphabetic());
            step(&one, text, |c| c.is_ascii_alphabetic())
        };
        match name {
            "alpha" => step(at, text, |c| c.is_ascii_alphabetic()),
            "upper" => step(at, text, |c| c.is_ascii_uppercase()),
            "lower" => step(at, text, |c| c.is_ascii_lowercase()),
            "alnum" => step(at, text, |c| c.is_ascii_alphanumeric()),
            "digit" => step(at, text, |c| c.is_ascii_digit()),
            "xdigit" => step(at, text, |c| c.is_ascii_hexdigit()),
            // ISO codes; which of them exist is not for us to know.
            "region" | "lang" => two_letters(at),
            _ => {
                let mut reached = vec![false; at.len()];
                let variables = self.variables;
                for value in variables.get(name).into_iter().flatten() {
                    if !self.budget.spend(at.len()) {
                        break;
                    }
                    // A value has wildcards, and no variables.
                    let places = self.advance(value, text, at.to_vec(), rules, false);
                    for (known, new) in reached.iter_mut().zip(places) {
                        *known |= new;
                    }
                }
                reached
            }
        }
    }
}

/// One character further from each place, where it is a wanted one.
fn step(at: &[bool], text: &[char], wanted: impl Fn(char) -> bool) -> Vec<bool> {
    let moved = at.iter().zip(text).map(|(here, c)| *here && wanted(*c));
    std::iter::once(false).chain(moved).collect()
}

fn same(a: char, b: char, case_sensitive: bool) -> bool {
    a == b || (!case_sensitive && a.to_lowercase().eq(b.to_lowercase()))
}

/// A variable at the beginning: its name, and what follows.
fn variable(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("$(")?.split_once(')')
}

/// The variables that a pattern names, of those that are neither declared nor Apple's own.
pub(crate) fn undeclared(pattern: &str, declared: &Variables) -> Option<String> {
    const OWN: [&str; 8] = [
        "alpha", "upper", "lower", "alnum", "digit", "xdigit", "region", "lang",
    ];
    let names = pattern.split("$(").skip(1);
    let names = names.filter_map(|rest| rest.split_once(')').map(|(name, _)| name));
    let mut unknown = names.filter(|name| !OWN.contains(name) && !declared.contains_key(*name));
    unknown.next().map(str::to_owned)
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex
            .filter(|two| first == b'%' && two.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(pattern: &str, text: &str) -> bool {
        let (variables, mut budget) = (Variables::new(), Budget::default());
        let mut matcher = Matcher {
            variables: &variables,
            budget: &mut budget,
        };
        matcher.matches(pattern, text, Defaults::default())
    }

    #[test]
    fn wildcards() {
        for (pattern, text) in [
            ("/oauth/callback", "/oauth/callback"),
            ("*", "/anything/at/all"),
            ("*", ""),
            ("/oauth/*", "/oauth/"),
            ("/oauth/*", "/oauth/a/b"),
            ("/*/callback", "/a/b/callback"),
            ("/?*", "/a"),
            ("/c?llback", "/callback"),
            ("/$(lang)/cb", "/de/cb"),
            ("/$(digit)$(digit)", "/42"),
            ("**a**", "a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/oauth/callback", "/oauth/callback/"),
            ("/oauth/callback", "/OAuth/callback"),
            ("/oauth", "/oauth/callback"),
            ("/?*", "/"),
            ("/c?llback", "/cllback"),
            ("", "/"),
            ("/$(digit)", "/x"),
            ("/$(unknown)", "/unknown"),
            ("/$(lang)/cb", "/d/cb"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_take_for_ever_does_not() {
        let mut variables = Variables::new();
        variables.insert("v".to_owned(), vec!["*a*".repeat(500); 500]);
        let mut budget = Budget::default();
        let mut matcher = Matcher {
            variables: &variables,
            budget: &mut budget,
        };
        assert!(!matcher.matches(&"$(v)".repeat(500), &"a".repeat(2_000), Defaults::default()));
        assert!(budget.is_spent());
        assert!(matches(&"*a".repeat(40), &"a".repeat(60)));
    }

    #[test]
    fn components_look_at_path_query_and_fragment() {
        let link = Link {
            path: "/cb",
            query: "code=abc&state=x&state=y",
            fragment: "",
        };
        let fits = |component: Value| {
            let (variables, mut budget) = (Variables::new(), Budget::default());
            let mut matcher = Matcher {
                variables: &variables,
                budget: &mut budget,
            };
            matcher.fits(component.as_object().unwrap(), Defaults::default(), link)
        };
        for component in [
            json!({}),
            json!({ "/": "/cb" }),
            json!({ "/": "/CB", "caseSensitive": false }),
            json!({ "/": "/cb", "?": "code=*" }),
            json!({ "?": { "code": "???" } }),
            json!({ "?": { "state": "?" } }),
            json!({ "?": { "absent": "" } }),
            json!({ "?": { "absent": "*" } }),
            json!({ "#": "" }),
        ] {
            assert!(fits(component.clone()), "{component}");
        }
        for component in [
            json!({ "/": "/CB" }),
            json!({ "?": "" }),
            json!({ "?": { "code": "??" } }),
            json!({ "?": { "state": "x" } }),
            json!({ "?": { "absent": "?*" } }),
            json!({ "#": "?*" }),
        ] {
            assert!(!fits(component.clone()), "{component}");
        }
    }

    #[test]
    fn escapes_are_compared_as_written_unless_told_otherwise() {
        let variables = Variables::new();
        let mut budget = Budget::default();
        let mut matcher = Matcher {
            variables: &variables,
            budget: &mut budget,
        };
        let decoded = Defaults {
            percent_encoded: false,
            ..Defaults::default()
        };
        assert!(matcher.matches("/a%20b", "/a%20b", Defaults::default()));
        assert!(!matcher.matches("/a b", "/a%20b", Defaults::default()));
        assert!(matcher.matches("/a b", "/a%20b", decoded));
        assert!(matcher.matches("/100%", "/100%", decoded));
        assert!(matcher.matches("/%zz%4", "/%zz%4", decoded));
    }
}
