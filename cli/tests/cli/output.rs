//! Standard output that takes nothing more, and arguments that are no text.

use crate::support::{World, gatepass, stderr};

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_not_a_panic() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = gatepass(&["sign-in", "--headless", "--json"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("standard output cannot be written"),
        "{}",
        stderr(&output)
    );
}

/// Whoever read along has gone: no panic, no noise, and the journey still signs out.
#[cfg(unix)]
#[test]
fn a_broken_pipe_is_quiet() {
    for arguments in [
        &["sign-in", "--headless", "--json"][..],
        &["completions", "bash"],
        &["config"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = gatepass(arguments).stdout(writer).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("panic"), "{}", stderr(&output));
        assert!(!stderr(&output).contains("Broken pipe"), "{}", stderr(&output));
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_wrong_usage_and_a_path_need_not_be_text() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;
    let odd = OsStr::from_bytes(b"\xff\xfe");
    let status = |argument: &str, value: &OsStr| {
        let arguments = [
            OsStr::new("status"),
            OsStr::new("--json"),
            OsStr::new(argument),
            value,
        ];
        gatepass(&arguments).output().unwrap()
    };
    assert_eq!(status("--issuer", odd).status.code(), Some(2));
    assert_eq!(status("--config", odd).status.code(), Some(2));
    let world = World::new();
    let mut store = OsString::from("file:");
    store.push(world.path("odd"));
    store.push(odd);
    assert_eq!(status("--store", &store).status.code(), Some(10));
    let output = gatepass(&["status"])
        .env("GATEPASS_ISSUER", odd)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("GATEPASS_ISSUER is not valid UTF-8"));
}
