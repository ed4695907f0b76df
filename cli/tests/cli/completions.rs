//! `completions`: scripts that the shells take.

use std::process::Command;

use crate::support::{World, stdout};

#[test]
fn every_shell_gets_a_script_that_it_can_read() {
    let world = World::new();
    for (shell, check) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
        ("powershell", &["pwsh", "-NoProfile", "-NonInteractive", "-File"]),
        ("elvish", &["elvish", "-compileonly"]),
    ] {
        let script = stdout(&world.expect(0, &["completions", shell]));
        assert!(
            script.contains("sign-out") && script.contains("min-validity"),
            "{shell}"
        );
        let told = world.one(&["completions", shell]);
        assert_eq!(told["script"], script.as_str());
        let file = world.path("script.ps1");
        std::fs::write(&file, script).unwrap();
        match Command::new(check[0]).args(&check[1..]).arg(&file).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            // A shell that is not here reads nothing.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{shell}"),
        }
    }
}

#[cfg(unix)]
#[test]
fn bash_completes_a_verb() {
    let world = World::new();
    let file = world.path("gatepass.bash");
    std::fs::write(&file, stdout(&world.expect(0, &["completions", "bash"]))).unwrap();
    let ask = "source \"$1\"; COMP_WORDS=(gatepass sess); COMP_CWORD=1; _gatepass gatepass sess gatepass; echo \"${COMPREPLY[@]}\"";
    let Ok(output) = Command::new("bash")
        .args(["--norc", "-c", ask, "bash"])
        .arg(&file)
        .output()
    else {
        return;
    };
    assert_eq!(stdout(&output).trim(), "sessions");
}
