//! HTTP/1.1 without TLS, one connection for each request, in buffers that are overwritten: what is left in memory after
//! it is not the transport's.

// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use async_trait::async_trait;
use gatepass::{Delivery, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// The longest answer, head included.
const LONGEST: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct PlainHttp;

#[async_trait]
impl HttpTransport for PlainHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let failed = |delivery, reason| HttpFailure::new(delivery, reason, "no answer");
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let port = request.url.port_or_known_default().unwrap_or(80);
        let address = format!("{}:{port}", host.trim_matches(['[', ']']));
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|_| failed(Delivery::NotSent, HttpFailureReason::Connect))?;
        let lost = || failed(Delivery::UnknownOutcome, HttpFailureReason::ConnectionLost);
        stream
            .write_all(&written(&request, &host, port))
            .await
            .map_err(|_| lost())?;
        let mut buffer = Zeroizing::new(vec![0; LONGEST]);
        let mut length = 0;
        loop {
            match stream.read(&mut buffer[length..]).await {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(_) => return Err(lost()),
            }
        }
        read(&buffer[..length]).ok_or_else(lost)
    }
}

fn written(request: &HttpRequest, host: &str, port: u16) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
    let length = request.body.len();
    let head = format!(
        "{} {target} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\ncontent-length: {length}\r\n",
        request.method
    );
    bytes.extend_from_slice(head.as_bytes());
    for (name, value) in &request.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&request.body);
    assert!(bytes.len() <= LONGEST, "the buffer grew and left a copy behind");
    bytes
}

/// `None` for what is not whole.
fn read(bytes: &[u8]) -> Option<HttpResponse> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    let rest = &bytes[end + 4..];
    let body = match headers.get(header::CONTENT_LENGTH) {
        Some(length) => rest.get(..length.to_str().ok()?.parse().ok()?)?.to_vec(),
        None if headers.contains_key(header::TRANSFER_ENCODING) => return None,
        None => rest.to_vec(),
    };
    Some(HttpResponse::new(
        StatusCode::from_u16(status).ok()?,
        headers,
        body,
    ))
}
