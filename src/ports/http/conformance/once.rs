//! At most once: how a transport comes to send a request twice, which can end a session at the server.

use super::server::Server;
use super::{Bench, Delivery, Duration, HttpRequest, Method, Outcome, ensure};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

const METHODS: [Method; 2] = [Method::POST, Method::GET];

/// The grant by this method: stacks repeat a GET more readily.
fn by(method: &Method, server: &Server) -> Outcome<HttpRequest> {
    let mut request = server.grant()?;
    if *method == Method::GET {
        request.body.clear();
    }
    request.method = method.clone();
    Ok(request)
}

/// Accept, read the request, close.
pub(super) async fn on_a_fresh_connection(bench: &Bench<'_>) -> Outcome {
    for method in METHODS {
        let server = Server::start(|_, line| line.hang_up())?;
        let case = format!("a {method}, read and hung up on");
        bench
            .failure(by(&method, &server)?, Delivery::UnknownOutcome, &case)
            .await?;
        server.saw(1, &case)?;
    }
    Ok(())
}

/// The server answers, keeps the connection, and closes it when the next request has arrived on it.
pub(super) async fn on_a_pooled_connection(bench: &Bench<'_>) -> Outcome {
    for method in METHODS {
        let server = Server::start(|number, line| {
            if number == 1 {
                line.say(EMPTY);
            } else {
                line.hang_up();
            }
        })?;
        bench.answer(server.grant()?).await?;
        let case = format!("a {method} on a kept connection, read and hung up on");
        bench
            .failure(by(&method, &server)?, Delivery::UnknownOutcome, &case)
            .await?;
        server.saw(2, &case)?;
    }
    Ok(())
}

/// It closes right after its answer: the next request finds the connection dead, or dies with it.
pub(super) async fn on_a_connection_that_died_idle(bench: &Bench<'_>) -> Outcome {
    let server = Server::start(|_, line| {
        line.say(EMPTY);
        line.hang_up();
    })?;
    let mut told = Vec::new();
    for round in 0..20 {
        // Each has a name: one that the server reads late is not counted for the next.
        let mut request = server.grant()?;
        request.url.set_query(Some(&format!("round={round};")));
        told.push(bench.transport.send(request).await);
    }
    server.settle()?;
    let sent = server.requests();
    for (round, told) in told.iter().enumerate() {
        let name = format!("round={round};");
        let count = sent.iter().filter(|sent| sent.contains(&name)).count();
        let kept = match told {
            Ok(_) => count == 1,
            Err(failure) if failure.delivery == Delivery::NotSent => count == 0,
            Err(_) => count <= 1,
        };
        ensure(
            kept,
            format!("round {round}: {count} request(s) at the server, and told was {told:?}"),
        )?;
    }
    Ok(())
}

/// A limit that every pooled connection is beyond: the request has to go out on a new one.
pub(super) async fn the_idle_limit(bench: &Bench<'_>) -> Outcome {
    let server = Server::answering(EMPTY)?;
    for _ in 0..3 {
        let mut request = server.grant()?;
        request.max_connection_idle = Some(Duration::ZERO);
        bench.answer(request).await?;
    }
    let connections = server.connections();
    ensure(
        connections == 3,
        format!("three requests that allow no idle connection went out on {connections}"),
    )
}
