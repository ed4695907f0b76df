//! `serve`: the test server on a port.

use crate::support::{Running, World, gatepass, names};

#[tokio::test]
async fn serve_says_where_it_is_and_can_be_signed_in_at() {
    let mut serving = Running::start(gatepass(&["serve", "--port", "0", "--json"]));
    let told = serving.next();
    assert_eq!(told["event"], "serving");
    assert_eq!(told["users"][0]["username"], "alice");
    let (issuer, client_id) = (
        told["issuer"].as_str().unwrap(),
        told["client_id"].as_str().unwrap(),
    );
    let mut program = Running::start(gatepass(&[
        "sign-in",
        "--journey",
        "--json",
        "--no-browser",
        "--allow-http-on-loopback",
        "--issuer",
        issuer,
        "--client-id",
        client_id,
    ]));
    assert_eq!(program.next()["event"], "authorization_url");
}

#[test]
fn what_the_test_server_offers_can_be_chosen() {
    let world = World::new();
    let mut serving = Running::start(world.gatepass(&[
        "serve",
        "--port",
        "0",
        "--json",
        "--par",
        "required",
        "--rotation",
        "count:2",
        "--signing-algorithm",
        "ES256",
        "--userinfo",
        "jwt",
        "--client-id",
        "our-app",
        "--redirect-uri",
        "com.example.ours:/callback",
        "--user",
        "carol:a-long-password",
    ]));
    let told = serving.next();
    assert_eq!(told["client_id"], "our-app");
    assert_eq!(told["users"][2]["username"], "carol");
    // A pushed request: the URL holds nothing but where it is.
    let mut program = Running::start(world.gatepass(&[
        "sign-in",
        "--json",
        "--no-browser",
        "--allow-http-on-loopback",
        "--redirect",
        "com.example.ours:/callback",
        "--issuer",
        told["issuer"].as_str().unwrap(),
        "--client-id",
        "our-app",
    ]));
    let url = program.next()["url"].as_str().unwrap().to_owned();
    assert!(
        url.contains("request_uri=") && !url.contains("code_challenge"),
        "{url}"
    );
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_well() {
    for signal in ["-INT", "-TERM"] {
        let mut serving = Running::start(gatepass(&["serve", "--port", "0", "--json"]));
        serving.next();
        serving.signal(signal);
        assert_eq!(names(&serving.rest()), Vec::<&str>::new());
        assert_eq!(serving.exit_code(), Some(0));
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let world = World::new();
    let error = world.error(2, &["serve", "--port", &port]);
    assert_eq!(error["code"], "port_taken");
    let error = world.error(2, &["serve", "--port", "0", "--redirect-uri", "/callback"]);
    assert_eq!(error["code"], "not_served");
}
