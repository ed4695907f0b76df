//! What must be told of a failure: whether the request can have reached the server.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use super::server::Server;
use super::{
    Bench, Delivery, HttpFailure, HttpFailureReason, HttpRequest, Method, Outcome, PATIENCE, SHORT, Url,
    Zeroizing, ensure, mpsc, within,
};

pub(super) async fn no_such_name(bench: &Bench<'_>) -> Outcome {
    // RFC 6761 §6.4: it never resolves.
    let mut request = HttpRequest::new(
        Method::POST,
        Url::parse("https://gatepass-suite.invalid/?q=secret")?,
    );
    request.timeout = PATIENCE;
    request.body = Zeroizing::new(b"refresh_token=secret".to_vec());
    bench
        .failure(request, Delivery::NotSent, "a name that does not resolve")
        .await
        .map(drop)
}

pub(super) async fn refused_connection(bench: &Bench<'_>) -> Outcome {
    for scheme in ["http", "https"] {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        for method in [Method::POST, Method::GET] {
            let url = Url::parse(&format!("{scheme}://{free}/?q=secret"))?;
            let mut request = HttpRequest::new(method.clone(), url);
            if method == Method::POST {
                request.body = Zeroizing::new(b"refresh_token=secret".to_vec());
            }
            let case = format!("{method} by {scheme} to a port where nobody listens");
            bench.failure(request, Delivery::NotSent, &case).await?;
        }
    }
    Ok(())
}

/// Closed with the request unread in the server's buffer: most systems send a reset.
pub(super) async fn reset_before_reading(bench: &Bench<'_>) -> Outcome {
    let server = Server::lines(None, |line, seen| {
        if line.await_the_first_byte() {
            seen.request(String::new());
        }
    })?;
    let case = "a reset with the request unread";
    bench
        .failure(server.grant()?, Delivery::UnknownOutcome, case)
        .await?;
    server.settle()?;
    let requests = server.requests().len();
    // The probe of `settle` counts as well: it has a byte to read.
    ensure(
        requests == 2,
        format!("{case}: sent {} times", requests.saturating_sub(1)),
    )
}

/// Closed with the last byte of the body unread.
pub(super) async fn reset_after_reading(bench: &Bench<'_>) -> Outcome {
    let server = Server::lines(None, |line, seen| {
        if line.read_all_but_one_byte() {
            seen.request(String::new());
        }
    })?;
    let case = "a reset with the request read";
    bench
        .failure(server.grant()?, Delivery::UnknownOutcome, case)
        .await?;
    server.saw(1, case)
}

pub(super) async fn answers_that_are_none(bench: &Bench<'_>) -> Outcome {
    for answer in [
        "hello, I am not HTTP\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "",
    ] {
        let server = Server::start(move |_, line| {
            line.say(answer);
            line.hang_up();
        })?;
        let case = format!("{answer:?} for an answer");
        bench
            .failure(server.grant()?, Delivery::UnknownOutcome, &case)
            .await?;
        server.saw(1, &case)?;
    }
    Ok(())
}

/// Sends `head`, then `more` again and again until the other side hangs up, which is awaited: the transport must
/// let go of what it cuts.
async fn cut(
    bench: &Bench<'_>,
    head: &'static [u8],
    more: &'static [u8],
    limit: usize,
) -> Outcome<HttpFailure> {
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, line| {
        line.say(head);
        while std::io::Write::write_all(line, more).is_ok() {}
        gone.send(()).unwrap_or_default();
    })?;
    let mut request = server.grant()?;
    request.max_response_bytes = limit;
    let failure = bench
        .failure(request, Delivery::UnknownOutcome, "an answer without end")
        .await?;
    ensure(
        failure.reason != HttpFailureReason::Timeout,
        format!("it ended by the deadline only: {failure:?}"),
    )?;
    // Awaited, not blocked on: the transport may need this thread to let go.
    let gone = within(PATIENCE, is_gone.recv()).await;
    ensure(gone.is_some(), "the connection was not closed after the cut")?;
    Ok(failure)
}

pub(super) async fn endless_body(bench: &Bench<'_>) -> Outcome {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNK: &[u8] = b"20\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    const HUGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000\r\n\r\n";
    for (head, more) in [(HEAD, CHUNK), (HUGE, &[b'x'; 4096])] {
        let failure = cut(bench, head, more, 100_000).await?;
        ensure(
            failure.reason == HttpFailureReason::BodyTooLarge,
            format!("a body without end: {failure:?}"),
        )?;
    }
    Ok(())
}

pub(super) async fn endless_headers(bench: &Bench<'_>) -> Outcome {
    cut(bench, b"HTTP/1.1 200 OK\r\n", b"X-More: and more of it\r\n", 1000).await?;
    cut(bench, b"HTTP/1.1 200 OK\r\nX-Long: ", &[b'x'; 4096], 1000)
        .await
        .map(drop)
}

pub(super) async fn exact_limit(bench: &Bench<'_>) -> Outcome {
    for (length, fits) in [(1000, true), (1001, false)] {
        let server = Server::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        ))?;
        let mut request = server.get("/")?;
        request.max_response_bytes = 1000;
        let outcome = bench.transport.send(request).await;
        ensure(
            outcome.is_ok() == fits,
            format!("{length} bytes with a limit of 1000: {outcome:?}"),
        )?;
    }
    Ok(())
}

/// A server that says this much and then nothing until the connection ends, and a deadline that passes.
async fn silence(bench: &Bench<'_>, answer: &'static str) -> Outcome {
    let server = Server::start(move |_, line| {
        line.say(answer);
        line.wait_for_the_end();
    })?;
    let mut request = server.grant()?;
    request.timeout = SHORT;
    let case = format!("{answer:?} and then silence");
    let failure = bench.failure(request, Delivery::UnknownOutcome, &case).await?;
    ensure(
        failure.reason == HttpFailureReason::Timeout,
        format!("{case}: a timeout, but {failure:?}"),
    )
}

pub(super) async fn deadline(bench: &Bench<'_>) -> Outcome {
    for answer in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal",
    ] {
        silence(bench, answer).await?;
    }
    // A byte now and then is no reason to go on.
    drip(bench, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "x").await
}

pub(super) async fn deadline_of_early_hints(bench: &Bench<'_>) -> Outcome {
    drip(bench, "", "HTTP/1.1 103 Early Hints\r\n\r\n").await
}

/// One more piece each time the clock has gone on a little, for as long as the other side listens.
async fn drip(bench: &Bench<'_>, head: &'static str, piece: &'static str) -> Outcome {
    let (over, is_over) = mpsc::channel::<()>();
    let is_over = Mutex::new(is_over);
    let server = Server::start(move |_, line| {
        line.say(head);
        if let Ok(is_over) = is_over.lock() {
            while is_over.recv_timeout(SHORT / 20) == Err(mpsc::RecvTimeoutError::Timeout) {
                line.say(piece);
            }
        }
    })?;
    let mut request = server.grant()?;
    request.timeout = SHORT;
    let case = format!("{piece:?} again and again");
    let failure = bench.failure(request, Delivery::UnknownOutcome, &case).await?;
    drop(over);
    ensure(
        failure.reason == HttpFailureReason::Timeout,
        format!("{case}: a timeout, but {failure:?}"),
    )
}
