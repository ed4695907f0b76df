//! The browser that tests drive.

use super::App;
use crate::test_server::{TestBrowserError, TestServer};
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

#[tokio::test]
async fn it_delivers_a_redirect_to_a_loopback_listener_and_tells_the_status() {
    let app = App::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let listening = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = vec![0; 1024];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(head[..read].to_vec()).unwrap()
    });
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let url = app.url(&[("redirect_uri", Some(&redirect_uri))]);
    let redirect = app.browser.sign_in(&url, &app.server.users()[0]).await.unwrap();
    assert_eq!(app.browser.deliver(&redirect).await.unwrap(), 204);
    let seen = listening.join().unwrap();
    assert!(seen.starts_with("GET /callback?code=gpt_co_"), "{seen}");
    assert!(
        !seen.to_lowercase().contains("cookie"),
        "the server's cookies stay with the server"
    );
}

#[tokio::test]
async fn it_stays_on_this_machine() {
    let app = App::start();
    for url in [
        "https://app.example.com/callback?code=a",
        "com.example.app:/callback?code=a",
        "http://192.0.2.1/",
        "http://localhost/",
        "https://127.0.0.1/",
    ] {
        let refused = app.browser.deliver(url).await;
        assert!(
            matches!(refused, Err(TestBrowserError::NotLoopback(_))),
            "{url} {refused:?}"
        );
        // What is printed has no code in it.
        assert!(!refused.unwrap_err().to_string().contains("code"));
    }
    let refused = app.browser.deliver("no url?code=a").await;
    assert_eq!(refused, Err(TestBrowserError::NotAUrl("no url".to_owned())));
}

#[tokio::test]
async fn it_reports_an_error_page_with_its_reason() {
    let app = App::start();
    let url = app.url(&[("redirect_uri", Some("https://evil.example/"))]);
    match app.browser.sign_in(&url, &app.server.users()[0]).await {
        Err(TestBrowserError::ErrorPage { status: 400, reason }) => assert!(reason.contains("redirect_uri")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_outlives_its_server_without_hanging() {
    let server = TestServer::start().unwrap();
    let (browser, url) = (server.browser(), format!("{}/authorize", server.issuer()));
    drop(server);
    let outcome = browser.deliver(&url).await;
    assert!(
        matches!(outcome, Err(TestBrowserError::ServerStopped)),
        "{outcome:?}"
    );
}

#[test]
fn it_can_be_awaited_without_tokio() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let app = App::start();
    let url = app.url(&[]);
    let mut sign_in = pin!(app.browser.sign_in(&url, &app.server.users()[0]));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let redirect = loop {
        match sign_in.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(redirect) => break redirect.unwrap(),
            Poll::Pending => std::thread::park(),
        }
    };
    assert!(redirect.contains("code=gpt_co_"));
}
