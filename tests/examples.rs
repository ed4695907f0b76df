//! The examples run here as a reader would run them: without arguments, to their end.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]
// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

/// Runs an example that cargo has built together with this test, and gives what it printed.
fn run(name: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("examples");
    let program = built.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let output = Command::new(&program).output().unwrap_or_else(|error| {
        // `cargo test` builds them; `cargo test --test examples` alone does not.
        panic!(
            "{}: {error}; build it with `cargo build --examples`",
            program.display()
        )
    });
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {printed}\n{complaint}");
    printed
}

#[cfg(feature = "keyring")]
#[test]
fn sign_in() {
    let printed = run("sign_in");
    assert_eq!(printed.matches("the API says 200").count(), 2, "{printed}");
    assert_eq!(
        printed.matches("signs in, in the browser").count(),
        1,
        "{printed}"
    );
    assert!(printed.contains("revocation at the server: Done"), "{printed}");
}

#[test]
fn several_apis() {
    let printed = run("several_apis");
    assert!(printed.contains("calendar: 200"), "{printed}");
    assert!(printed.contains("orders: 200"), "{printed}");
}

#[test]
fn several_accounts() {
    let printed = run("several_accounts");
    assert!(printed.contains("Alice") && printed.contains("Bob"), "{printed}");
    assert!(printed.contains("\n1 signed in"), "{printed}");
}

#[test]
fn own_storage() {
    let printed = run("own_storage");
    assert!(printed.contains("Found again: true"), "{printed}");
    assert_eq!(
        printed.contains("keeps its contract"),
        cfg!(feature = "conformance"),
        "{printed}"
    );
}

#[cfg(feature = "encrypted-file")]
#[test]
fn headless_linux() {
    let printed = run("headless_linux");
    assert_eq!(printed.matches("the API says 200").count(), 2, "{printed}");
    assert!(printed.contains("storage_wrong_key"), "{printed}");
}

#[test]
fn with_reqwest() {
    let printed = run("with_reqwest");
    assert!(printed.contains("sending again with a newer one"), "{printed}");
    assert!(printed.contains("second call: 200"), "{printed}");
}

#[test]
fn test_your_app() {
    assert!(run("test_your_app").contains("Ended(ExpiredOrRevoked)"));
}
