//! How many crates an app takes in: normal dependencies on Linux, without procedural macros, each tree resolved alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::verdict::{Kind, Verdicts};

const TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn run_all(verdicts: &mut Verdicts) {
    println!(
        "\ncrates in the tree (normal dependencies on Linux, no procedural macros, the crate itself left out)"
    );
    let none = ["--no-default-features", "--features"];
    let own = own_tree(&[&none[..], &["http"]].concat());
    let peer = |name, dependencies: &str| (name, peer_tree(dependencies));
    let (_, oidc) = peer(
        "",
        r#"openidconnect = { version = "4", features = ["reqwest", "rustls-tls"] }"#,
    );
    for (name, count) in [
        ("gatepass, http alone", own),
        ("gatepass, default (keychain, loopback)", own_tree(&[])),
        (
            "gatepass, mobile (uniffi)",
            own_tree(&[&none[..], &["uniffi"]].concat()),
        ),
        peer(
            "oauth2 5, reqwest and rustls (verifies no ID token)",
            r#"oauth2 = { version = "5", default-features = false, features = ["reqwest", "rustls-tls"] }"#,
        ),
        ("openidconnect 4, reqwest and rustls", oidc),
        peer(
            "huskarl 0.11, reqwest and rustls",
            "huskarl = \"0.11\"\nhuskarl-reqwest = { version = \"0.9\", features = [\"rustls-tls\"] }",
        ),
    ] {
        println!("  {name:<58} {count}");
    }
    verdicts.add(
        Kind::Count,
        "crates, http alone, as many as openidconnect at most",
        format!("≤ {oidc}"),
        own.to_string(),
        own <= oidc,
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn own_tree(features: &[&str]) -> usize {
    let mut command = tree(&root());
    command.args(["--package", "gatepass"]).args(features);
    count(command, "gatepass")
}

/// A package of its own, so that nobody else's features get in, with the versions of our lock file.
fn peer_tree(dependencies: &str) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let manifest = format!(
        "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\n{dependencies}\n"
    );
    std::fs::write(at("Cargo.toml"), manifest).expect("a manifest");
    std::fs::write(at("lib.rs"), "").expect("a source");
    std::fs::copy(root().join("Cargo.lock"), at("Cargo.lock")).expect("the lock file");
    count(tree(folder.path()), "alone")
}

fn tree(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "tree",
        "--target",
        TARGET,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    command.current_dir(folder);
    command
}

fn count(mut command: Command, itself: &str) -> usize {
    let output = command.output().expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let crates: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .filter(|(name, _)| *name != itself)
        .collect();
    crates.len()
}
