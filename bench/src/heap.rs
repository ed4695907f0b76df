//! The heap of one idle signed-in client, each in a process of its own (`src/bin/heap.rs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use gatepass::test_server::TestServer;
use tokio::runtime::Runtime;

use crate::bed;

pub(crate) fn run_all(runtime: &Runtime) {
    println!("\nheap of one idle signed-in client, in a process of its own");
    let server = bed::server(false);
    let http = of(runtime, &server, "http");
    println!(
        "  {:<58} {:>9}",
        "reqwest 0.13 alone, one connection",
        shown(http)
    );
    for (name, client, http) in [
        (
            "openidconnect",
            "openidconnect 4 (reqwest 0.12; its user keeps the tokens)",
            None,
        ),
        ("huskarl", "huskarl 0.11 (stores nothing)", Some(http)),
        (
            "gatepass",
            "gatepass, stored in memory: metadata, keys, session",
            Some(http),
        ),
    ] {
        let bytes = of(runtime, &server, name);
        let beyond = http.map_or_else(String::new, |http| {
            format!(", {} beyond reqwest", shown(bytes.saturating_sub(http)))
        });
        println!("  {client:<58} {:>9}{beyond}", shown(bytes));
    }
}

fn shown(bytes: u64) -> String {
    format!(
        "{:.1} kB",
        f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1000.0
    )
}

fn of(runtime: &Runtime, server: &TestServer, name: &str) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let program = program.with_file_name(format!("gatepass-bench-heap{}", std::env::consts::EXE_SUFFIX));
    let mut child = Command::new(program)
        .args([name, server.issuer(), server.client_id()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gatepass-bench-heap, which is built along with this program");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("a line");
    let mut answer = line();
    if !name.starts_with("http") {
        let redirect = runtime.block_on(bed::browse(server, &answer));
        let mut input = child.stdin.take().expect("its input");
        writeln!(input, "{redirect}").expect("its input");
        answer = line();
    }
    assert!(child.wait().expect("the child").success());
    answer.parse().expect("bytes")
}
