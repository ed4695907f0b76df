//! `token`: a fresh one, and nothing else on standard output.

use std::time::Duration;

use gatepass::test_server::{TestApi, TestServer};

use crate::support::{Running, World, at, events, fields, stderr, stdout};

#[tokio::test]
async fn a_token_and_nothing_else() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let before = server.requests().len();
    let token = world.token(&[]);
    assert_eq!(token, world.token(&[]), "it was fresh");
    assert_eq!(server.requests().len(), before, "so nobody was asked");
    // What it is for: another program's request.
    let answer = curl(&server.api_url(), &token);
    assert!(answer.contains(server.users()[0].subject()), "{answer}");
    let told = world.one(&["token"]);
    assert_eq!(told["access_token"], token.as_str());
    assert_eq!(told["token_type"], "Bearer");
    assert_eq!(
        fields(&told),
        [
            "access_token",
            "can_refresh",
            "client_id",
            "display_name",
            "event",
            "expires_in",
            "id",
            "issuer",
            "scope",
            "signed_in_at",
            "subject",
            "token_type"
        ]
    );
}

/// A request by another program than ours, as a script makes it.
fn curl(url: &str, token: &str) -> String {
    use std::io::{Read as _, Write as _};
    let url = url.strip_prefix("http://").unwrap();
    let (host, path) = url.split_once('/').unwrap();
    let mut connection = std::net::TcpStream::connect(host).unwrap();
    write!(
        connection,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn an_expired_token_is_refreshed_first() {
    // Expired as soon as it is there.
    let server = TestServer::builder()
        .access_token_lifetime(Duration::from_millis(1))
        .start()
        .unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let first = world.token(&[]);
    let second = world.token(&[]);
    assert_ne!(first, second);
    assert_eq!(refreshes(&server), 2);
}

fn refreshes(server: &TestServer) -> usize {
    let requests = server.requests();
    let refreshes = requests
        .iter()
        .filter(|request| request.form_value("grant_type") == Some("refresh_token"));
    refreshes.count()
}

#[tokio::test]
async fn a_refresh_can_be_forced_and_a_validity_asked_for() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let first = world.token(&["--min-validity", "60"]);
    assert_eq!(refreshes(&server), 0);
    let second = world.token(&["--refresh"]);
    assert_ne!(first, second);
    assert_eq!(refreshes(&server), 1);
    // More than the server gives: one refresh, its token, and a word.
    let output = world.expect(0, &["token", "--min-validity", "3600"]);
    assert_eq!(refreshes(&server), 2);
    assert!(stderr(&output).contains("the server gives no longer one"));
    assert_eq!(stdout(&output).lines().count(), 1);
}

#[tokio::test]
async fn a_token_for_one_api() {
    let calendar = "https://calendar.example/";
    let api = TestApi::new("calendar").audience(calendar);
    let server = TestServer::builder().api(api).start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &["--resource", calendar]).await;
    let own = world.token(&[]);
    let theirs = world.token(&["--resource", calendar]);
    assert_ne!(own, theirs);
    let answer = curl(&server.url_of_api("calendar"), &theirs);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let error = world.error(2, &["token", "--resource", "calendar"]);
    assert_eq!(error["code"], "resource_malformed");
}

#[tokio::test]
async fn without_a_refresh_token_it_cannot_be_forced() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &["--scope", "openid"]).await;
    world.token(&[]);
    let error = world.error(2, &["token", "--refresh"]);
    assert_eq!(error["code"], "no_refresh_token");
}

#[test]
fn nobody_is_signed_in() {
    let world = World::new();
    for arguments in [&["token"][..], &["userinfo"], &["sign-out"]] {
        let error = world.error(10, arguments);
        assert_eq!(error["kind"], "not_signed_in");
        assert_eq!(error["next_step"], "sign_in_again");
        assert_eq!(stdout(&world.expect(10, arguments)), "");
    }
    // Looking for sessions makes no store.
    assert!(!world.path("store").exists());
}

#[tokio::test]
async fn a_session_that_ended_says_why() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    server.revoke_everything();
    for _ in 0..2 {
        let error = world.error(9, &["token", "--refresh"]);
        assert_eq!(
            (&error["kind"], &error["code"]),
            (&"session_ended".into(), &"expired_or_revoked".into())
        );
        assert_eq!(error["next_step"], "sign_in_again");
    }
}

/// Every process forces a refresh with the same stored token. At a strict server one that sends a token which another
/// has used ends the grant for all.
#[tokio::test]
async fn many_at_once_lose_no_rotation() {
    let world = World::new();
    let mut serving = Running::start(world.gatepass(&[
        "serve",
        "--port",
        "0",
        "--json",
        "--rotation",
        "strict",
        "--access-token-lifetime",
        "1",
    ]));
    let told = serving.next();
    let (issuer, client_id) = (
        told["issuer"].as_str().unwrap(),
        told["client_id"].as_str().unwrap(),
    );
    // The browser of another test server visits this one just as well.
    let visitor = TestServer::start().unwrap();
    let arguments = [
        "sign-in",
        "--json",
        "--no-browser",
        "--allow-http-on-loopback",
        "--issuer",
        issuer,
        "--client-id",
        client_id,
    ];
    let mut program = Running::start(world.gatepass(&arguments));
    program.visit(&visitor, 0).await;
    program.rest();
    for _ in 0..3 {
        let together: Vec<_> = (0..6)
            .map(|n| {
                let how = if n % 2 == 0 { "--refresh" } else { "--json" };
                world.gatepass(&["token", how]).spawn().unwrap()
            })
            .collect();
        for one in together {
            let output = one.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_eq!(stdout(&output).lines().count(), 1);
        }
    }
    // The grant lives.
    world.token(&["--refresh"]);
    assert_eq!(
        world.one(&["userinfo"])["claims"]["sub"],
        visitor.users()[0].subject()
    );
}

/// Waiters that find a newer token take it: they do not refresh once more each.
#[tokio::test]
async fn one_refresh_serves_all_who_ask_at_once() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let together: Vec<_> = (0..4)
        .map(|_| {
            world
                .gatepass(&["token", "--min-validity", "3600"])
                .spawn()
                .unwrap()
        })
        .collect();
    for one in together {
        let output = one.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let refreshes = refreshes(&server);
    assert!((1..=4).contains(&refreshes), "{refreshes}");
    // None of them was a second use: the session lives.
    world.token(&["--refresh"]);
}

#[tokio::test]
async fn an_account_is_one_session_or_an_error_that_lists_them() {
    let (one, two) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    let world = World::new();
    world.sign_in(&one, 0, &[]).await;
    world.sign_in(&one, 1, &["--add-account"]).await;
    world.sign_in(&two, 0, &[]).await;
    let alice = one.users()[0].subject();
    let bob = one.users()[1].subject();
    let of = |arguments: &[&str]| world.one(&[&["token"], arguments].concat());
    assert_eq!(of(&[])["issuer"], two.issuer(), "the latest sign-in");
    assert_eq!(
        of(&["--issuer", one.issuer()])["subject"],
        bob,
        "the latest of this issuer"
    );
    let exact = of(&["--account", alice, "--issuer", one.issuer()]);
    assert_eq!(
        (&exact["subject"], &exact["issuer"]),
        (&alice.into(), &one.issuer().into())
    );
    assert_eq!(
        of(&["--account", exact["id"].as_str().unwrap()])["access_token"],
        exact["access_token"]
    );
    assert_eq!(of(&["--account", bob])["subject"], bob);
    let error = world.error(2, &["token", "--account", alice]);
    assert_eq!(error["code"], "account_ambiguous");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(one.issuer()) && message.contains(two.issuer()),
        "{message}"
    );
    let error = world.error(10, &["token", "--account", "carol"]);
    assert!(error["message"].as_str().unwrap().contains(two.issuer()));
}

#[tokio::test]
async fn a_profile_is_a_choice_too() {
    let (one, two) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    let world = World::new();
    let config = world.path("config.toml");
    let profile = |name: &str, server: &TestServer| {
        format!(
            "[profiles.{name}]\nissuer = '{}'\nclient_id = '{}'\nallow_http_on_loopback = true\n",
            server.issuer(),
            server.client_id()
        )
    };
    std::fs::write(&config, profile("one", &one) + &profile("two", &two)).unwrap();
    let config = config.to_str().unwrap();
    for (name, server) in [("one", &one), ("two", &two)] {
        let arguments = [
            "sign-in",
            "--json",
            "--no-browser",
            "--config",
            config,
            "--profile",
            name,
        ];
        let mut program = Running::start(world.gatepass(&arguments));
        program.visit(server, 0).await;
        assert_eq!(program.rest().len(), 2);
    }
    for (name, server) in [("one", &one), ("two", &two)] {
        let told = world.one(&["token", "--config", config, "--profile", name]);
        assert_eq!(told["issuer"], server.issuer());
    }
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_the_token_that_is_there() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let token = world.token(&[]);
    drop(server);
    assert_eq!(world.token(&[]), token);
    let output = world.run(&["token", "--refresh", "--json"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(events(&output)[0]["retryable"], true);
    assert_eq!(world.one(&["status"])["signed_in"], true);
}

#[tokio::test]
async fn http_on_loopback_is_asked_for_at_sign_in_and_then_known() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let arguments: Vec<_> = at(&server, &[])
        .into_iter()
        .filter(|argument| !matches!(*argument, "--allow-http-on-loopback" | "--json"))
        .collect();
    assert_eq!(world.error(2, &arguments)["code"], "issuer_insecure");
    world.sign_in(&server, 0, &[]).await;
    world.token(&["--refresh"]);
}
