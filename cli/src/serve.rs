//! `serve`: the test authorization server on a port, for trying other clients against.

use gatepass::test_server::{TestServer, TestUser};
use serde_json::json;

use crate::args::Serve;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::report::Report;

pub(crate) async fn run(program: &Program, options: &Serve) -> Result<Exit, Failure> {
    let mut builder = TestServer::builder()
        .port(options.port)
        .client_id(&options.client_id)
        .rotation(options.rotation)
        .access_token_lifetime(options.access_token_lifetime)
        .refresh_token_lifetime(options.refresh_token_lifetime)
        .signing_algorithm(options.signing_algorithm)
        .userinfo(options.userinfo)
        .par(options.par);
    for uri in &options.redirect_uri {
        builder = builder.redirect_uri(uri);
    }
    for (name, password) in &options.user {
        builder = builder.user(TestUser::new(name, password));
    }
    let server = builder.start().map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidInput {
            return Failure::configuration("not_served", error.to_string());
        }
        Failure::configuration(
            "port_taken",
            format!(
                "port {} of 127.0.0.1 cannot be listened on: {error}",
                options.port
            ),
        )
    })?;
    let report = &program.report;
    introduce(&server, report);
    report.say("\nSign in from another terminal:\n");
    report.say(&format!(
        "  gatepass sign-in --issuer {} --client-id {} --allow-http-on-loopback\n",
        server.issuer(),
        server.client_id()
    ));
    report.note("Ctrl-C ends it.");
    program.interrupts.asked().await;
    Ok(Exit::Success)
}

/// Says where the server is and who can sign in.
fn introduce(server: &TestServer, report: &Report) {
    let users: Vec<_> = server
        .users()
        .iter()
        .map(|user| json!({ "username": user.username(), "password": user.password() }))
        .collect();
    report.event(
        "serving",
        &json!({
            "issuer": server.issuer(), "client_id": server.client_id(), "api": server.api_url(), "users": users,
        }),
        &format!("Test authorization server at {}", server.issuer()),
    );
    report.say(&format!(
        "  client id  {}\n  API        {}",
        server.client_id(),
        server.api_url()
    ));
    users_text(server, report);
}

/// Who can sign in. The passwords are those of invented users.
pub(crate) fn users_text(server: &TestServer, report: &Report) {
    for user in server.users() {
        report.say(&format!("  user       {} / {}", user.username(), user.password()));
    }
}
