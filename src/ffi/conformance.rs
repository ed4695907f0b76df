//! The contract of HTTP as a suite, for transports in Kotlin and Swift.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::FfiError;
use super::http::{FfiHttpTransport, ForeignHttp};
use crate::error::{Error, Stage};
use crate::ports::http::conformance::{HttpSuite, Verdict};

/// Servers that behave and misbehave, and what a transport must tell of them. For tests.
#[derive(uniffi::Object)]
pub(crate) struct FfiHttpSuite(Arc<HttpSuite>);

/// What came of the suite.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiHttpReport {
    /// The promises that are kept.
    pub(crate) kept: Vec<String>,
    /// Those that are broken, and how.
    pub(crate) broken: Vec<String>,
    /// Those that were not looked at, and why.
    pub(crate) skipped: Vec<String>,
}

#[uniffi::export]
impl FfiHttpSuite {
    /// A suite with a root certificate made for it.
    #[uniffi::constructor]
    pub(crate) fn new() -> Self {
        Self(Arc::new(HttpSuite::new()))
    }

    /// A suite that leaves these promises out: they are skipped, with this reason.
    #[uniffi::constructor]
    pub(crate) fn leaving_out(promises: Vec<String>, why: String) -> Self {
        let suite = promises.into_iter().fold(HttpSuite::new(), |suite, promise| {
            suite.leave_out(promise, why.as_str())
        });
        Self(Arc::new(suite))
    }

    /// The root certificate that the transport must trust.
    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.0.root_der().to_vec()
    }

    /// Runs every check, one after the other. Takes seconds.
    pub(crate) async fn run(&self, transport: Arc<dyn FfiHttpTransport>) -> Result<FfiHttpReport, FfiError> {
        let suite = Arc::clone(&self.0);
        let lost = |_| Error::internal(Stage::Configuration, "the suite did not end");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime
            .map_err(|e| Error::internal(Stage::Configuration, format!("no runtime for the suite: {e}")))?;
        let (done, report) = oneshot::channel();
        // The suite blocks now and then, which nobody else is to feel.
        std::thread::spawn(move || {
            drop(done.send(runtime.block_on(suite.run(Arc::new(ForeignHttp(transport))))));
        });
        let report = report.await.map_err(lost)?;
        let mut told = FfiHttpReport {
            kept: Vec::new(),
            broken: Vec::new(),
            skipped: Vec::new(),
        };
        for finding in report.findings() {
            let promise = finding.promise;
            match &finding.verdict {
                Verdict::Kept => told.kept.push(promise.to_owned()),
                Verdict::Broken(how) => told.broken.push(format!("{promise}: {how}")),
                Verdict::Skipped(why) => told.skipped.push(format!("{promise}: {why}")),
            }
        }
        Ok(told)
    }
}
