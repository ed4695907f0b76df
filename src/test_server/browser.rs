//! A browser and the person in front of it, played for tests.

use super::login_page::unescape;
use super::registration::TestUser;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use url::{Host, Url, form_urlencoded};

/// Real time for one call, all redirects included: a test must end even if an app never answers.
const DEADLINE: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 10;
const MAX_PAGE: usize = 1024 * 1024;

/// Plays the browser and the user: opens an authorization URL, signs in or cancels, and delivers redirects.
///
/// Its I/O runs on the server's own thread, so it can be awaited from any async runtime. Clones are the same
/// browser and share its cookies; [`TestServer::browser`](super::TestServer::browser) gives a fresh one, in
/// which nobody is signed in. It speaks to loopback addresses only, and it does not keep the server alive.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::TestServer;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::start()?;
///     let client = client(&server)?; // with the redirect http://127.0.0.1/callback
///     let pending = client.begin_sign_in(SignInOptions::default()).await?;
///     // The user thinks better of it, and the browser tells the app.
///     let browser = server.browser();
///     let redirect = browser.deny(pending.authorization_url()).await?;
///     browser.deliver(&redirect).await?;
///     assert_eq!(pending.wait().await.unwrap_err().kind(), gatepass::ErrorKind::Cancelled);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct TestBrowser {
    runtime: Handle,
    tab: Tab,
}

impl fmt::Debug for TestBrowser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBrowser")
            .field("server", &self.tab.server)
            .finish_non_exhaustive()
    }
}

/// Why the browser did not get to where it was sent.
///
/// ```
/// use gatepass::test_server::{TestBrowserError, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = TestServer::start()?;
/// // No request of ours: the server shows its error page, and redirects nowhere.
/// let outcome = server.browser().deny(&format!("{}/authorize", server.issuer())).await;
/// assert!(matches!(outcome, Err(TestBrowserError::ErrorPage { status: 400, .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TestBrowserError {
    /// The text is not a URL.
    #[error("not a URL: {0}")]
    NotAUrl(String),
    /// The URL leads away from this machine; only `http` to a loopback address is visited.
    #[error("only http to 127.0.0.1 or [::1] is visited, not {0}")]
    NotLoopback(String),
    /// The user name or the password was wrong.
    #[error("the server did not let the user in: {0}")]
    SignInRefused(String),
    /// The server showed an error page and did not redirect.
    #[error("the server answered {status}: {reason}")]
    ErrorPage {
        /// The HTTP status.
        status: u16,
        /// What the page says.
        reason: String,
    },
    /// The server answered with something a browser could not go on with.
    #[error("unexpected answer: {0}")]
    UnexpectedAnswer(String),
    /// Connecting, sending or reading failed.
    #[error("connection failed: {0}")]
    Connection(String),
    /// Nothing came of it within ten seconds.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The test server this browser belongs to has stopped.
    #[error("the test server has stopped")]
    ServerStopped,
}

use TestBrowserError as Error;

impl TestBrowser {
    pub(super) fn new(runtime: Handle, issuer: &str) -> TestBrowser {
        TestBrowser {
            runtime,
            tab: Tab {
                server: issuer.to_owned(),
                cookies: Arc::default(),
            },
        }
    }

    /// Opens an authorization URL, signs in, and returns the redirect to the app without visiting it.
    ///
    /// Where someone is signed in with this browser already and the request needs no page, the redirect
    /// comes at once and speaks of that person.
    ///
    /// # Errors
    /// [`TestBrowserError::ErrorPage`] when the server refuses the request without a redirect,
    /// [`TestBrowserError::SignInRefused`] when it does not let the user in.
    pub async fn sign_in(&self, authorization_url: &str, user: &TestUser) -> Result<String, Error> {
        let (tab, url, user) = (self.tab.clone(), authorization_url.to_owned(), user.clone());
        self.run(async move {
            let page = match tab.open(&url).await? {
                End::Redirect(redirect) => return Ok(redirect),
                End::Page(page) => page,
            };
            let typed = [
                ("username", user.username()),
                ("password", user.password()),
                ("action", "sign-in"),
            ];
            match tab.submit(&page, &typed).await? {
                End::Redirect(redirect) => Ok(redirect),
                End::Page(page) => Err(Error::SignInRefused(page.reason())),
            }
        })
        .await
    }

    /// Opens an authorization URL and presses Cancel; returns the redirect with its `error`.
    ///
    /// # Errors
    /// [`TestBrowserError::ErrorPage`] when the server refuses the request without a redirect.
    pub async fn deny(&self, authorization_url: &str) -> Result<String, Error> {
        let (tab, url) = (self.tab.clone(), authorization_url.to_owned());
        self.run(async move {
            let page = match tab.open(&url).await? {
                End::Redirect(redirect) => return Ok(redirect),
                End::Page(page) => page,
            };
            match tab.submit(&page, &[("action", "cancel")]).await? {
                End::Redirect(redirect) => Ok(redirect),
                End::Page(page) => Err(Error::UnexpectedAnswer(page.reason())),
            }
        })
        .await
    }

    /// Delivers a redirect to the loopback listener of an app, as the browser would; returns its status.
    ///
    /// # Errors
    /// [`TestBrowserError::NotLoopback`] for a redirect that no loopback listener can receive.
    pub async fn deliver(&self, redirect_url: &str) -> Result<u16, Error> {
        let (tab, url) = (self.tab.clone(), redirect_url.to_owned());
        self.run(async move { Ok(tab.get(&parse(&url)?).await?.status.as_u16()) })
            .await
    }

    /// Opens an end session URL and confirms; returns the redirect to the app, if the request named one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
    /// use gatepass::test_server::TestServer;
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), Box<dyn Error>> {
    ///     let server = TestServer::start()?;
    ///     // What an app opens at SignOut::EndSession, with `id_token_hint` and `state` besides.
    ///     let url = format!(
    ///         "{}/end_session?client_id={}&post_logout_redirect_uri=com.example.app:/signed-out",
    ///         server.issuer(),
    ///         server.client_id(),
    ///     );
    ///     let redirect = server.browser().sign_out(&url).await?;
    ///     assert_eq!(redirect.as_deref(), Some("com.example.app:/signed-out"));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TestBrowserError::ErrorPage`] when the server refuses the request.
    pub async fn sign_out(&self, end_session_url: &str) -> Result<Option<String>, Error> {
        let (tab, url) = (self.tab.clone(), end_session_url.to_owned());
        self.run(async move {
            match tab.open(&url).await? {
                End::Redirect(redirect) => Ok(Some(redirect)),
                End::Page(page) if page.form().is_none() => Ok(None),
                End::Page(page) => match tab.submit(&page, &[("action", "sign-out")]).await? {
                    End::Redirect(redirect) => Ok(Some(redirect)),
                    End::Page(_) => Ok(None),
                },
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        visit: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        self.runtime.spawn(async move {
            let outcome = tokio::time::timeout(DEADLINE, visit)
                .await
                .unwrap_or(Err(Error::TimedOut));
            // Nobody waits any more: the outcome concerns nobody.
            let _ = done.send(outcome);
        });
        result.await.unwrap_or(Err(Error::ServerStopped))
    }
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|_| not_a_url(url))
}

/// Names a text without its query and fragment, where codes and tokens are.
fn not_a_url(text: &str) -> Error {
    Error::NotAUrl(text.split(['?', '#']).next().unwrap_or_default().to_owned())
}

/// Where opening a page ended.
enum End {
    /// A redirect away from the server, not followed.
    Redirect(String),
    Page(Page),
}

/// An answer that was shown rather than followed.
struct Page {
    url: Url,
    status: StatusCode,
    location: Option<String>,
    html: String,
}

impl Page {
    /// The text of the page's alert.
    fn reason(&self) -> String {
        let alert = self
            .html
            .split_once("role=\"alert\">")
            .and_then(|(_, rest)| rest.split_once('<'));
        alert.map_or_else(
            || format!("a page with status {}", self.status),
            |(text, _)| unescape(text),
        )
    }

    /// The first form: where it goes, and its hidden fields.
    fn form(&self) -> Option<(String, Vec<(String, String)>)> {
        let (_, rest) = self.html.split_once("<form ")?;
        let (form, _) = rest.split_once("</form>")?;
        let hidden = form
            .split("<input ")
            .skip(1)
            .filter(|input| attribute(input, "type").as_deref() == Some("hidden"))
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .collect();
        Some((attribute(form, "action")?, hidden))
    }
}

/// The value of an attribute in the tag that `html` starts in.
fn attribute(html: &str, name: &str) -> Option<String> {
    let (tag, _) = html.split_once('>')?;
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(unescape(rest.split_once('"')?.0))
}

/// One browser's memory and its way to fetch things.
#[derive(Clone)]
struct Tab {
    server: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Tab {
    /// Opens a URL of the server and follows redirects until they leave it.
    async fn open(&self, url: &str) -> Result<End, Error> {
        let page = self.get(&parse(url)?).await?;
        self.follow(page).await
    }

    async fn submit(&self, page: &Page, typed: &[(&str, &str)]) -> Result<End, Error> {
        let (action, hidden) = page
            .form()
            .ok_or_else(|| Error::UnexpectedAnswer("a page without a form".to_owned()))?;
        let target = page.url.join(&action).map_err(|_| not_a_url(&action))?;
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(hidden)
            .extend_pairs(typed)
            .finish();
        let page = self.fetch(&target, Some(form)).await?;
        self.follow(page).await
    }

    async fn follow(&self, mut page: Page) -> Result<End, Error> {
        for _ in 0..MAX_REDIRECTS {
            let Some(location) = page.location.take() else {
                // A refused password is a page with a form; an error page leads nowhere.
                let is_error = !page.status.is_success() && page.form().is_none();
                if is_error {
                    return Err(Error::ErrorPage {
                        status: page.status.as_u16(),
                        reason: page.reason(),
                    });
                }
                return Ok(End::Page(page));
            };
            let target = page.url.join(&location).map_err(|_| not_a_url(&location))?;
            if target.origin() != page.url.origin() {
                return Ok(End::Redirect(location));
            }
            page = self.get(&target).await?;
        }
        Err(Error::UnexpectedAnswer("too many redirects".to_owned()))
    }

    async fn get(&self, url: &Url) -> Result<Page, Error> {
        self.fetch(url, None).await
    }

    async fn fetch(&self, url: &Url, form: Option<String>) -> Result<Page, Error> {
        let refused = || match url.host_str() {
            Some(host) => Error::NotLoopback(format!("{}://{host}", url.scheme())),
            None => Error::NotLoopback(format!("{}:", url.scheme())),
        };
        let address = match url.host() {
            Some(Host::Ipv4(ip)) if ip.is_loopback() => std::net::IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) if ip.is_loopback() => std::net::IpAddr::V6(ip),
            _ => return Err(refused()),
        };
        if url.scheme() != "http" {
            return Err(refused());
        }
        let port = url.port_or_known_default().unwrap_or(80);
        let broken = |error: &dyn fmt::Display| Error::Connection(error.to_string());
        let stream = TcpStream::connect((address, port))
            .await
            .map_err(|e| broken(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(&e))?;
        let connection = tokio::spawn(connection);

        let path = url.query().map_or_else(
            || url.path().to_owned(),
            |query| format!("{}?{query}", url.path()),
        );
        let mut request = hyper::Request::builder()
            .uri(path)
            .method(if form.is_some() { "POST" } else { "GET" })
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, "gatepass-test-browser")
            .header(header::ACCEPT, "text/html");
        let is_server = url.origin().ascii_serialization() == self.server;
        if let Some(cookies) = self.cookie_header().filter(|_| is_server) {
            request = request.header(header::COOKIE, cookies);
        }
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = Full::new(Bytes::from(form.unwrap_or_default()));
        let request = request.body(body).map_err(|e| broken(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| broken(&e));
        let read = match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                Limited::new(body, MAX_PAGE)
                    .collect()
                    .await
                    .map(|body| (head, body))
                    .map_err(|e| broken(&e))
            }
            Err(error) => Err(error),
        };
        connection.abort();
        let (head, body) = read?;
        if is_server {
            self.keep_cookies(&head.headers);
        }
        let location = head
            .headers
            .get(header::LOCATION)
            .filter(|_| head.status.is_redirection());
        Ok(Page {
            url: url.clone(),
            status: head.status,
            location: location
                .and_then(|location| location.to_str().ok())
                .map(str::to_owned),
            html: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }

    fn cookie_header(&self) -> Option<String> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            None
        } else {
            Some(pairs.join("; "))
        }
    }

    fn keep_cookies(&self, headers: &hyper::HeaderMap) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for (name, value) in texts.filter_map(|text| text.split(';').next()?.split_once('=')) {
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
