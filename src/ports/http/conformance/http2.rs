//! HTTP/2 (RFC 9113), frame by frame, so that a server can be as wrong as it likes.

use std::io::{self, Read};

use rustls::version::{TLS12, TLS13};

use super::server::{Flaw, Line, Seen, Server};
use super::{
    Bench, Broken, Delivery, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, Outcome, PATIENCE,
    SHORT, StatusCode, broken, ensure,
};

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;
const NO_ERROR: u32 = 0;

/// Field lines of RFC 7541: `:status: 200` by index, the others as literals without indexing.
const STATUS_200: &[u8] = &[0x88];
const STATUS_103: &[u8] = &[0x08, 3, b'1', b'0', b'3'];
const CONTENT_LENGTH_100: &[u8] = &[0x0f, 0x0d, 3, b'1', b'0', b'0'];

/// The connection of one client.
struct Frames<'a> {
    line: &'a mut Line,
    over: bool,
}

impl Frames<'_> {
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let mut frame = length.get(1..).unwrap_or_default().to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.line.say(frame);
    }

    fn data(&mut self, stream: u32, bytes: &[u8], last: bool) {
        self.send(0, u8::from(last), stream, bytes);
    }

    /// A field section that fits into one frame.
    fn headers(&mut self, stream: u32, fields: &[&[u8]], last: bool) {
        self.send(1, 4 | u8::from(last), stream, &fields.concat());
    }

    fn reset(&mut self, stream: u32, code: u32) {
        self.send(3, 0, stream, &code.to_be_bytes());
    }

    fn go_away(&mut self, last_stream: u32, code: u32) {
        let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(7, 0, 0, &payload);
    }

    fn answer(&mut self, stream: u32, body: &[u8]) {
        self.headers(stream, &[STATUS_200], false);
        self.data(stream, body, true);
    }

    /// What arrives later on this connection is nobody's: RFC 9113 §6.8 has it ignored.
    fn hang_up(&mut self) {
        self.line.hang_up();
        self.over = true;
    }

    /// Kind, flags and stream of the next frame.
    fn next(&mut self) -> io::Result<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.line.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        self.line.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(s)))
    }
}

/// Serves frames; `behave` gets the number of the request at this server, from 1, its stream and the connection.
fn serve(
    bench: &Bench<'_>,
    behave: impl Fn(usize, u32, &mut Frames<'_>) + Send + Sync + 'static,
) -> Outcome<Server> {
    bench.needs_trust()?;
    let tls = bench
        .authority
        .identity(Flaw::None)?
        .serve(&[&TLS13, &TLS12], &[b"h2", b"http/1.1"])?;
    Server::lines(Some(tls), move |line, seen| {
        // The end of a connection is no concern of the server's.
        drop(frames(line, seen, &behave));
    })
}

fn frames(line: &mut Line, seen: &Seen, behave: &impl Fn(usize, u32, &mut Frames<'_>)) -> io::Result<()> {
    if line.protocol() != Some(b"h2") {
        seen.without_http2();
        return Ok(());
    }
    let mut preface = [0; 24];
    line.read_exact(&mut preface)?;
    let mut frames = Frames { line, over: false };
    frames.send(4, 0, 0, &[]);
    while !frames.over {
        let (kind, flags, stream) = frames.next()?;
        match kind {
            // SETTINGS, to be acknowledged.
            4 if flags & 1 == 0 => frames.send(4, 1, 0, &[]),
            // PING, which the suite's clients have no reason to send, is answered with what they sent.
            6 if flags & 1 == 0 => frames.send(6, 1, 0, &[0; 8]),
            // HEADERS or DATA that end a stream.
            0 | 1 if flags & 1 == 1 => {
                let number = seen.request(format!("stream {stream}"));
                behave(number, stream, &mut frames);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Nothing of HTTP/2 is promised: who does not speak it is not checked.
fn needs_http2(server: &Server) -> Outcome {
    if server.is_without_http2() {
        return Err(Broken::Skipped("it does not offer HTTP/2".to_owned()));
    }
    Ok(())
}

async fn sent(
    bench: &Bench<'_>,
    server: &Server,
    request: HttpRequest,
) -> Outcome<Result<HttpResponse, HttpFailure>> {
    let outcome = bench.transport.send(request).await;
    needs_http2(server)?;
    if let Err(failure) = &outcome {
        ensure(
            !format!("{failure:?}").contains("secret"),
            format!("a secret in {failure:?}"),
        )?;
    }
    Ok(outcome)
}

pub(super) async fn answers(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |_, stream, frames| {
        let two: &[u8] = &[0, 5, b'x', b'-', b't', b'w', b'o', 1, b'a'];
        let more: &[u8] = &[0, 5, b'x', b'-', b't', b'w', b'o', 1, b'b'];
        frames.headers(stream, &[STATUS_200, two, more], false);
        frames.data(stream, b"bo", false);
        frames.data(stream, b"dy", true);
    })?;
    for request in [server.grant()?, server.get("/jwks")?] {
        let response = match sent(bench, &server, request).await? {
            Ok(response) => response,
            Err(failure) => return broken(format!("an answer was there, but {failure:?}")),
        };
        let two: Vec<_> = response.headers.get_all("x-two").iter().collect();
        ensure(
            &response.body[..] == b"body" && (two == ["a", "b"] || two == ["a, b"]),
            format!("it came as {response:?} with {two:?}"),
        )?;
    }
    server.saw(2, "two requests")
}

pub(super) async fn early_hints(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |_, stream, frames| {
        frames.headers(stream, &[STATUS_103], false);
        frames.headers(stream, &[STATUS_103], false);
        frames.answer(stream, b"body");
    })?;
    let outcome = sent(bench, &server, server.grant()?).await?;
    ensure(
        outcome
            .as_ref()
            .is_ok_and(|response| response.status == StatusCode::OK && &response.body[..] == b"body"),
        format!("two 103 and an answer came as {outcome:?}"),
    )?;
    server.saw(1, "103")
}

/// One request at the server and a failure: whether it calls it not sent, as it may here, is its choice.
async fn one_request_that_failed(bench: &Bench<'_>, server: &Server, case: &str) -> Outcome {
    let outcome = sent(bench, server, server.grant()?).await?;
    ensure(outcome.is_err(), format!("{case}: a failure, but {outcome:?}"))?;
    server.saw(1, case)
}

/// RFC 9113 §8.7: not processed, so it could be sent again. That is for the core to decide.
pub(super) async fn refused(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |number, stream, frames| {
        if number == 1 {
            frames.reset(stream, REFUSED_STREAM);
        } else {
            frames.answer(stream, b"sent again");
        }
    })?;
    one_request_that_failed(bench, &server, "REFUSED_STREAM").await
}

/// RFC 9113 §6.8: streams above the last one named were not processed.
pub(super) async fn left_out(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |number, stream, frames| {
        if number == 1 {
            frames.go_away(0, NO_ERROR);
            frames.hang_up();
        } else {
            frames.answer(stream, b"sent again");
        }
    })?;
    one_request_that_failed(bench, &server, "GOAWAY that leaves the request out").await
}

pub(super) async fn breaks(bench: &Bench<'_>) -> Outcome {
    type Behaviour = fn(u32, &mut Frames<'_>);
    let cases: [(&str, Behaviour); 9] = [
        ("RST_STREAM with INTERNAL_ERROR", |stream, frames| {
            frames.reset(stream, INTERNAL_ERROR);
        }),
        ("RST_STREAM with CANCEL", |stream, frames| {
            frames.reset(stream, CANCEL);
        }),
        ("RST_STREAM within the body", |stream, frames| {
            frames.headers(stream, &[STATUS_200], false);
            frames.data(stream, b"{\"access", false);
            frames.reset(stream, INTERNAL_ERROR);
        }),
        ("REFUSED_STREAM within the body", |stream, frames| {
            frames.headers(stream, &[STATUS_200], false);
            frames.data(stream, b"{\"access", false);
            frames.reset(stream, REFUSED_STREAM);
        }),
        (
            "GOAWAY that counts the request in, and the end",
            |stream, frames| {
                frames.go_away(stream, NO_ERROR);
                frames.hang_up();
            },
        ),
        ("GOAWAY with an error, and the end", |stream, frames| {
            frames.go_away(stream, INTERNAL_ERROR);
            frames.hang_up();
        }),
        ("GOAWAY within the body, and the end", |stream, frames| {
            frames.headers(stream, &[STATUS_200], false);
            frames.data(stream, b"{\"access", false);
            frames.go_away(stream, NO_ERROR);
            frames.hang_up();
        }),
        ("a connection that ends", |_, frames| frames.hang_up()),
        ("a body shorter than its Content-Length", |stream, frames| {
            frames.headers(stream, &[STATUS_200, CONTENT_LENGTH_100], false);
            frames.data(stream, b"{\"access", true);
        }),
    ];
    for (case, behaviour) in cases {
        let server = serve(bench, move |_, stream, frames| behaviour(stream, frames))?;
        let outcome = sent(bench, &server, server.grant()?).await?;
        let unknown = matches!(&outcome, Err(failure) if failure.delivery == Delivery::UnknownOutcome);
        ensure(unknown, format!("{case}: an unknown outcome, but {outcome:?}"))?;
        server.saw(1, case)?;
    }
    Ok(())
}

pub(super) async fn closed_while_idle(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |_, stream, frames| {
        frames.answer(stream, b"body");
        frames.go_away(stream, NO_ERROR);
        frames.hang_up();
    })?;
    let mut told = Vec::new();
    for _ in 0..20 {
        told.push(sent(bench, &server, server.grant()?).await?);
    }
    server.settle()?;
    let answered = told.iter().filter(|told| told.is_ok()).count();
    let unsure = told
        .iter()
        .filter(|told| matches!(told, Err(failure) if failure.delivery == Delivery::UnknownOutcome))
        .count();
    let requests = server.requests().len();
    ensure(
        (answered..=answered + unsure).contains(&requests),
        format!("{requests} requests at the server, and told was {told:?}"),
    )
}

pub(super) async fn limits(bench: &Bench<'_>) -> Outcome {
    let server = serve(bench, |_, stream, frames| {
        frames.headers(stream, &[STATUS_200], false);
        // Within the 65,535 bytes that a client has to accept (RFC 9113 §6.9.2), and no end.
        for _ in 0..6 {
            frames.data(stream, &[b'x'; 10_000], false);
        }
    })?;
    for (limit, reason) in [
        (10_000, HttpFailureReason::BodyTooLarge),
        (1_000_000, HttpFailureReason::Timeout),
    ] {
        let mut request = server.grant()?;
        request.max_response_bytes = limit;
        request.timeout = if reason == HttpFailureReason::Timeout {
            SHORT
        } else {
            PATIENCE
        };
        let outcome = sent(bench, &server, request).await?;
        let kept = matches!(&outcome, Err(failure)
            if failure.delivery == Delivery::UnknownOutcome && failure.reason == reason);
        ensure(
            kept,
            format!("{reason:?} with a limit of {limit} bytes, but {outcome:?}"),
        )?;
    }
    Ok(())
}
