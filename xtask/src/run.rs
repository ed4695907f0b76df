//! Starting other programs: quietly with a progress line, or with their output shown.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command as one would type it, for messages. A script among its arguments is not shown.
fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let word = |word: &std::ffi::OsStr| match word.to_string_lossy() {
        script if script.contains('\n') => "'…'".to_owned(),
        word => word.into_owned(),
    };
    words.map(word).collect::<Vec<_>>().join(" ")
}

/// Runs a command with its output on the terminal. It never reads standard input.
pub(crate) fn shown(mut command: Command) -> Result<()> {
    let text = typed(&command);
    println!("$ {text}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("`{text}` could not be started"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Runs a command silently; when it fails, everything it said is part of the error.
pub(crate) fn quiet(mut command: Command) -> Result<String> {
    let text = typed(&command);
    // One pipe for both streams keeps the lines in the order in which they were written.
    let (mut reader, writer) = std::io::pipe().context("no pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("no pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("`{text}` could not be started"))?;
    // The command holds the pipe's writing end: as long as it lives, reading would never end.
    drop(command);
    let mut output = Vec::new();
    reader
        .read_to_end(&mut output)
        .with_context(|| format!("reading from `{text}`"))?;
    let status = child.wait().with_context(|| format!("waiting for `{text}`"))?;
    let output = String::from_utf8_lossy(&output).into_owned();
    if !status.success() {
        bail!("`{text}` failed: {status}\n{output}");
    }
    Ok(output)
}

/// Whether a command runs and succeeds: for asking what a machine has.
pub(crate) fn succeeds(command: Command) -> bool {
    quiet(command).is_ok()
}

/// Announces a step, does it, and closes the line with how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    print!("  {what} … ");
    std::io::stdout().flush().context("standard output is closed")?;
    let start = Instant::now();
    let result = work();
    let word = if result.is_ok() { "done" } else { "FAILED" };
    println!("{word} in {}", duration(start.elapsed()));
    result
}

/// "0.4 s", "12 s", "3 min 05 s".
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// A program by name, for short calls at the place of use.
pub(crate) fn program<const N: usize>(name: &str, arguments: [&str; N]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}

/// A property for Maven.
pub(crate) fn property(name: &str, value: &std::path::Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(format!("-D{name}="));
    text.push(value);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_like_a_person_would_say_it() {
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(12)), "12 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_command_shows_all_it_said_in_order() {
        let command = program("sh", ["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let error = format!("{:#}", quiet(command).unwrap_err());
        assert!(error.contains("one\ntwo\nthree"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
