//! What becomes of an answer that is whole.

use super::server::Server;
use super::{Bench, HttpFailureReason, Method, Outcome, StatusCode, ensure};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

pub(super) async fn come_as_they_are(bench: &Bench<'_>) -> Outcome {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 4\r\n\r\nbody")?;
    let mut request = server.post("/token?x=1", "grant=1")?;
    for value in ["a", "b"] {
        let value = ::http::HeaderValue::from_static(value);
        request.headers.append("x-mine", value);
    }
    let response = bench.answer(request).await?;
    ensure(
        response.status == StatusCode::OK && &response.body[..] == b"body",
        format!("the answer came as {response:?}"),
    )?;
    let two: Vec<_> = response.headers.get_all("x-two").iter().collect();
    // Some platforms join them with a comma, which RFC 9110 §5.3 allows.
    ensure(
        two == ["a", "b"] || two == ["a, b"],
        format!("X-Two came as {two:?}"),
    )?;
    server.saw(1, "one POST")?;
    for sent in server.requests() {
        ensure(
            sent.starts_with("POST /token?x=1 HTTP/1.1\r\n") && sent.ends_with("\r\n\r\ngrant=1"),
            format!("sent was {sent:?}"),
        )?;
        let sent = sent.to_ascii_lowercase();
        ensure(
            sent.contains("x-mine: a\r\nx-mine: b\r\n") || sent.contains("x-mine: a, b\r\n"),
            format!("X-Mine is not there twice in {sent:?}"),
        )?;
        ensure(
            !sent.contains("\r\ncookie:") && !sent.contains("\r\nreferer:"),
            format!("a cookie or a referrer in {sent:?}"),
        )?;
    }
    Ok(())
}

pub(super) async fn of_any_status(bench: &Bench<'_>) -> Outcome {
    for status in [
        201, 204, 400, 401, 403, 404, 407, 410, 429, 451, 500, 502, 503, 599,
    ] {
        let server = Server::answering(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))?;
        let response = bench.answer(server.grant()?).await?;
        ensure(
            response.status == status,
            format!("{status} came as {}", response.status),
        )?;
        server.saw(1, &status.to_string())?;
    }
    Ok(())
}

pub(super) async fn redirects_are_answers(bench: &Bench<'_>) -> Outcome {
    let elsewhere = Server::answering(EMPTY)?;
    for status in 300..=308 {
        for method in [Method::POST, Method::GET] {
            let server = Server::answering(format!(
                "HTTP/1.1 {status} X\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
                elsewhere.address()
            ))?;
            let mut request = server.grant()?;
            if method == Method::GET {
                request.body.clear();
            }
            request.method = method;
            let response = bench.answer(request).await?;
            ensure(
                response.status == status && response.headers.contains_key("location"),
                format!("{status} came as {response:?}"),
            )?;
            server.saw(1, &status.to_string())?;
        }
    }
    elsewhere.saw(0, "the target of the redirects")
}

pub(super) async fn cookies_are_not_kept(bench: &Bench<'_>) -> Outcome {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: sid=1; Path=/; Max-Age=3600\r\nContent-Length: 0\r\n\r\n",
    )?;
    for _ in 0..2 {
        bench.answer(server.post("/", "x=1")?).await?;
    }
    server.saw(2, "two POSTs")?;
    for sent in server.requests() {
        let sent = sent.to_ascii_lowercase();
        ensure(!sent.contains("\r\ncookie:"), format!("a cookie in {sent:?}"))?;
    }
    Ok(())
}

pub(super) async fn nothing_is_cached(bench: &Bench<'_>) -> Outcome {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=86400\r\nETag: \"1\"\r\nContent-Length: 1\r\n\r\nx",
    )?;
    for _ in 0..2 {
        let response = bench.answer(server.get("/jwks")?).await?;
        ensure(&response.body[..] == b"x", format!("it came as {response:?}"))?;
    }
    server.saw(2, "two GETs of one URL")?;
    for sent in server.requests() {
        let sent = sent.to_ascii_lowercase();
        ensure(
            !sent.contains("\r\nif-none-match"),
            format!("a conditional request: {sent:?}"),
        )?;
    }
    Ok(())
}

/// RFC 9110 §15.2: a client reads on after an informational answer, whether it asked for one or not.
pub(super) async fn early_hints_are_no_answer(bench: &Bench<'_>) -> Outcome {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    for first in [
        hints,
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
    ] {
        let server = Server::answering(format!(
            "{first}{first}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
        ))?;
        let response = bench.answer(server.grant()?).await?;
        ensure(
            response.status == StatusCode::OK && &response.body[..] == b"body",
            format!("{first:?} and an answer came as {response:?}"),
        )?;
        server.saw(1, first)?;
    }
    Ok(())
}

/// RFC 9110 §8.4: encoded by a server that was not asked to. 27 bytes that are 7, and 229 that are 200,000.
pub(super) async fn encoded_bodies(bench: &Bench<'_>) -> Outcome {
    const SMALL: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 84, 178, 50, 172, 5, 0, 175, 172, 27, 86, 7, 0, 0, 0,
    ];
    let bomb = [
        &[
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 49, 1, 0, 0, 0, 194, 160, 245, 79, 109, 6, 127, 160,
        ][..],
        &[0; 193],
        &[128, 215, 0, 123, 88, 224, 92, 64, 13, 3, 0],
    ]
    .concat();
    let serve = |body: &[u8]| {
        let answer = [
            format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
            body,
        ]
        .concat();
        Server::start(move |_, line| line.say(&answer))
    };

    let response = bench.answer(serve(SMALL)?.get("/")?).await?;
    let as_it_came = &response.body[..] == SMALL && response.headers.contains_key("content-encoding");
    ensure(
        as_it_came || &response.body[..] == b"{\"a\":1}",
        format!("neither as it came nor decoded: {response:?}"),
    )?;

    let mut request = serve(&bomb)?.get("/")?;
    request.max_response_bytes = 1000;
    match bench.transport.send(request).await {
        Ok(response) => ensure(
            response.body[..] == bomb[..],
            format!("200,000 bytes in 229, with a limit of 1,000, came as {response:?}"),
        ),
        Err(failure) => ensure(
            failure.reason == HttpFailureReason::BodyTooLarge,
            format!("200,000 bytes in 229, with a limit of 1,000: {failure:?}"),
        ),
    }
}
