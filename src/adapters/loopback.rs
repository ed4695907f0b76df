//! The loopback redirect (RFC 8252 §7.3, §8.3): a listener that is open for one sign-in.
//!
//! Any program on the device and any page in the browser can send requests here. So everything is bounded, only a
//! GET of the exact path with our own address in `Host` is even looked at, and what it says decides nothing until
//! its state is known to be ours. The listener closes with the first request that passes that check.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;
use zeroize::Zeroizing;

use super::executor::Executor;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::Verdict;
use crate::protocol::callback::MAX_URL_BYTES;
use crate::protocol::redirect::RedirectUri;

/// Connections at one time.
const MAX_CONNECTIONS: usize = 32;
/// A request must be whole within this: a browser on the same device takes milliseconds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for the longest callback URL and its headers.
const MAX_HEADER_BYTES: usize = MAX_URL_BYTES + 32 * 1024;
/// What is still being written when the listener closes may take this long.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    path: String,
    header_timeout: Duration,
}

impl Listener {
    /// Binds the address of the redirect URI, or the other loopback address where that family is missing (RFC 8252
    /// §7.3: a client should not assume either). The system chooses the port unless the URI names one.
    pub(crate) async fn bind(redirect: &RedirectUri) -> Result<Self> {
        let port = redirect.port().unwrap_or(0);
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let order = if redirect.as_str().starts_with("http://[") {
            [v6, v4]
        } else {
            [v4, v6]
        };
        let mut tried = Vec::new();
        for address in order {
            match Self::bind_at(address, redirect).await? {
                Ok(listener) => return Ok(listener),
                Err(error) => tried.push(format!("{address}: {error}")),
            }
        }
        Err(Error::new(
            ErrorKind::RedirectNotCaptured,
            Stage::UserAgent,
            "loopback_not_bound",
            format!(
                "no loopback address can be listened on for the redirect ({})",
                tried.join("; ")
            ),
        )
        .with_clause("RFC 8252 §7.3"))
    }

    /// Binds the very address and port that a redirect URI of before names, and no other: that is where its browser
    /// goes. `None` if that cannot be had now. A port that somebody listens on is in use, and stays theirs; on some
    /// systems it also counts as in use for a minute after a connection to it was closed.
    pub(crate) async fn bind_again(redirect: &RedirectUri) -> Option<Self> {
        let address = redirect.address()?;
        match Self::bind_at(address, redirect).await {
            Ok(Ok(listener)) => Some(listener),
            Ok(Err(error)) => {
                debug!(%address, %error, "the port of a sign-in of before cannot be had");
                None
            }
            Err(_) => None,
        }
    }

    async fn bind_at(address: SocketAddr, redirect: &RedirectUri) -> Result<std::io::Result<Self>> {
        // tokio ties a socket to the runtime it is bound on; that must be the one that never goes away.
        let bound = Executor::shared()?.handle().spawn(bind(address)).await;
        let bound =
            bound.map_err(|e| Error::internal(Stage::UserAgent, format!("binding did not finish: {e}")))?;
        Ok(bound.map(|(socket, address)| Self {
            socket,
            address,
            path: redirect.path(),
            header_timeout: HEADER_TIMEOUT,
        }))
    }

    /// The address that was bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `judge` has decided, or `over` completes. Then the socket is closed at once, and answers under way
    /// are finished. Must run on the core's executor.
    pub(crate) async fn serve<J, V>(self, judge: J, over: impl Future<Output = ()> + Send)
    where
        J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
        let (close, closing) = watch::channel(false);
        let judge = Arc::new(judge);
        let shared = Arc::new(Shared {
            address: self.address,
            path: self.path,
            header_timeout: self.header_timeout,
            close,
        });
        let mut connections = Connections::default();
        let mut over = std::pin::pin!(over);
        let mut decided = closing.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut over => break,
                () = closed(&mut decided) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let answering = Arc::new(AtomicBool::new(false));
                    let (shared, judge) = (Arc::clone(&shared), Arc::clone(&judge));
                    connections.add(
                        Arc::clone(&answering),
                        connection(stream, shared, judge, answering, closing.clone()),
                    );
                }
                // Out of file descriptors, or reset before it was accepted: the next one may do better.
                Err(error) => {
                    debug!(%error, "a connection to the loopback redirect could not be accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(self.socket);
        shared.close.send_replace(true);
        let finish = async { while connections.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSING_TIME, finish).await.is_err() {
            debug!("a connection to the loopback redirect was cut");
        }
    }
}

/// The connections that are open, a bounded number of them.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first, with whether a request has come in whole.
    open: VecDeque<(Arc<AtomicBool>, AbortHandle)>,
}

impl Connections {
    /// Takes a connection in. Where there is no room, the one that has asked nothing for the longest makes room: a
    /// browser sends its request within milliseconds, so whoever holds connections open cannot keep it out.
    fn add(&mut self, answering: Arc<AtomicBool>, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS {
            let idle = self
                .open
                .iter()
                .position(|(answering, _)| !answering.load(Ordering::Relaxed));
            match idle.and_then(|at| self.open.remove(at)) {
                Some((_, task)) => task.abort(),
                // All are being answered, which takes no time to speak of: this one may come again.
                None => return,
            }
        }
        let task = self.tasks.spawn(connection);
        self.open.push_back((answering, task));
    }
}

/// Completes when the listener is to close.
async fn closed(signal: &mut watch::Receiver<bool>) {
    drop(signal.wait_for(|closed| *closed).await);
}

/// No address is reused (RFC 8252 appendices B.3 to B.5): whoever holds the port holds it alone.
async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()
    } else {
        tokio::net::TcpSocket::new_v6()
    }?;
    socket.bind(address)?;
    let listener = socket.listen(128)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

struct Shared {
    address: SocketAddr,
    path: String,
    header_timeout: Duration,
    close: watch::Sender<bool>,
}

async fn connection<J, V>(
    stream: TcpStream,
    shared: Arc<Shared>,
    judge: Arc<J>,
    answering: Arc<AtomicBool>,
    mut closing: watch::Receiver<bool>,
) where
    J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
    V: Future<Output = Verdict> + Send + 'static,
{
    let header_timeout = shared.header_timeout;
    let is_answering = Arc::clone(&answering);
    let service = service_fn(move |request: Request<Incoming>| {
        answering.store(true, Ordering::Relaxed);
        let (shared, judge) = (Arc::clone(&shared), Arc::clone(&judge));
        async move { Ok::<_, Infallible>(answer(&request, &shared, &*judge).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(64)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = closed(&mut closing) => {
            // An answer that is being made or written is finished; a connection that has asked nothing yet is closed.
            if !is_answering.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "a connection to the loopback redirect ended early");
    }
}

async fn answer<J, V>(request: &Request<Incoming>, shared: &Shared, judge: &J) -> Response<Full<Bytes>>
where
    J: Fn(Zeroizing<String>) -> V,
    V: Future<Output = Verdict>,
{
    // Another name in `Host` is a page that had its own name resolve to this device (DNS rebinding).
    let own_host = shared.address.to_string();
    // A second one is another opinion, and refused (RFC 9112 §3.2).
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts
        .next()
        .filter(|_| hosts.next().is_none())
        .and_then(|host| host.to_str().ok());
    if host != Some(own_host.as_str()) {
        return page(StatusCode::BAD_REQUEST, Page::NotHere);
    }
    let uri = request.uri();
    if uri.path() != shared.path || uri.authority().is_some() {
        return page(StatusCode::NOT_FOUND, Page::NotHere);
    }
    if request.method() != Method::GET {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, Page::NotHere);
        response
            .headers_mut()
            .insert(header::ALLOW, header::HeaderValue::from_static("GET"));
        return response;
    }
    let Some(query) = uri.query() else {
        return page(StatusCode::NOT_FOUND, Page::NotHere);
    };
    // With room for all of it: growing would leave a part of the code behind.
    let before = format!("http://{}{}?", shared.address, shared.path);
    let mut url = Zeroizing::new(String::with_capacity(before.len().saturating_add(query.len())));
    url.push_str(&before);
    url.push_str(query);
    match judge(url).await {
        Verdict::TurnedDown => page(StatusCode::BAD_REQUEST, Page::NotOurs),
        Verdict::Accepted => {
            shared.close.send_replace(true);
            page(StatusCode::OK, Page::Done)
        }
        Verdict::Refused => {
            shared.close.send_replace(true);
            page(StatusCode::OK, Page::Failed)
        }
        Verdict::SignedOut => {
            shared.close.send_replace(true);
            page(StatusCode::OK, Page::SignedOut)
        }
    }
}

#[derive(Clone, Copy)]
enum Page {
    Done,
    Failed,
    SignedOut,
    NotOurs,
    NotHere,
}

/// A page without anything from the request in it, nothing from elsewhere, no script, and nothing that could carry
/// the code on: no referrer (RFC 9700 §4.2.4), no store.
fn page(status: StatusCode, page: Page) -> Response<Full<Bytes>> {
    let (mark, title, text) = match page {
        Page::Done => (
            "ok",
            "Back to the app",
            "It is finishing your sign-in. You can close this window.",
        ),
        Page::Failed => (
            "no",
            "You are not signed in",
            "Go back to the app to see why. You can close this window.",
        ),
        Page::SignedOut => ("ok", "You are signed out", "You can close this window."),
        Page::NotOurs => (
            "no",
            "The app is not waiting for this",
            "Go back to the app and begin there.",
        ),
        Page::NotHere => (
            "no",
            "There is nothing here",
            "The app is waiting for another window.",
        ),
    };
    let body = PAGE
        .replace("{mark}", mark)
        .replace("{title}", title)
        .replace("{text}", text);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONNECTION, "close"),
    ] {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    response
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --ground: #f5f5f4; --card: #fff; --ink: #1c1917; --soft: #57534e; --ok: #15803d; --no: #b45309 }
@media (prefers-color-scheme: dark) { :root { --ground: #1c1917; --card: #292524; --ink: #fafaf9; --soft: #d6d3d1; --ok: #4ade80; --no: #fbbf24 } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink); font: 1.05rem/1.5 system-ui, sans-serif }
main { background: var(--card); border-radius: 1rem; padding: 2.5rem 3rem; margin: 1rem; max-width: 24rem; text-align: center; box-shadow: 0 1px 3px #0002, 0 8px 24px #0001 }
.mark { width: 3.5rem; height: 3.5rem; margin: 0 auto 1.25rem; border-radius: 50%; display: grid; place-items: center; font-size: 1.75rem; color: var(--card) }
.ok { background: var(--ok) } .ok::before { content: "\2713" }
.no { background: var(--no) } .no::before { content: "!" }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .5rem }
p { margin: 0; color: var(--soft) }
</style>
</head>
<body><main><div class="mark {mark}" aria-hidden="true"></div><h1>{title}</h1><p>{text}</p></main></body>
</html>
"#;

#[cfg(test)]
mod tests;
