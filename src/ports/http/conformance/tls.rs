//! TLS (RFC 9325): what is refused, and that nothing has been sent when it is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::version::{TLS12, TLS13};

use super::server::{Flaw, Server};
use super::{Bench, Delivery, HttpFailureReason, Outcome, PATIENCE, SHORT, broken, ensure, mpsc};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";

fn serving(bench: &Bench<'_>, flaw: Flaw) -> Outcome<Server> {
    let tls = bench
        .authority
        .identity(flaw)?
        .serve(&[&TLS13, &TLS12], &[b"http/1.1"])?;
    Server::over(Some(tls), |_, line| line.say(ANSWER))
}

pub(super) async fn answers(bench: &Bench<'_>) -> Outcome {
    bench.needs_trust()?;
    for version in [&TLS13, &TLS12] {
        let tls = bench
            .authority
            .identity(Flaw::None)?
            .serve(&[version], &[b"http/1.1"])?;
        let server = Server::over(Some(tls), |_, line| line.say(ANSWER))?;
        let response = bench.answer(server.grant()?).await?;
        ensure(
            &response.body[..] == b"body" && server.versions() == [Some(version.version)],
            format!("over {:?} it came as {response:?}", version.version),
        )?;
        server.saw(1, "one POST over TLS")?;
    }
    Ok(())
}

/// RFC 9325 §3.7.
pub(super) async fn server_name(bench: &Bench<'_>) -> Outcome {
    bench.needs_trust()?;
    let server = serving(bench, Flaw::None)?;
    let mut request = server.grant()?;
    request.url.set_host(Some("localhost"))?;
    bench.answer(request).await?;
    let names = server.server_names();
    ensure(
        names == [Some("localhost".to_owned())],
        format!("the server was asked for as {names:?}"),
    )
}

/// RFC 6749 §10.9, RFC 9325 §7.1.
pub(super) async fn bad_certificates(bench: &Bench<'_>) -> Outcome {
    for flaw in [
        Flaw::SelfSigned,
        Flaw::UnknownRoot,
        Flaw::OtherHost,
        Flaw::Expired,
        Flaw::NotYetValid,
    ] {
        let server = serving(bench, flaw)?;
        let case = format!("a certificate with the flaw {flaw:?}");
        let failure = bench.failure(server.grant()?, Delivery::NotSent, &case).await?;
        ensure(
            matches!(
                failure.reason,
                HttpFailureReason::TlsCertificate | HttpFailureReason::Tls
            ),
            format!("{case}: the reason is TLS, but {failure:?}"),
        )?;
        server.saw(0, &case)?;
    }
    Ok(())
}

/// RFC 9325 §3.1.1. The server chooses TLS 1.1 whatever it was offered; a client that goes on waits for its
/// certificate, one that does not says so or hangs up.
pub(super) async fn old_version(bench: &Bench<'_>) -> Outcome {
    let (went_on, has_gone_on) = mpsc::channel();
    let server = Server::bare(move |mut stream| {
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(&server_hello_1_1()));
        drop(stream.set_read_timeout(Some(PATIENCE)));
        let mut record = [0; 1];
        let verdict = match stream.read(&mut record) {
            Ok(0) => None,
            // An alert.
            Ok(_) if record == [21] => None,
            Ok(_) => Some("it went on with TLS 1.1"),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::ConnectionReset) => None,
            Err(_) => Some("it waits for a TLS 1.1 handshake to go on"),
        };
        drop(stream.shutdown(Shutdown::Both));
        went_on.send(verdict).unwrap_or_default();
    })?;
    let mut request = server.grant()?;
    // Longer than the server waits, or the deadline would be what refuses.
    request.timeout = PATIENCE * 2;
    bench
        .failure(request, Delivery::NotSent, "a server that chooses TLS 1.1")
        .await?;
    match has_gone_on.recv_timeout(PATIENCE)? {
        Some(what) => broken(what),
        None => Ok(()),
    }
}

/// RFC 4346 §7.4.1.3: version 3.2, an empty session id, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
fn server_hello_1_1() -> Vec<u8> {
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0xc0, 0x13, 0]);
    hello
}

pub(super) async fn broken_handshakes(bench: &Bench<'_>) -> Outcome {
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40]; // handshake_failure, fatal
    for (case, answer) in [
        (
            "a server of plain HTTP",
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        ),
        ("a fatal alert", ALERT),
        ("a server that hangs up", b""),
        ("a record that is cut off", &[22, 3, 3, 0, 200, 2]),
    ] {
        let server = Server::bare(move |mut stream: TcpStream| {
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(answer));
            drop(stream.shutdown(Shutdown::Write));
            // Until the other side hangs up: a reset would take the answer with it.
            drop(stream.read_to_end(&mut Vec::new()));
        })?;
        let failure = bench.failure(server.grant()?, Delivery::NotSent, case).await?;
        ensure(
            failure.reason == HttpFailureReason::Tls,
            format!("{case}: the reason is TLS, but {failure:?}"),
        )?;
    }
    Ok(())
}

pub(super) async fn silent_handshake(bench: &Bench<'_>) -> Outcome {
    let server = Server::bare(|mut stream| drop(stream.read_to_end(&mut Vec::new())))?;
    let mut request = server.grant()?;
    request.timeout = SHORT;
    let case = "a server that never answers the handshake";
    let failure = bench.failure(request, Delivery::NotSent, case).await?;
    ensure(
        failure.reason == HttpFailureReason::Timeout,
        format!("{case}: a timeout, but {failure:?}"),
    )
}
