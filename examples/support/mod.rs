//! Where the examples sign in: without arguments at a test server in this process, whose users are played; with
//! arguments at the issuer that is named there, with the system's browser.

// Not every example needs all of it.
#![allow(dead_code, unreachable_pub)]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gatepass::test_server::{TestApi, TestServer};
use gatepass::{
    AllowHttpOnLoopback, ClientBuilder, SessionEvent, UserAgent, UserAgentFailure, UserAgentRequest,
    UserAgentReturn,
};

/// What a failing example ends with.
pub type Failure = Box<dyn Error>;

/// An authorization server, a client there, and an API.
pub struct Place {
    server: Option<TestServer>,
    arguments: Vec<String>,
}

impl Place {
    /// `ISSUER CLIENT_ID API_URL …` from the command line, or the test server.
    pub fn from_arguments(least: usize) -> Result<Self, Failure> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.is_empty() {
            let calendar = TestApi::new("calendar").audience("https://calendar.example.com/");
            let orders = TestApi::new("orders").audience("https://orders.example.com/");
            let server = TestServer::builder().api(calendar).api(orders).start()?;
            println!("No arguments: signing in at a test server in this process.");
            return Ok(Self {
                server: Some(server),
                arguments,
            });
        }
        if arguments.len() < least {
            return Err(
                format!("this example takes no arguments, or at least {least}: see its first lines").into(),
            );
        }
        Ok(Self {
            server: None,
            arguments,
        })
    }

    /// The test server, if that is where we are.
    pub fn test_server(&self) -> Option<&TestServer> {
        self.server.as_ref()
    }

    /// An argument by its place, or what stands for it at the test server.
    pub fn argument(&self, place: usize, at_test_server: impl FnOnce(&TestServer) -> String) -> String {
        match &self.server {
            Some(server) => at_test_server(server),
            None => self.arguments.get(place).cloned().unwrap_or_default(),
        }
    }

    /// The issuer URL.
    pub fn issuer(&self) -> String {
        self.argument(0, |server| server.issuer().to_owned())
    }

    /// The client id.
    pub fn client_id(&self) -> String {
        self.argument(1, |server| server.client_id().to_owned())
    }

    /// The URL of an API to call.
    pub fn api_url(&self) -> String {
        self.argument(2, TestServer::api_url)
    }

    /// For a server on this machine: http. At the test server: its users, played. An app does not need this.
    pub fn prepare(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = match self.issuer().starts_with("http://127.0.0.1") {
            true => builder.allow_http_on_loopback(AllowHttpOnLoopback),
            false => builder,
        };
        match &self.server {
            Some(server) => builder.user_agent(Arc::new(PlayedUsers {
                server: server.clone(),
                visits: AtomicUsize::new(0),
            })),
            None => builder,
        }
    }
}

/// The origin of a URL: scheme, host and port.
pub fn origin(url: &str) -> Result<String, Failure> {
    Ok(url::Url::parse(url)?.origin().ascii_serialization())
}

/// A browser and the people before it: at each visit the next user of the test server signs in.
#[derive(Debug)]
struct PlayedUsers {
    server: TestServer,
    visits: AtomicUsize,
}

#[async_trait]
impl UserAgent for PlayedUsers {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        let failed = |why: String| UserAgentFailure::Failed(why);
        let visit = self.visits.fetch_add(1, Ordering::Relaxed);
        let mut users = self.server.users().iter().cycle();
        let user = users
            .nth(visit)
            .ok_or_else(|| failed("nobody is there".to_owned()))?;
        println!("  ({} signs in, in the browser)", user.name());
        let browser = self.server.browser();
        let redirect = browser
            .sign_in(&request.authorization_url, user)
            .await
            .map_err(|error| failed(error.to_string()))?;
        browser
            .deliver(&redirect)
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(UserAgentReturn::Opened)
    }
}

/// Keeps what happened to the sessions, to be printed.
#[derive(Debug, Default)]
pub struct Diary(Mutex<Vec<String>>);

impl Diary {
    /// What happened so far.
    pub fn read(&self) -> Vec<String> {
        self.0.lock().map(|entries| entries.clone()).unwrap_or_default()
    }
}

impl gatepass::EventSink for Diary {
    fn event(&self, session: Option<&gatepass::SessionId>, event: SessionEvent) {
        let whose = session.map(ToString::to_string).unwrap_or_default();
        if let Ok(mut entries) = self.0.lock() {
            entries.push(format!("{whose} {event:?}"));
        }
    }
}
