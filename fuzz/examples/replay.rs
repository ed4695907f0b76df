//! `replay TARGET PATH…`: runs files, or all files of folders, through a property. Ends with a panic where it does not hold.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some((_, property)) = gatepass::fuzzing::TARGETS.iter().find(|(known, _)| *known == name) else {
        eprintln!("usage: replay TARGET PATH…, with one of these targets:");
        for (known, _) in gatepass::fuzzing::TARGETS {
            eprintln!("  {known}");
        }
        return ExitCode::FAILURE;
    };
    let mut files = Vec::new();
    for path in arguments {
        collect(Path::new(&path), &mut files);
    }
    files.sort();
    for file in &files {
        match std::fs::read(file) {
            Ok(bytes) => property(&bytes),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{name}: {} inputs hold", files.len());
    ExitCode::SUCCESS
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::read_dir(path) {
        Ok(entries) => entries
            .flatten()
            .for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}
