//! Apps outside the workspace, which know nothing but the Maven repository.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::machine::{PAGE, elf};
use super::{JARS, Made};
use crate::place::Place;
use crate::run;

/// Runs them all.
pub(crate) fn all(place: &Place, made: &Made) -> Result<()> {
    run::step("the AAR, unpacked", || unpacked(made))?;
    run::step("the JARs hold no test server", || no_test_server(made))?;
    let jars = run::step("what the consumers depend on", || dependencies(place, made))?;
    run::step("an app on the JVM signs in", || jvm(place, made, &jars))?;
    run::step("an Android app compiles, is shrunk, and runs", || {
        android(place, made, &jars)
    })
}

/// What only tests may have.
const TEST_SERVER: &[&str] = &["TestServer", "testserver", "HttpSuite"];

fn unpacked(made: &Made) -> Result<()> {
    let folder = emptied(made.work.join("unpacked"))?;
    extract(&made.aar(), &folder)?;
    for file in [
        "AndroidManifest.xml",
        "classes.jar",
        "proguard.txt",
        "R.txt",
        "res/xml/gatepass_backup_rules.xml",
        "res/xml/gatepass_data_extraction_rules.xml",
    ] {
        ensure!(folder.join(file).is_file(), "the AAR has no {file}");
    }
    let manifest = fs::read_to_string(folder.join("AndroidManifest.xml"))?;
    for word in [
        "<queries>",
        "android.support.customtabs.action.CustomTabsService",
        "io.gatepass.android.BrowserActivity",
        "android:minSdkVersion=\"24\"",
        "android.permission.INTERNET",
    ] {
        ensure!(manifest.contains(word), "the manifest has no {word}");
    }
    let mut found: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder.join("jni"))? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    found.sort();
    let mut meant: Vec<&str> = made.abis.iter().map(|abi| abi.name).collect();
    meant.sort_unstable();
    ensure!(found == meant, "machine code for {found:?}, not for {meant:?}");
    for abi in &made.abis {
        let bytes = fs::read(folder.join("jni").join(abi.name).join("libgatepass.so"))?;
        let header = elf(&bytes).with_context(|| abi.name.to_owned())?;
        ensure!(
            header.machine == abi.machine,
            "{} is for the machine {}",
            abi.name,
            header.machine
        );
        ensure!(
            header.alignment >= PAGE,
            "{} is aligned to {} bytes, and some phones have pages of {PAGE}",
            abi.name,
            header.alignment
        );
        for word in TEST_SERVER {
            ensure!(!contains(&bytes, word), "{} has {word} in it", abi.name);
        }
    }
    let classes = listing(&folder.join("classes.jar"))?;
    for word in [
        "io/gatepass/android/BrowserActivity.class",
        "io/gatepass/android/RedirectActivity.class",
        "io/gatepass/GatepassAndroid.class",
        "META-INF/gatepass/THIRD-PARTY-NOTICES.txt",
    ] {
        ensure!(
            classes.lines().any(|line| line == word),
            "classes.jar has no {word}"
        );
    }
    Ok(())
}

fn no_test_server(made: &Made) -> Result<()> {
    for name in JARS {
        let classes = listing(&made.artifact(name, ".jar"))?;
        for word in TEST_SERVER {
            ensure!(!classes.contains(word), "{name} has {word} in it");
        }
        ensure!(
            made.artifact(name, "-sources.jar").is_file(),
            "{name} has no sources"
        );
        ensure!(made.artifact(name, ".pom").is_file(), "{name} has no POM");
    }
    let folder = emptied(made.work.join("jvm-jar"))?;
    extract(&made.artifact("gatepass-jvm", ".jar"), &folder)?;
    let mut libraries = 0;
    for machine in fs::read_dir(&folder)?
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        for file in fs::read_dir(machine.path())?.flatten() {
            if file.file_name().to_string_lossy().contains("libgatepass") {
                libraries += 1;
                let bytes = fs::read(file.path())?;
                for word in TEST_SERVER {
                    ensure!(!contains(&bytes, word), "the library has {word} in it");
                }
            }
        }
    }
    ensure!(libraries == 1, "gatepass-jvm has {libraries} libraries");
    Ok(())
}

/// The dependencies of the two consumers, resolved by Maven from the repository and Central into folders.
struct Jars {
    jvm: Vec<PathBuf>,
    /// Those of the AAR that are JARs, and JNA's.
    android: Vec<PathBuf>,
    proguard: Vec<PathBuf>,
    /// The oldest Android.
    framework: PathBuf,
}

fn dependencies(place: &Place, made: &Made) -> Result<Jars> {
    // Of their own, so that nothing of ours is left in the user's, and nothing there stands in for what is in the repository.
    let local = made.work.join("m2");
    let ours = local.join("io/gatepass");
    if ours.exists() {
        fs::remove_dir_all(&ours)?;
    }
    let resolve = |consumer: &str| -> Result<Vec<PathBuf>> {
        let folder = emptied(made.work.join("consumers").join(consumer))?;
        let mut command = run::program("mvn", ["-B", "-q", "--no-transfer-progress"]);
        command.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
        command.arg("-f").arg(
            place
                .at("bindings/kotlin/consumers")
                .join(consumer)
                .join("pom.xml"),
        );
        let mut url = OsString::from("-Dgatepass.repository=file://");
        url.push(&made.repository);
        command.arg(url);
        command.arg(format!("-Dgatepass.classifier={}", made.classifier));
        command.arg(run::property("maven.repo.local", &local));
        command.arg(run::property("outputDirectory", &folder));
        run::quiet(command)?;
        let mut jars: Vec<PathBuf> = fs::read_dir(&folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jar"))
            .collect();
        jars.sort();
        Ok(jars)
    };
    let named = |path: &Path, part: &str| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(part))
    };
    let jvm = resolve("jvm")?;
    let (framework, android): (Vec<_>, Vec<_>) = resolve("android")?
        .into_iter()
        .partition(|path| named(path, "android-all"));
    Ok(Jars {
        jvm,
        android,
        proguard: resolve("proguard")?,
        framework: framework
            .into_iter()
            .next()
            .context("no Android to compile against")?,
    })
}

/// A Java program on `gatepass-jvm` signs in at the test server, calls the API, and signs out.
fn jvm(place: &Place, made: &Made, jars: &Jars) -> Result<()> {
    let classes = emptied(made.work.join("consumers/jvm-classes"))?;
    javac(
        &place.at("bindings/kotlin/consumers/jvm/Consumer.java"),
        &jars.jvm,
        &classes,
    )?;
    let mut build = run::program(
        "cargo",
        ["build", "--package", "gatepass-cli", "--bin", "gatepass"],
    );
    build.current_dir(&place.root);
    run::quiet(build)?;
    let program = place
        .cargo_target()
        .join("debug")
        .join(format!("gatepass{}", std::env::consts::EXE_SUFFIX));
    let (_server, issuer) = serve(&program)?;
    let mut classpath = jars.jvm.clone();
    classpath.push(classes);
    let mut java = run::program("java", ["-cp"]);
    java.arg(joined(&classpath)?).arg("Consumer").arg(issuer);
    let said = run::quiet(java)?;
    ensure!(said.contains("signed in as alice, and out"), "it said: {said}");
    Ok(())
}

/// The test server, for as long as this lives.
struct Server {
    child: Child,
    /// Kept open: it ends when nobody reads what it says.
    said: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(program: &Path) -> Result<(Server, String)> {
    let mut command = std::process::Command::new(program);
    command.args(["serve", "--port", "0"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut server = Server {
        child: command.spawn().context("the test server does not start")?,
        said: None,
    };
    let output = server.child.stdout.take().context("no output")?;
    let said = server.said.insert(BufReader::new(output));
    let mut line = String::new();
    while said.read_line(&mut line)? > 0 {
        if let Some((_, url)) = line.split_once(" at ") {
            let url = url.trim().to_owned();
            return Ok((server, url));
        }
        line.clear();
    }
    bail!("the test server does not say where it is")
}

/// A caller of the AAR: compiled against it and the oldest Android, shrunk under the AAR's own rules, and run.
fn android(place: &Place, made: &Made, jars: &Jars) -> Result<()> {
    let folder = emptied(made.work.join("consumers/android-app"))?;
    let aar = folder.join("aar");
    fs::create_dir_all(&aar)?;
    extract(&made.aar(), &aar)?;
    let classes = emptied(folder.join("classes"))?;
    let mut against = vec![aar.join("classes.jar")];
    against.extend(jars.android.iter().cloned());
    let mut with_framework = against.clone();
    with_framework.push(jars.framework.clone());
    javac(
        &place.at("bindings/kotlin/consumers/android/Caller.java"),
        &with_framework,
        &classes,
    )?;

    let shrunk = folder.join("shrunk.jar");
    let mut rules = String::new();
    let mut line = |text: String| {
        rules.push_str(&text);
        rules.push('\n');
    };
    line(format!("-injars '{}'", classes.display()));
    for jar in &against {
        line(format!(
            "-injars '{}'(!META-INF/**,!module-info.class)",
            jar.display()
        ));
    }
    line(format!("-outjars '{}'", shrunk.display()));
    line(format!("-libraryjars '{}'", jars.framework.display()));
    // android-all leaves Java's own classes out.
    line("-libraryjars <java.home>/jmods/java.base.jmod(!**.jar;!module-info.class)".to_owned());
    line(format!("-include '{}'", aar.join("proguard.txt").display()));
    // As R8 does it for an app, and as hard: everything is renamed but what is kept.
    line("-keep class Caller { public static void main(java.lang.String[]); }".to_owned());
    line("-repackageclasses ''".to_owned());
    line("-allowaccessmodification".to_owned());
    // Of coroutines and of the JDK: what a phone does not have either.
    line("-dontwarn kotlinx.**,kotlin.**,java.**,javax.**,sun.**,org.codehaus.**,android.**".to_owned());
    line("-dontnote **".to_owned());
    let config = folder.join("rules.pro");
    fs::write(&config, rules)?;
    let mut proguard = run::program("java", ["-cp"]);
    proguard
        .arg(joined(&jars.proguard)?)
        .arg("proguard.ProGuard")
        .arg(format!("@{}", config.display()));
    run::quiet(proguard)?;

    let before: u64 = against
        .iter()
        .map(|jar| fs::metadata(jar).map_or(0, |file| file.len()))
        .sum();
    ensure!(fs::metadata(&shrunk)?.len() < before, "nothing was shrunk");
    // The library of this machine in place of a phone's; JNA's own is in its JAR.
    let library = made.work.join("bindings/jar");
    let machine = fs::read_dir(&library)?
        .flatten()
        .next()
        .context("no library for this machine")?;
    let mut java = run::program("java", ["-cp"]);
    java.arg(joined(&[shrunk, jna(jars)?])?);
    java.arg(run::property("jna.library.path", &machine.path()));
    java.arg("Caller");
    let said = run::quiet(java)?;
    ensure!(
        said.contains("GatepassException$Configuration: redirect_"),
        "it said: {said}"
    );
    ensure!(said.contains("state: "), "it said: {said}");
    Ok(())
}

fn jna(jars: &Jars) -> Result<PathBuf> {
    let is_jna = |path: &&PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("jna-"))
    };
    jars.android.iter().find(is_jna).cloned().context("no JNA")
}

fn javac(source: &Path, against: &[PathBuf], classes: &Path) -> Result<()> {
    let mut javac = run::program("javac", ["-Xlint:-options", "-proc:none", "-cp"]);
    javac.arg(joined(against)?).arg("-d").arg(classes).arg(source);
    run::quiet(javac)?;
    Ok(())
}

fn joined(paths: &[PathBuf]) -> Result<OsString> {
    std::env::join_paths(paths).context("a path that no classpath can hold")
}

fn extract(zip: &Path, folder: &Path) -> Result<()> {
    let mut jar = run::program("jar", ["--extract", "--file"]);
    jar.arg(zip).current_dir(folder);
    run::quiet(jar)?;
    Ok(())
}

fn listing(zip: &Path) -> Result<String> {
    let mut jar = run::program("jar", ["--list", "--file"]);
    jar.arg(zip);
    run::quiet(jar)
}

fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}
