//! The licences of what is compiled into the library, with their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::place::Place;
use crate::run;

/// One text: each crate with its licence, and each licence's text once.
pub(crate) fn of(place: &Place) -> Result<String> {
    let arguments = [
        "tree", "--locked", "--quiet", "--prefix", "none", "--format", "{p}",
    ];
    let mut tree = run::program("cargo", arguments);
    tree.args(["--edges", "normal,no-proc-macro", "--package", "gatepass"]);
    tree.args(["--no-default-features", "--features", "uniffi"]);
    tree.args(["--target", "aarch64-linux-android"])
        .current_dir(&place.root);
    let tree = run::quiet(tree)?;
    let wanted: BTreeSet<(String, String)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            Some((name.to_owned(), version.to_owned()))
        })
        .filter(|(name, _)| name != "gatepass")
        .collect();

    let mut metadata = run::program(
        "cargo",
        [
            "metadata",
            "--locked",
            "--quiet",
            "--all-features",
            "--format-version",
            "1",
        ],
    );
    metadata.current_dir(&place.root);
    let metadata: Value = serde_json::from_str(&run::quiet(metadata)?).context("cargo's metadata")?;
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("cargo's metadata")?;

    let mut list = String::from("What is compiled into Gatepass, and under which licences.\n\n");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut found = 0;
    for package in packages {
        let field = |name: &str| package.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, version) = (field("name").to_owned(), field("version").to_owned());
        if !wanted.contains(&(name.clone(), version.clone())) {
            continue;
        }
        found += 1;
        writeln!(list, "{name} {version}: {}", field("license"))?;
        let folder = Path::new(field("manifest_path"))
            .parent()
            .context("a crate without a folder")?;
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let file = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase();
            let is_text = ["license", "licence", "copying", "notice", "copyright"]
                .iter()
                .any(|word| file.starts_with(word));
            if is_text && path.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path)?)
                    .trim()
                    .replace("\r\n", "\n");
                texts.entry(text).or_default().insert(format!("{name} {version}"));
            }
        }
    }
    if found != wanted.len() {
        bail!("{found} of {} crates have a licence to show", wanted.len());
    }
    for (text, crates) in texts {
        let crates: Vec<String> = crates.into_iter().collect();
        write!(list, "\n\n---- {} ----\n\n{text}\n", crates.join(", "))?;
    }
    Ok(list)
}
