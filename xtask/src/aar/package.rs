//! The AAR: classes, machine code, manifest, rules and notices, zipped by the JDK's `jar`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Made, copy, notices};
use crate::place::Place;
use crate::run;

/// Puts the AAR and its POM into the repository.
pub(crate) fn aar(place: &Place, made: &Made) -> Result<()> {
    let stage = made.work.join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let sources = place.at("bindings/kotlin/gatepass-android/src/main/android");
    for file in [
        "AndroidManifest.xml",
        "proguard.txt",
        "res/xml/gatepass_backup_rules.xml",
        "res/xml/gatepass_data_extraction_rules.xml",
    ] {
        copy(&sources.join(file), &stage.join(file))?;
    }
    // The format asks for it; there is nothing in it to name but the two files above.
    fs::write(
        stage.join("R.txt"),
        "int xml gatepass_backup_rules 0x0\nint xml gatepass_data_extraction_rules 0x0\n",
    )?;
    for abi in &made.abis {
        let library = Path::new("jni").join(abi.name).join("libgatepass.so");
        copy(&made.work.join(&library), &stage.join(&library))?;
    }

    let classes = made.built().join("gatepass-android/classes");
    let notices_at = made.work.join("notices/META-INF/gatepass");
    fs::create_dir_all(&notices_at)?;
    fs::write(notices_at.join("THIRD-PARTY-NOTICES.txt"), notices::of(place)?)?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&place.at(license), &notices_at.join(license))?;
    }
    let mut jar = run::program("jar", ["--create", "--no-manifest", "--file"]);
    jar.arg(stage.join("classes.jar"));
    jar.arg("-C").arg(&classes).arg(".");
    jar.arg("-C").arg(made.work.join("notices")).arg("META-INF");
    run::quiet(jar)?;

    let aar = made.aar();
    fs::create_dir_all(aar.parent().context("a repository without folders")?)?;
    let mut zip = run::program("jar", ["--create", "--no-manifest", "--file"]);
    zip.arg(&aar).arg("-C").arg(&stage).arg(".");
    run::quiet(zip)?;
    let pom = fs::read_to_string(place.at("bindings/kotlin/gatepass-android/aar.pom"))?;
    let pom = pom.replace("${version}", &made.version);
    let versions = fs::read_to_string(place.at("bindings/kotlin/pom.xml"))?;
    let pom = ["kotlin", "coroutines", "jna"]
        .iter()
        .try_fold(pom, |pom, name| {
            let (open, close) = (format!("<{name}.version>"), format!("</{name}.version>"));
            let version = versions
                .split_once(&open)
                .and_then(|(_, rest)| rest.split_once(&close))
                .with_context(|| format!("no version of {name}"))?
                .0;
            anyhow::Ok(pom.replace(&format!("${{{name}.version}}"), version))
        })?;
    fs::write(made.artifact("gatepass-android", ".pom"), pom)?;
    let sources = format!("gatepass-android-{}-sources.jar", made.version);
    copy(
        &made.built().join("gatepass-android").join(sources),
        &made.artifact("gatepass-android", "-sources.jar"),
    )?;
    Ok(())
}
