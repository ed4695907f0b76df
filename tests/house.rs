//! The rules of the house that a compiler does not know: who may import whom, and what no file may hold.

// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "house/error_codes.rs"]
mod error_codes;
#[path = "house/examples.rs"]
mod examples;
#[path = "house/machine.rs"]
mod machine;
#[path = "house/named_tests.rs"]
mod named_tests;

#[path = "house/conformance.rs"]
mod conformance;

/// The rooms, top to bottom. A file imports only from rooms below its own; those in one line do not know each other.
/// There are no exceptions: `adapters` stand above the `ports` they implement and the `protocol` they speak, `client`
/// above the `adapters` it wires, `test_server` above the clock it runs on. `protocol` knows no port, so it does no I/O.
const ROOMS: &[&[&str]] = &[
    &["lib"],
    &["ffi", "fuzzing", "internals"],
    &["client"],
    &["session"],
    &["flows"],
    &["test_server"],
    &["adapters"],
    &["ports"],
    &["protocol"],
    &["error"],
    &["secret", "sync"],
];

/// Rooms that are seen from above by few: who may name them.
const FEW_MAY_SEE: &[(&str, &[&str], &str)] = &[
    (
        "adapters",
        &[
            "src/client/builder.rs",    // wires them
            "src/client/built_in.rs",   // opens those that a façade asks for by name
            "src/session/listening.rs", // opens the loopback listener of a sign-in or a sign-out
            "src/lib.rs",               // exports those that an app can choose
            "src/test_server/",         // runs on the system's clock unless given another
            "src/fuzzing/",             // holds them to their contracts
            "src/internals.rs",         // lends the files to the simulator, on a disk of its own
        ],
        "everything else asks a port",
    ),
    (
        "test_server",
        &["src/lib.rs", "src/ffi/test_server.rs"],
        "it is no part of an app",
    ),
    (
        "ffi",
        &["src/lib.rs"],
        "it is a mirror, and nothing leans on a mirror",
    ),
    (
        "fuzzing",
        &["src/lib.rs"],
        "it looks at everything, and nothing looks at it",
    ),
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room a file belongs to: the folder or the file below `src`.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap();
        below.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/conformance.rs")
    }

    /// What is compiled into an app: the lines before the tests that close a file, without comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.own_lines()
            .filter(|line| !line.trim_start().starts_with("//"))
    }

    fn own_lines(&self) -> impl Iterator<Item = &str> {
        let end = self
            .text
            .find("\n#[cfg(test)]\nmod tests {")
            .unwrap_or(self.text.len());
        self.text[..end].lines()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    let source = |path: PathBuf| Source {
        path: path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/"),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    found.into_iter().map(source).collect()
}

/// The names that follow `crate::`, those of a group included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let group = rest
            .strip_prefix('{')
            .map(|group| group.split('}').next().unwrap());
        for name in group
            .unwrap_or(rest)
            .split(',')
            .take(if group.is_some() { usize::MAX } else { 1 })
        {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            rooms.insert(name);
        }
    }
    rooms
}

fn floor(room: &str) -> Option<usize> {
    ROOMS.iter().position(|floor| floor.contains(&room))
}

#[test]
fn a_room_imports_only_from_rooms_below() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let own =
            floor(source.room()).unwrap_or_else(|| panic!("{} is in no room of DESIGN §2", source.path));
        for import in imports(&source.code().collect::<Vec<_>>().join("\n")) {
            let Some(other) = floor(&import) else {
                // A name at the top of the crate, such as `crate::Error`, hides where it comes from.
                wrong.push(format!(
                    "{} imports crate::{import}, which is no room",
                    source.path
                ));
                continue;
            };
            if import != source.room() && other <= own {
                wrong.push(format!(
                    "{} imports from {import}, which is not below",
                    source.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn some_rooms_are_seen_by_few() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = source.code().collect::<Vec<_>>().join("\n");
        for (room, by, why) in FEW_MAY_SEE {
            let allowed = source.room() == *room || by.iter().any(|path| source.path.starts_with(path));
            if imports(&code).contains(*room) && !allowed {
                wrong.push(format!("{} imports from {room}: {why}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn uniffi_is_known_in_ffi_only() {
    for source in sources().iter().filter(|source| source.room() != "ffi") {
        let named: Vec<_> = source
            .code()
            .filter(|line| line.to_ascii_lowercase().contains("uniffi"))
            // The feature has that name, and says what is compiled for the bindings.
            .filter(|line| !line.trim_start().starts_with("#[cfg("))
            .collect();
        match source.path.as_str() {
            "src/lib.rs" => assert_eq!(named.len(), 1, "one line for its macros: {named:?}"),
            path => assert!(named.is_empty(), "{path}: {named:?}"),
        }
    }
}

#[test]
fn the_standards_do_no_io_and_read_no_clock() {
    for source in sources()
        .iter()
        .filter(|source| source.room() == "protocol" && !source.is_test())
    {
        for line in source.code() {
            for foreign in [
                "std::net::Tcp",
                "std::fs",
                "std::thread",
                "SystemTime",
                "Instant",
                "getrandom",
                "tokio",
                "reqwest",
                "async fn",
                ".await",
            ] {
                assert!(!line.contains(foreign), "{}: {line}", source.path);
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_fits_on_a_desk() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        // The page of the crate is a file of its own.
        let says = first.starts_with("//! ") || first.starts_with("#![doc = include_str!(");
        assert!(says, "{} begins with {first:?}", source.path);
        let lines = source.own_lines().count();
        assert!(
            source.is_test() || lines <= 700,
            "{} has {lines} lines",
            source.path
        );
    }
}

/// Where several are ready at once, `select!` draws lots that no seed governs: the simulator could not replay that.
#[test]
fn a_choice_between_two_that_are_ready_is_no_game_of_chance() {
    let mut choices = 0;
    for source in sources().iter().filter(|source| !source.is_test()) {
        if ["test_server", "ports"].contains(&source.room()) {
            continue;
        }
        for (_, arms) in source
            .text
            .match_indices("select! {")
            .map(|(at, _)| source.text.split_at(at))
        {
            choices += 1;
            let first = arms
                .lines()
                .skip(1)
                .map(str::trim)
                .find(|line| !line.starts_with("//"));
            assert_eq!(first, Some("biased;"), "{}", source.path);
        }
    }
    assert!(choices > 5, "{choices}");
}

/// Every text file that git knows. `None` outside a checkout, where there is nothing to ask.
fn tracked() -> Option<Vec<(String, String)>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .ok()?;
    if !listing.status.success() {
        return None;
    }
    let names = String::from_utf8(listing.stdout).ok()?;
    let files = names.split_terminator('\0').filter_map(|name| {
        let text = std::fs::read_to_string(root().join(name)).ok()?;
        Some((name.to_owned(), text))
    });
    Some(files.collect())
}

/// Who changes the code that a planted bug is in changes the patch with it.
#[test]
fn every_planted_bug_can_still_be_planted() {
    let Some(files) = tracked() else { return };
    let patches = files.iter().filter(|(name, _)| name.ends_with(".patch"));
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    for (name, _) in patches {
        looked_at += 1;
        let check = Command::new("git")
            .args(["apply", "--check", name])
            .current_dir(root())
            .output();
        let check = check.unwrap();
        if !check.status.success() {
            wrong.push(String::from_utf8_lossy(&check.stderr).into_owned());
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.concat());
    assert!(looked_at > 40, "{looked_at}");
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let Some(files) = tracked() else { return };
    // Put together here, so that this file does not name them either.
    let part = |words: [&str; 2]| words.concat();
    let machine = [
        part(["..", "/shared"]),
        part(["/wo", "rk/"]),
        part(["/ho", "me/"]),
        part(["/Us", "ers/"]),
        part(["/ro", "ot/"]),
        part(["/tmp", "/wt"]),
        part(["C:", "\\Users"]),
    ];
    let registry = [
        part(["index.crates", ".io"]),
        part(["static.crates", ".io"]),
        part(["registry.npm", "js.org"]),
        part(["repo1", ".maven.org"]),
        part(["proxy.golang", ".org"]),
        part(["files.python", "hosted.org"]),
    ];
    let mut wrong = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| name != "Cargo.lock") {
        for forbidden in machine.iter().chain(&registry) {
            if let Some(line) = text.lines().find(|line| line.contains(forbidden)) {
                let line: String = line.trim().chars().take(120).collect();
                wrong.push(format!("{name}: {forbidden} in {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
