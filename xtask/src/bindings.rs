//! The library for other languages, and the Kotlin and Swift that UniFFI generates from it.
//!
//! One build, one set of folders under `target/bindings`: `native/` holds the shared library, `jar/` the same where JNA
//! looks for it in a JAR, `kotlin/` the Kotlin sources, `swift/GatepassCore` the Swift source and `swift/GatepassFFI` the C module it imports.
//! The Maven project and `Package.swift` read exactly these.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use clap::Args;
use uniffi_bindgen::bindings::{
    GenerateOptions, SwiftBindingsOptions, TargetLanguage, generate, generate_swift_bindings,
};

use crate::place::Place;
use crate::run;

/// The crate whose bindings these are.
const CRATE: &str = "gatepass";
/// The C module below the generated Swift. Unique, because two UniFFI libraries in one app would otherwise
/// clash over the module's name. Must agree with `uniffi.toml`.
const FFI_MODULE: &str = "GatepassFFI";
const SWIFT_MODULE: &str = "GatepassCore";

/// What to build the bindings from.
#[derive(Args)]
pub(crate) struct BindgenArguments {
    /// Cargo features of the library.
    #[arg(long, default_value = "uniffi,test-server")]
    features: String,
}

/// `cargo xtask bindgen`: builds and generates for every language.
pub(crate) fn bindgen(place: &Place, arguments: &BindgenArguments) -> Result<()> {
    let library = build_library(place, &arguments.features)?;
    run::step("Kotlin", || {
        generate_kotlin(place, &library, &place.bindings().join("kotlin"))
    })?;
    run::step("Swift", || generate_swift(place, &library))?;
    println!("  in {}", place.bindings().display());
    Ok(())
}

/// For the tests: what a desktop has, and the test server inside, so that one process is the whole world.
pub(crate) fn build_for_tests(place: &Place) -> Result<()> {
    let features = "uniffi,http,keyring,loopback,test-server,conformance,association".to_owned();
    bindgen(place, &BindgenArguments { features })
}

/// For users: the library for this machine without the test server, and its Kotlin, into `bindings/` of a folder.
pub(crate) fn build_for_jvm(place: &Place, work: &Path) -> Result<()> {
    let features = "uniffi,http,keyring,loopback";
    let mut command = cdylib(place, features);
    command.arg("--release");
    run::quiet(command)?;
    let built = place.cargo_target().join("release").join(library_name());
    let folder = work.join("bindings");
    // Before it is stripped, which takes away what bindgen reads.
    generate_kotlin(place, &built, &folder.join("kotlin"))?;
    let jar = emptied(folder.join("jar"))?.join(jna_platform());
    fs::create_dir_all(&jar).with_context(|| format!("creating {}", jar.display()))?;
    let packed = jar.join(library_name());
    fs::copy(&built, &packed).with_context(|| format!("copying {}", built.display()))?;
    if cfg!(unix) && which::which("strip").is_ok() {
        let mut strip = run::program(
            "strip",
            if cfg!(target_os = "macos") {
                ["-x"]
            } else {
                ["--strip-unneeded"]
            },
        );
        strip.arg(&packed);
        run::quiet(strip)?;
    }
    Ok(())
}

/// The command that builds the shared library.
fn cdylib(place: &Place, features: &str) -> Command {
    let arguments = [
        "rustc",
        "-p",
        CRATE,
        "--lib",
        "--crate-type",
        "cdylib",
        "--no-default-features",
    ];
    let mut command = run::program("cargo", arguments);
    command.args(["--features", features]).current_dir(&place.root);
    command
}

fn library_name() -> String {
    format!(
        "{}{CRATE}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
}

/// Builds the shared library, unstripped (bindgen reads the metadata that stripping removes), and copies it
/// to where the tests load it from.
fn build_library(place: &Place, features: &str) -> Result<PathBuf> {
    run::shown(cdylib(place, features))?;
    let name = library_name();
    let built = place.cargo_target().join("debug").join(&name);
    let native = place.bindings().join("native");
    fs::create_dir_all(&native).with_context(|| format!("creating {}", native.display()))?;
    let library = native.join(name);
    fs::copy(&built, &library).with_context(|| format!("copying {}", built.display()))?;

    let jar = emptied(place.library_for_jar())?.join(jna_platform());
    fs::create_dir_all(&jar).with_context(|| format!("creating {}", jar.display()))?;
    let packed = jar.join(library.file_name().unwrap_or_default());
    fs::copy(&built, &packed).with_context(|| format!("copying {}", built.display()))?;
    Ok(library)
}

/// The folder in a JAR where JNA looks for the library of this kind of machine.
fn jna_platform() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        other => other,
    };
    format!("{system}-{machine}")
}

fn generate_kotlin(place: &Place, library: &Path, out_dir: &Path) -> Result<()> {
    let out_dir = emptied(out_dir.to_path_buf())?;
    generate(GenerateOptions {
        languages: vec![TargetLanguage::Kotlin],
        source: utf8(library)?,
        out_dir: utf8(&out_dir)?,
        config_override: Some(config(place)?),
        crate_filter: Some(CRATE.to_owned()),
        // ktlint is not there, and nobody reads the result.
        format: false,
        metadata_no_deps: true,
    })
}

fn generate_swift(place: &Place, library: &Path) -> Result<()> {
    let swift = emptied(place.bindings().join("swift"))?;
    let options = |folder: &str| -> Result<SwiftBindingsOptions> {
        Ok(SwiftBindingsOptions {
            generate_swift_sources: false,
            generate_headers: false,
            generate_modulemap: false,
            source: utf8(library)?,
            out_dir: utf8(&emptied(swift.join(folder))?)?,
            xcframework: false,
            module_name: Some(FFI_MODULE.to_owned()),
            // SwiftPM looks for exactly this name in a system library's folder.
            modulemap_filename: Some("module.modulemap".to_owned()),
            metadata_no_deps: true,
            link_frameworks: Vec::new(),
            config: Some(config(place)?),
        })
    };
    generate_swift_bindings(SwiftBindingsOptions {
        generate_swift_sources: true,
        ..options(SWIFT_MODULE)?
    })?;
    generate_swift_bindings(SwiftBindingsOptions {
        generate_headers: true,
        generate_modulemap: true,
        ..options(FFI_MODULE)?
    })
}

/// An empty folder: a file generated for a name that is gone must not be compiled.
fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

fn config(place: &Place) -> Result<Utf8PathBuf> {
    utf8(&place.at("uniffi.toml"))
}

/// UniFFI takes paths as UTF-8 text.
fn utf8(path: &Path) -> Result<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(path.to_path_buf())
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8, which UniFFI needs", path.display()))
}
