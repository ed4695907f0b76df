//! `serve`: the test authorization server on a port, for trying other clients against.

use gatepass::test_server::TestServer;
use serde_json::json;

use crate::args::Serve;
use crate::exit::Exit;
use crate::report::Report;

pub(crate) async fn run(options: &Serve, report: &Report) -> Exit {
    let started = TestServer::builder()
        .port(options.port)
        .rotation(options.rotation)
        .access_token_lifetime(options.access_token_lifetime)
        .start();
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            report.failure(
                Exit::Configuration,
                &format!(
                    "port {} of 127.0.0.1 cannot be listened on: {error}",
                    options.port
                ),
            );
            return Exit::Configuration;
        }
    };
    introduce(&server, *report);
    report.say("\nSign in from another terminal:\n");
    report.say(&format!(
        "  gatepass sign-in --issuer {} --client-id {} --allow-http-on-loopback\n",
        server.issuer(),
        server.client_id()
    ));
    report.note("Ctrl-C ends it.");
    match tokio::signal::ctrl_c().await {
        Ok(()) => Exit::Success,
        Err(error) => {
            report.failure(Exit::Internal, &format!("Ctrl-C cannot be waited for: {error}"));
            Exit::Internal
        }
    }
}

/// Says where the server is and who can sign in.
fn introduce(server: &TestServer, report: Report) {
    let users: Vec<_> = server
        .users()
        .iter()
        .map(|user| json!({ "username": user.username(), "password": user.password() }))
        .collect();
    report.event(
        "serving",
        json!({
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
pub(crate) fn users_text(server: &TestServer, report: Report) {
    for user in server.users() {
        report.say(&format!("  user       {} / {}", user.username(), user.password()));
    }
}
