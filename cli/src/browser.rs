//! The four ways the authorization URL gets to a browser: the system's, a person with the URL, this program playing
//! both, and that as a fallback where there is no browser.

use gatepass::test_server::{TestBrowserError, TestServer};
use gatepass::{PendingSignIn, SystemBrowser, UserAgent, UserAgentFailure, UserAgentRequest};

use crate::report::Report;

/// Who visits the authorization URL.
#[derive(Clone, Debug)]
pub(crate) enum Visitor {
    /// The system browser; with the test server, this program where there is none.
    System { fallback: Option<TestServer> },
    /// This program, at its own test server.
    Program(TestServer),
    /// A person, or another program, who is given the URL.
    Person,
}

impl Visitor {
    pub(crate) fn announce(&self, report: &Report, pending: &PendingSignIn) {
        let lead = match self {
            Self::System { .. } => "Opening your browser to sign in. If nothing opens, visit:",
            Self::Program(_) => "Playing the browser at:",
            Self::Person => "Visit this URL to sign in:",
        };
        report.authorization_url(pending.authorization_url(), lead);
    }

    /// Sees to it that the URL is visited. Completes when nothing is left to do here; a failure ends the sign-in.
    pub(crate) async fn visit(
        &self,
        report: &Report,
        pending: &PendingSignIn,
    ) -> Result<(), UserAgentFailure> {
        match self {
            Self::Person => Ok(()),
            Self::Program(server) => play(server, pending).await,
            Self::System { fallback } => {
                let request = UserAgentRequest::new(pending.authorization_url(), pending.redirect_uri());
                match (SystemBrowser.open(request).await, fallback) {
                    (Ok(_), _) => Ok(()),
                    (Err(UserAgentFailure::NoBrowser(why)), Some(server)) => {
                        report.warn(&format!(
                            "No browser could be opened: {why}. Playing the browser instead."
                        ));
                        play(server, pending).await
                    }
                    (Err(failure), _) => Err(failure),
                }
            }
        }
    }
}

/// Signs the first test user in and follows the redirect, as a browser would.
async fn play(server: &TestServer, pending: &PendingSignIn) -> Result<(), UserAgentFailure> {
    let failed = |what: &str| UserAgentFailure::Failed(format!("playing the browser: {what}"));
    let user = server
        .users()
        .first()
        .ok_or_else(|| failed("the test server has no users"))?;
    let browser = server.browser();
    let redirect = browser
        .sign_in(pending.authorization_url(), user)
        .await
        .map_err(|error| match error {
            TestBrowserError::ErrorPage { reason, .. } => UserAgentFailure::Refused(reason),
            other => failed(&other.to_string()),
        })?;
    let status = browser
        .deliver(&redirect)
        .await
        .map_err(|error| failed(&error.to_string()))?;
    if status == 200 {
        Ok(())
    } else {
        Err(failed(&format!("the redirect was answered with {status}")))
    }
}
