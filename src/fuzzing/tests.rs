//! The seeds, and everything that was ever found, in every run of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use super::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files
}

/// `None` where the crate is built from its package, which holds no corpus.
fn corpus() -> Option<PathBuf> {
    let corpus = folder("corpus");
    corpus.is_dir().then_some(corpus)
}

#[test]
fn every_seed_and_every_old_finding_holds() {
    let Some(corpus) = corpus() else { return };
    let mut broken: Vec<String> = Vec::new();
    for (name, property) in TARGETS {
        let seeds = files(&corpus.join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for file in seeds.iter().chain(&files(&folder("found").join(name))) {
            let bytes = fs::read(file).unwrap();
            if std::panic::catch_unwind(|| property(&bytes)).is_err() {
                broken.push(format!("{name}: {}", file.display()));
            }
        }
    }
    // Why stands above, where each of them panicked.
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_property_has_its_target_and_every_corpus_its_property() {
    let Some(corpus) = corpus() else { return };
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for name in &names {
        let target = folder("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(&target).unwrap();
        assert!(text.contains(&format!("gatepass::fuzzing::{name}")), "{name}");
        let planted = folder("planted").join(format!("{name}.patch"));
        assert!(planted.is_file(), "{name} has no planted bug");
    }
    for inputs in files(&corpus).iter().chain(&files(&folder("found"))) {
        let name = inputs.file_name().unwrap().to_str().unwrap();
        let compiled = match name {
            "sealed_record" => cfg!(feature = "encrypted-file"),
            "association" | "app_file" => cfg!(feature = "association"),
            _ => true,
        };
        assert!(!compiled || names.contains(&name), "{name} belongs to no target");
    }
}

#[test]
fn the_corpora_are_small() {
    let Some(corpus) = corpus() else { return };
    let mut total = 0;
    for file in files(&corpus).iter().flat_map(|inputs| files(inputs)) {
        let size = fs::metadata(&file).unwrap().len();
        assert!(size <= 16 * 1024, "{} has {size} bytes", file.display());
        total += size;
    }
    assert!(total <= 200 * 1000, "the corpora have {total} bytes");
}

/// Input that has no form at all, from a random source that repeats.
#[test]
fn junk_breaks_no_property() {
    let mut state: u64 = 0x5eed;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (_, property) in TARGETS {
        property(b"");
        for _ in 0..200 {
            let length = next() % 200;
            let bytes: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[3]).collect();
            property(&bytes);
        }
    }
}
