//! Swift on a machine without it: a private Debian root under `target/`, entered for one command at a time.
//!
//! Debian 13 packages Swift 6; older ones do not, and the toolchain from swift.org is not a package. So a
//! small Debian 13 is unpacked beside the build, and `swift` runs in it with the checkout at the same path.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::{debian, run};

const RELEASE: &str = "trixie";
const PACKAGES: [&str; 7] = [
    "swiftlang",
    "libswiftlang",
    "swiftlang-dev",
    "libc6-dev",
    "gcc",
    "g++",
    "ca-certificates",
];

const NEEDS_ROOT: &str = "Swift's private Debian root under target/ can only be made and entered as root; \
                          or install Swift 6 from swift.org, so that `swift` is on the PATH";

/// Where `swift` comes from on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Swift {
    /// On the PATH: a Mac, a Swift image.
    Installed,
    /// In the root under `target/`.
    Root,
    /// Nowhere yet.
    Missing,
}

/// Looks for Swift without starting it.
pub(crate) fn find(place: &Place) -> Swift {
    if which::which("swift").is_ok() {
        Swift::Installed
    // Not `exists`: the name may be a symbolic link that is right only inside the root.
    } else if fs::symlink_metadata(place.swift_root().join("usr/bin/swift")).is_ok() {
        Swift::Root
    } else {
        Swift::Missing
    }
}

/// A command that runs `program` (with Swift's tools reachable) in `folder`, wherever Swift is.
/// `environment` is handed over in both cases.
pub(crate) fn command(
    place: &Place,
    program: &str,
    folder: &Path,
    environment: &[(&str, &OsStr)],
) -> Result<Command> {
    let mut command = match find(place) {
        Swift::Installed => {
            let mut command = Command::new(program);
            command.current_dir(folder);
            command
        }
        Swift::Root if !debian::is_root() => bail!("{NEEDS_ROOT}"),
        Swift::Root => enter(&place.swift_root(), &place.root, folder, program),
        Swift::Missing => bail!("Swift is missing: `cargo xtask setup --part swift`"),
    };
    command.envs(environment.iter().copied());
    Ok(command)
}

/// Enters `root` for one command. The mounts live in a mount namespace of that command's own, so that they
/// are gone when it ends, however it ends: nothing to undo, nothing left behind that a later
/// `rm -r target` would follow into the checkout.
fn enter(root: &Path, checkout: &Path, folder: &Path, program: &str) -> Command {
    // /proc: without it swiftc does not find its own libraries. The same path inside as outside, because
    // build products and error messages hold absolute paths.
    const SCRIPT: &str = r#"
        set -e
        root=$1 checkout=$2 folder=$3
        shift 3
        mount -t proc proc "$root/proc"
        mkdir -p "$root$checkout"
        mount --bind "$checkout" "$root$checkout"
        exec chroot "$root" sh -c 'cd "$1"; shift; exec "$@"' enter "$folder" "$@"
    "#;
    let mut command = run::program(
        "unshare",
        ["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "enter"],
    );
    command.arg(root).arg(checkout).arg(folder).arg(program);
    // The caller's PATH and HOME name folders that are not there inside.
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("TMPDIR");
    command
}

/// Unpacks the Debian root and installs Swift in it. An interrupted attempt is thrown away, not continued:
/// the root gets its real name only when it is complete.
pub(crate) fn build_root(place: &Place) -> Result<()> {
    if !debian::is_root() {
        bail!("{NEEDS_ROOT}");
    }
    let root = place.swift_root();
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;

    let mirror = debian::mirror()?;
    let mut unpack = run::program("debootstrap", ["--variant=minbase", RELEASE]);
    unpack.arg(&partial).arg(mirror);
    run::quiet(unpack)?;

    let mut install = enter(&partial, &place.root, Path::new("/"), "apt-get");
    install
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(PACKAGES);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run::quiet(install)?;
    let mut clean = enter(&partial, &place.root, Path::new("/"), "apt-get");
    clean.arg("clean");
    run::quiet(clean)?;

    fs::rename(&partial, &root).with_context(|| format!("naming {}", root.display()))
}

/// Apple's modules, as far as the façade uses them: those that another builds on come first.
const STUBS: [&str; 4] = ["UIKit", "AuthenticationServices", "Security", "SwiftUI"];

/// Type-checks the façade with declarations of Apple's modules in place of these, so that what Linux compiles not at all is
/// looked at by a compiler at least. `build` is where SwiftPM has put the module of the generated code.
pub(crate) fn check_against_stubs(place: &Place, build: &Path) -> Result<()> {
    let modules = place.at("target/swift-stubs");
    fs::create_dir_all(&modules).with_context(|| format!("creating {}", modules.display()))?;
    let swiftc = || command(place, "swiftc", &place.root, &[]);
    for name in STUBS {
        let mut compile = swiftc()?;
        compile.args([
            "-emit-module",
            "-parse-as-library",
            "-swift-version",
            "6",
            "-module-name",
            name,
        ]);
        compile.arg("-I").arg(&modules);
        compile
            .arg("-emit-module-path")
            .arg(modules.join(format!("{name}.swiftmodule")));
        compile.arg(place.at(&format!("bindings/swift/Tests/Stubs/{name}/{name}.swift")));
        run::quiet(compile)?;
    }

    let mut check = swiftc()?;
    check.args([
        "-typecheck",
        "-parse-as-library",
        "-swift-version",
        "6",
        "-module-name",
        "Gatepass",
    ]);
    check.arg("-warnings-as-errors");
    check
        .arg("-I")
        .arg(&modules)
        .arg("-I")
        .arg(build.join("debug/Modules"));
    let mut module_map = std::ffi::OsString::from("-fmodule-map-file=");
    module_map.push(place.bindings().join("swift/GatepassFFI/module.modulemap"));
    check.arg("-Xcc").arg(module_map);
    let folder = place.at("bindings/swift/Sources/Gatepass");
    let mut sources: Vec<_> = fs::read_dir(&folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()
        })
        .with_context(|| format!("reading {}", folder.display()))?;
    sources.retain(|path| path.extension().is_some_and(|ending| ending == "swift"));
    sources.sort();
    check.args(sources);
    run::quiet(check).map(drop)
}

/// Builds the program that uses the package from outside; where it is.
pub(crate) fn build_consumer(
    place: &Place,
    environment: &[(&str, &OsStr)],
    native: &Path,
) -> Result<PathBuf> {
    let package = place.at("bindings/swift/Tests/Consumer");
    // Its own build folder: it is a package of its own.
    let scratch = place.at("target/swift-consumer");
    let mut build = command(place, "swift", &package, environment)?;
    build.arg("build").arg("--scratch-path").arg(&scratch);
    build.args(["-Xlinker", "-L"]).arg("-Xlinker").arg(native);
    run::shown(build)?;
    Ok(scratch.join("debug/SignIn"))
}

/// The first line of `swift --version`: proof that it runs.
pub(crate) fn version(place: &Place) -> Result<String> {
    let mut command = command(place, "swift", &place.root, &[])?;
    command.arg("--version");
    let output = run::quiet(command)?;
    let line = output.lines().find(|line| line.contains("Swift version"));
    // OpenStack's client is called `swift` as well.
    line.map(|line| line.trim().to_owned())
        .context("the `swift` found here is not the Swift compiler")
}
