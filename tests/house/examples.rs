//! Everything that the crate exports has an example of its own, which rustdoc compiles.
//!
//! What is exported is read from the `pub use` lines of lib.rs and of test_server/mod.rs, so that a new name cannot be
//! forgotten; the documentation from the tokens of the source, so that what a macro declares counts like all else.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::sources;

/// The pages that say what is exported.
const DOORS: [&str; 2] = ["src/lib.rs", "src/test_server/mod.rs"];

/// Words that stand between `pub` and a name.
const KEYWORDS: [&str; 10] = [
    "struct", "enum", "union", "trait", "type", "fn", "const", "static", "async", "unsafe",
];

type Tokens = Peekable<proc_macro2::token_stream::IntoIter>;

fn read(stream: TokenStream) -> Tokens {
    stream.into_iter().peekable()
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The names at the ends of a `use`: of `a::{b, c::D}` they are `b` and `D`.
fn ends(tokens: &mut Tokens, names: &mut BTreeSet<String>) {
    let mut last = None;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) => last = Some(ident.to_string()),
            TokenTree::Group(group) => {
                last = None;
                ends(&mut read(group.stream()), names);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Punct(punct) if punct.as_char() == ',' => names.extend(last.take()),
            _ => {}
        }
    }
    names.extend(last);
}

/// What a file exports to users: each `pub use` that is not hidden from the documentation, in public modules too.
fn exported(stream: TokenStream, names: &mut BTreeSet<String>) {
    let mut tokens = read(stream);
    let mut hidden = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let attribute = tokens.peek().map(ToString::to_string).unwrap_or_default();
                hidden |= attribute.replace(' ', "") == "[doc(hidden)]";
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => hidden = false,
            TokenTree::Ident(ident) if ident == "pub" && word(tokens.peek()).as_deref() == Some("use") => {
                let mut found = BTreeSet::new();
                ends(&mut tokens, &mut found);
                if !std::mem::take(&mut hidden) {
                    names.append(&mut found);
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                exported(group.stream(), names);
                hidden = false;
            }
            _ => {}
        }
    }
}

/// The public items of a file, at every depth but inside `impl`, each with its documentation.
fn documented(stream: TokenStream, items: &mut BTreeMap<String, Vec<String>>) {
    let mut tokens = read(stream);
    let mut documentation = String::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.peek() {
                    let mut attribute = read(attribute.stream());
                    if word(attribute.next().as_ref()).as_deref() == Some("doc")
                        && is_punct(attribute.peek(), '=')
                    {
                        let text = attribute.nth(1).map(|text| text.to_string()).unwrap_or_default();
                        documentation.push_str(&text);
                        documentation.push('\n');
                    }
                    tokens.next();
                }
            }
            TokenTree::Ident(ident) if ident == "impl" => {
                // Methods are told by the example of their type.
                let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
                let _ = tokens.find(is_body);
                documentation.clear();
            }
            TokenTree::Ident(ident) if ident == "pub" => {
                let words: Vec<String> =
                    std::iter::from_fn(|| tokens.next_if(|token| matches!(token, TokenTree::Ident(_))))
                        .map(|word| word.to_string())
                        .collect();
                // Behind `pub (crate)` there is no word, and a single one before a colon is a field.
                let is_field = words.len() == 1 && is_punct(tokens.peek(), ':');
                let name = words.into_iter().find(|word| !KEYWORDS.contains(&word.as_str()));
                if let Some(name) = name.filter(|name| !is_field && name != "mod" && name != "use") {
                    items
                        .entry(name)
                        .or_default()
                        .push(std::mem::take(&mut documentation));
                }
                documentation.clear();
            }
            TokenTree::Group(group) => {
                documented(group.stream(), items);
                documentation.clear();
            }
            _ => documentation.clear(),
        }
    }
}

/// Whether there is a block in it that rustdoc compiles, and expects to compile.
fn has_example(documentation: &str) -> bool {
    let fences = documentation.lines().filter_map(|line| {
        // Each line is a literal: "/// x" is #[doc = " x"].
        line.trim_matches('"').trim().strip_prefix("```")
    });
    fences.step_by(2).any(|info| {
        info.split(',')
            .all(|word| matches!(word, "" | "rust" | "no_run" | "should_panic"))
    })
}

#[test]
fn every_exported_item_has_an_example() {
    let (mut names, mut items) = (BTreeSet::new(), BTreeMap::new());
    for source in sources() {
        if source.room() == "ffi" || source.path.contains("/tests") {
            continue;
        }
        let own: Vec<_> = source.own_lines().collect();
        let tokens: TokenStream = own.join("\n").parse().unwrap();
        let mut here = BTreeMap::new();
        documented(tokens.clone(), &mut here);
        if DOORS.contains(&source.path.as_str()) {
            exported(tokens, &mut names);
            names.extend(here.keys().cloned());
        }
        for (name, texts) in here {
            items.entry(name).or_insert_with(Vec::new).extend(texts);
        }
    }
    assert!(names.len() > 80, "the source was not understood: {names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !items.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "exported, and not found in src/: {unknown:?}");
    let bare: Vec<_> = names
        .iter()
        .filter(|name| !items[*name].iter().all(|text| has_example(text)))
        .collect();
    assert!(
        bare.is_empty(),
        "no example that compiles in the documentation of {bare:?}"
    );
}
