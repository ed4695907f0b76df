//! `completions`: a script for the shell.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;

pub(crate) fn run(program: &Program, shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "gatepass", &mut script);
    let script =
        String::from_utf8(script).map_err(|_| Failure::internal("a completion script is no text"))?;
    if program.report.is_json() {
        let fields = json!({ "shell": shell.to_string(), "script": script });
        program.report.event("completions", &fields, "");
    } else {
        program.report.raw(&script);
    }
    Ok(Exit::Success)
}
