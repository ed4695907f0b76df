//! `cargo xtask crates` and `cargo xtask sbom`: what is in the builds that people ship.
//!
//! Both ask cargo with `--locked`, so they speak of the versions in `Cargo.lock` and of no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::place::Place;
use crate::{run, steps};

/// Something that is shipped, on the platform that it is counted for.
struct Build {
    name: &'static str,
    package: &'static str,
    /// Where the package's manifest is, below the checkout.
    folder: &'static str,
    features: &'static [&'static str],
    target: &'static str,
}

const BUILDS: [Build; 3] = [
    Build {
        name: "library",
        package: "gatepass",
        folder: "",
        features: &[],
        target: "x86_64-unknown-linux-gnu",
    },
    Build {
        name: "mobile",
        package: "gatepass",
        folder: "",
        features: &["--no-default-features", "--features", "uniffi"],
        target: "aarch64-linux-android",
    },
    Build {
        name: "program",
        package: "gatepass-cli",
        folder: "cli",
        features: &[],
        target: "x86_64-unknown-linux-gnu",
    },
];

/// Where the numbers stand.
const LIMITS: &str = ".ci/crates";

/// Counts the crates of each build and holds the numbers against those that were agreed on. False if one grew.
pub(crate) fn crates(place: &Place) -> Result<bool> {
    let limits = place.at(LIMITS);
    let text = fs::read_to_string(&limits).with_context(|| format!("reading {}", limits.display()))?;
    let mut fits = true;
    for build in &BUILDS {
        let count = build.tree(place, "normal,no-proc-macro")?.len();
        let limit = limit_of(&text, build.name)
            .with_context(|| format!("{LIMITS} has no number for `{}`", build.name))?;
        let verdict = match count {
            _ if count > limit => "TOO MANY",
            _ if count < limit => "fewer: lower the number",
            _ => "as agreed",
        };
        println!("{}: {count} crates, {limit} agreed on: {verdict}", build.name);
        fits &= count <= limit;
    }
    if !fits {
        println!("`cargo tree --edges normal,no-proc-macro` shows who brings them; {LIMITS} says what to do");
    }
    Ok(fits)
}

fn limit_of(text: &str, name: &str) -> Option<usize> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, number) = lines.find(|(found, _)| *found == name)?;
    number.trim().parse().ok()
}

/// Writes a bill of materials for each build, and checks that it lists what cargo would build.
pub(crate) fn sbom(place: &Place) -> Result<()> {
    let folder = place.at("target/sbom");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for build in &BUILDS {
        let path = folder.join(format!("{}.cdx.json", build.name));
        // What runs while compiling is in it, too: it can put anything into the build.
        let built = build.tree(place, "normal,build")?;
        let listed = build.write_sbom(place, &path, &built)?;
        let differ = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            one.difference(other).cloned().collect::<Vec<_>>().join(", ")
        };
        if listed != built {
            bail!(
                "{} lacks [{}] and invents [{}]",
                path.display(),
                differ(&built, &listed),
                differ(&listed, &built)
            );
        }
        println!(
            "{}: {} crates, as in Cargo.lock: {}",
            build.name,
            listed.len(),
            path.display()
        );
    }
    Ok(())
}

impl Build {
    /// The crates of others in the tree, each as `name version`.
    fn tree(&self, place: &Place, edges: &str) -> Result<BTreeSet<String>> {
        let mut command = run::program("cargo", ["tree", "--locked", "--quiet", "--prefix", "none"]);
        command.args(["--format", "{p}", "--edges", edges, "--target", self.target]);
        command.args(["--package", self.package]).args(self.features);
        command.current_dir(&place.root);
        let output = run::quiet(command)?;
        Ok(output.lines().filter_map(crate_of).collect())
    }

    /// Writes the bill of materials of what is built, and gives the crates in it as `tree` does.
    fn write_sbom(&self, place: &Place, path: &Path, built: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        // It writes one file beside the manifest of every member of the workspace, and has no option for another place.
        let name = format!("gatepass-sbom-{}", self.name);
        let mut command = Command::new(steps::cargo_cyclonedx(place)?);
        command.args([
            "cyclonedx",
            "--quiet",
            "--format",
            "json",
            "--spec-version",
            "1.5",
        ]);
        command.args(["--override-filename", &name, "--target", self.target]);
        command.args(self.features).arg("--manifest-path");
        command.arg(place.at(self.folder).join("Cargo.toml"));
        // The time of a build is no part of what is in it; SOURCE_DATE_EPOCH makes the file the same every time.
        command.env("SOURCE_DATE_EPOCH", "0").current_dir(&place.root);
        run::quiet(command)?;
        let written = Written::below(place, &format!("{name}.json"))?;
        let text = fs::read_to_string(place.at(self.folder).join(format!("{name}.json")))
            .with_context(|| format!("cargo-cyclonedx wrote nothing for {}", self.package))?;
        drop(written);
        let no_bill = || format!("cargo-cyclonedx wrote no CycloneDX for {}", self.name);
        let mut bill: Value = serde_json::from_str(&text).with_context(no_bill)?;
        strike_out(&mut bill, built).with_context(no_bill)?;
        fs::write(path, format!("{bill:#}\n")).with_context(|| format!("writing {}", path.display()))?;
        crates_of(&bill).with_context(no_bill)
    }
}

/// `name version` of a line of `cargo tree`; nothing for a crate of ours, which has a path behind it.
fn crate_of(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let ours = words.any(|word| word.starts_with("(/") || word.contains(":\\"));
    (!ours).then(|| format!("{name} {version}"))
}

/// Takes out what this build does not take. The tool asks `cargo metadata`, which knows the features of the whole
/// workspace only, and so lists what the other members have besides.
fn strike_out(bill: &mut Value, built: &BTreeSet<String>) -> Result<()> {
    let mut gone = BTreeSet::new();
    let mut kept = Vec::new();
    let components = array_mut(bill, "components")?;
    for component in components.drain(..) {
        match crate_in(&component)? {
            Some(name) if !built.contains(&name) => {
                drop(gone.replace(text(&component, "bom-ref")?.to_owned()))
            }
            _ => kept.push(component),
        }
    }
    *components = kept;
    let is_gone = |reference: Option<&Value>| {
        let reference = reference.and_then(Value::as_str);
        reference.is_some_and(|reference| gone.contains(reference))
    };
    let dependencies = array_mut(bill, "dependencies")?;
    dependencies.retain(|one| !is_gone(one.get("ref")));
    for on in dependencies {
        if let Ok(on) = array_mut(on, "dependsOn") {
            on.retain(|reference| !is_gone(Some(reference)));
        }
    }
    Ok(())
}

fn array_mut<'a>(of: &'a mut Value, name: &str) -> Result<&'a mut Vec<Value>> {
    let member = of.get_mut(name).and_then(Value::as_array_mut);
    member.with_context(|| format!("no {name}"))
}

fn text<'a>(of: &'a Value, name: &str) -> Result<&'a str> {
    let member = of.get(name).and_then(Value::as_str);
    member.with_context(|| format!("no {name}"))
}

/// The crate that a component of a bill of materials is, as `tree` names it; nothing for one of ours.
fn crate_in(component: &Value) -> Result<Option<String>> {
    // A path instead of a registry: ours.
    if text(component, "purl")?.contains("download_url=file") {
        return Ok(None);
    }
    let (name, version) = (text(component, "name")?, text(component, "version")?);
    Ok(Some(format!("{name} {version}")))
}

/// The components of a bill of materials that are crates of others. Each must name its licence.
fn crates_of(bill: &Value) -> Result<BTreeSet<String>> {
    if text(bill, "bomFormat")? != "CycloneDX" {
        bail!("another format");
    }
    let components = bill.get("components").and_then(Value::as_array);
    let mut crates = BTreeSet::new();
    for component in components.context("no components")? {
        if let Some(name) = crate_in(component)? {
            let licences = component.get("licenses").and_then(Value::as_array);
            licences.with_context(|| format!("{name} has no licence"))?;
            crates.insert(name);
        }
    }
    Ok(crates)
}

/// Files that were written beside the manifests, removed when this goes.
struct Written(Vec<PathBuf>);

impl Written {
    fn below(place: &Place, name: &str) -> Result<Self> {
        let mut found = vec![place.at(name)];
        for entry in fs::read_dir(&place.root).context("reading the checkout")? {
            found.push(entry.context("reading the checkout")?.path().join(name));
        }
        found.retain(|path| path.is_file());
        Ok(Self(found))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is seen by git.
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_tree_is_a_crate_unless_it_is_ours() {
        for (line, expected) in [
            ("arc-swap v1.9.3", Some("arc-swap 1.9.3")),
            ("serde_derive v1.0.1 (proc-macro)", Some("serde_derive 1.0.1")),
            ("arc-swap v1.9.3 (*)", Some("arc-swap 1.9.3")),
            ("gatepass v0.1.0 (/somewhere/gatepass)", None),
            ("gatepass v0.1.0 (C:\\somewhere\\gatepass)", None),
            ("", None),
        ] {
            assert_eq!(crate_of(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_limit_is_found_by_its_name() {
        let text = "# library 9\nlibrary 160\nmobile 100\n";
        assert_eq!(limit_of(text, "library"), Some(160));
        assert_eq!(limit_of(text, "mobile"), Some(100));
        assert_eq!(limit_of(text, "program"), None);
        assert_eq!(limit_of("library many", "library"), None);
    }

    #[test]
    fn a_bill_of_materials_lists_what_is_built_and_nothing_else() {
        let component = |name: &str, more: &str| {
            format!(
                r#"{{"bom-ref":"{name}","name":"{name}","version":"1.0.0","purl":"pkg:cargo/{name}@1.0.0{more}","licenses":[]}}"#
            )
        };
        let text = format!(
            r#"{{"bomFormat":"CycloneDX","components":[{},{},{}],"dependencies":[
                {{"ref":"a","dependsOn":["b","c"]}},{{"ref":"b"}},{{"ref":"c","dependsOn":["b"]}}]}}"#,
            component("a", ""),
            component("b", ""),
            component("c", "?download_url=file://.")
        );
        let mut bill = serde_json::from_str(&text).unwrap();
        strike_out(&mut bill, &["a 1.0.0".to_owned()].into()).unwrap();
        assert_eq!(
            crates_of(&bill).unwrap().into_iter().collect::<Vec<_>>(),
            ["a 1.0.0"]
        );
        assert!(!bill.to_string().contains("\"b\""), "{bill}");
        assert!(bill.to_string().contains("\"c\""), "ours stays: {bill}");
        for bad in [
            "{}",
            r#"{"bomFormat":"CycloneDX"}"#,
            r#"{"bomFormat":"CycloneDX","components":[{}]}"#,
            r#"{"bomFormat":"CycloneDX","components":[{"name":"a","version":"1","purl":"x"}]}"#,
            r#"{"bomFormat":"SPDX","components":[]}"#,
        ] {
            assert!(crates_of(&serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
