//! No secret in any output of any command but `token`.

use std::collections::BTreeSet;

use gatepass::test_server::TestServer;

use crate::support::{Running, World, at, gatepass, stderr};

/// Tokens, codes and verifiers have prefixes that this test looks for; the most verbose log must not hold any.
#[test]
fn nothing_secret_is_printed_even_at_the_most_verbose() {
    let output = gatepass(&["sign-in", "--headless"])
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    for secret in [
        "gpt_at_",
        "gpt_rt_",
        "gpt_co_",
        "code_verifier",
        "wonderland-42\"",
        "eyJ",
    ] {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

/// Every token, code and verifier that the server saw, looked for in all that every command said, at the most verbose.
#[tokio::test]
async fn what_the_server_saw_is_in_no_output() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let mut said = Vec::new();
    for account in [0, 1] {
        let add: &[&str] = if account == 0 { &[] } else { &["--add-account"] };
        let mut command = world.gatepass(&at(&server, add));
        command.env("RUST_LOG", "trace");
        let mut program = Running::start(command);
        program.visit(&server, account).await;
        said.extend(program.rest().iter().map(ToString::to_string));
        let mut log = String::new();
        std::io::Read::read_to_string(&mut program.child.stderr.take().unwrap(), &mut log).unwrap();
        said.push(log);
    }
    let mut tokens: BTreeSet<String> = BTreeSet::new();
    for arguments in [
        &["token"][..],
        &["token", "--refresh"],
        &["status"],
        &["status", "--json"],
        &["userinfo"],
        &["userinfo", "--json"],
        &["sessions"],
        &["sessions", "--json"],
        &["config"],
        &["token", "--min-validity", "3600"],
        &["token", "--account", "nobody"],
        &["sign-out", "--json"],
        &["forget", "--yes"],
        &["status"],
    ] {
        let output = world
            .gatepass(arguments)
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        said.push(stderr(&output));
        let out = String::from_utf8(output.stdout).unwrap();
        if arguments[0] == "token" && output.status.success() {
            tokens.insert(out.trim_end().to_owned());
        } else {
            said.push(out);
        }
    }
    for request in server.requests() {
        let parameters = request.form().iter().chain(request.query());
        for (name, value) in parameters {
            let secret = matches!(
                name.as_str(),
                "code" | "code_verifier" | "refresh_token" | "token" | "id_token_hint" | "password"
            );
            if secret {
                tokens.insert(value.clone());
            }
        }
        let bearer = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        tokens.extend(bearer.map(str::to_owned));
    }
    // Three tokens, two codes, two verifiers, two passwords and some refresh tokens at least.
    assert!(tokens.len() >= 10, "{}", tokens.len());
    for token in &tokens {
        for text in &said {
            let line = text.lines().find(|line| line.contains(token.as_str()));
            assert_eq!(line.map(|_| "a secret was printed"), None);
        }
    }
}
