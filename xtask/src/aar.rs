//! `cargo xtask aar`: what Kotlin apps get, as a Maven repository in `target/maven`, and whether it works for them.
//!
//! Data flows `machine` (the library for Android) and `bindings` (the library for this machine, and its Kotlin) → Maven (the
//! classes) → `package` (the AAR) → the repository → `consumers`, which know nothing but the repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::Place;
use crate::{bindings, run};

pub(crate) mod consumers;
pub(crate) mod machine;
mod notices;
pub(crate) mod package;

use machine::{ABIS, Abi};

/// What to build.
#[derive(Args)]
pub(crate) struct AarArguments {
    /// Only these kinds of Android machine, such as arm64-v8a (default: all three). An AAR with fewer says so in its name.
    #[arg(long = "abi", value_parser = clap::builder::PossibleValuesParser::new(ABIS.iter().map(|abi| abi.name)))]
    abis: Vec<String>,
    /// Skip the consumers.
    #[arg(long)]
    build_only: bool,
}

/// Where this chore works, and what it makes.
pub(crate) struct Made {
    /// Everything on the way.
    pub(crate) work: PathBuf,
    /// The Maven repository.
    pub(crate) repository: PathBuf,
    /// The version of the artifacts.
    pub(crate) version: String,
    /// What stands behind the version in the name of the AAR's file: empty for what users get.
    pub(crate) classifier: String,
    /// What is in the AAR.
    pub(crate) abis: Vec<Abi>,
}

/// The modules that users get as JARs.
pub(crate) const JARS: [&str; 4] = ["gatepass-ffi", "gatepass-core", "gatepass-jvm", "gatepass-okhttp"];

impl Made {
    /// A file of the repository.
    pub(crate) fn artifact(&self, name: &str, ending: &str) -> PathBuf {
        let version = &self.version;
        self.repository
            .join("io/gatepass")
            .join(name)
            .join(version)
            .join(format!("{name}-{version}{ending}"))
    }

    /// The AAR in the repository.
    pub(crate) fn aar(&self) -> PathBuf {
        self.artifact("gatepass-android", &format!("{}.aar", self.suffix()))
    }

    fn suffix(&self) -> String {
        match self.classifier.as_str() {
            "" => String::new(),
            classifier => format!("-{classifier}"),
        }
    }

    /// The classes that Maven built.
    pub(crate) fn built(&self) -> PathBuf {
        self.work.join("kotlin")
    }
}

/// Builds and checks.
pub(crate) fn aar(place: &Place, arguments: &AarArguments) -> Result<()> {
    let chosen = |abi: &&Abi| arguments.abis.is_empty() || arguments.abis.iter().any(|name| name == abi.name);
    let abis: Vec<Abi> = ABIS.iter().filter(chosen).copied().collect();
    let ndk = machine::ndk();
    let mut classifier: Vec<&str> = Vec::new();
    if abis.len() < ABIS.len() {
        classifier.extend(abis.iter().map(|abi| abi.name));
    }
    if ndk.is_none() {
        println!(
            "  no NDK (ANDROID_NDK_HOME): the machine code is for measuring and checking, no phone loads it, and the \
             AAR's name says so"
        );
        classifier.push("without-ndk");
    }
    let made = Made {
        work: place.at("target/aar"),
        repository: place.at("target/maven"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        classifier: classifier.join("-"),
        abis,
    };
    for folder in [&made.repository, &made.work.join("jni"), &made.built()] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
    }
    for abi in &made.abis {
        let library = run::step(&format!("library for {}", abi.name), || {
            machine::build(place, abi, ndk.as_deref())
        })?;
        copy(
            &library,
            &made.work.join("jni").join(abi.name).join("libgatepass.so"),
        )?;
        println!("    {}", machine::size(&library)?);
    }
    run::step("library for this machine, and its Kotlin", || {
        bindings::build_for_jvm(place, &made.work)
    })?;
    run::step("classes and JARs", || maven(place, &made))?;
    run::step("AAR", || package::aar(place, &made))?;
    println!("  {}", made.repository.display());
    println!("  {}", made.aar().display());
    if !arguments.build_only {
        consumers::all(place, &made)?;
    }
    Ok(())
}

/// Builds the JARs and puts them into the repository.
fn maven(place: &Place, made: &Made) -> Result<()> {
    let mut modules = JARS.to_vec();
    modules.push("gatepass-android");
    let mut command = run::program("mvn", ["-B", "--no-transfer-progress", "-Prepository", "deploy"]);
    command.arg("-f").arg(place.at("bindings/kotlin/pom.xml"));
    command.arg("-pl").arg(format!(".,{}", modules.join(",")));
    command.arg(run::property(
        "gatepass.generated",
        &made.work.join("bindings/kotlin"),
    ));
    command.arg(run::property("gatepass.library", &made.work.join("bindings/jar")));
    command.arg(run::property("gatepass.output", &made.built()));
    let mut url = std::ffi::OsString::from("-DaltDeploymentRepository=gatepass::file://");
    url.push(&made.repository);
    command.arg(url);
    command.current_dir(&place.root);
    run::quiet(command)?;
    for name in JARS {
        let jar = made.artifact(name, ".jar");
        if !jar.is_file() {
            bail!("Maven made no {}", jar.display());
        }
    }
    Ok(())
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
