//! What came when a file was asked for, and whether it can be one of ours at all.

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, LOCATION};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::document::Document;
use super::finding::{Check, Finding};
use crate::protocol::{answer, text};

/// What came back when a URL was asked for.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Association, FetchFailure, Fetched};
///
/// let association = Association::new(&RedirectUri::parse("https://app.example.com/callback")?)?;
/// let failed = Fetched::failed(FetchFailure::Timeout, "no answer within 10 s");
/// assert_eq!(association.check_assetlinks(&failed)[0].code(), "file_timeout");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fetched(pub(super) Outcome);

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Answer {
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
    },
    Failed {
        why: FetchFailure,
        detail: String,
    },
}

/// Why there is no answer.
///
/// ```
/// use gatepass::HttpFailureReason;
/// use gatepass::association::FetchFailure;
///
/// fn of(reason: HttpFailureReason) -> FetchFailure {
///     match reason {
///         HttpFailureReason::TlsCertificate | HttpFailureReason::Tls => FetchFailure::Tls,
///         HttpFailureReason::Timeout => FetchFailure::Timeout,
///         HttpFailureReason::BodyTooLarge => FetchFailure::TooLong,
///         _ => FetchFailure::Unreachable,
///     }
/// }
/// assert_eq!(of(HttpFailureReason::Connect), FetchFailure::Unreachable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchFailure {
    /// The name does not resolve, nobody listens, the connection broke, or what came is not HTTP.
    Unreachable,
    /// The certificate is not trusted, or there was no handshake.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The body was longer than was asked for.
    TooLong,
}

impl Fetched {
    /// An answer, of any status. Headers that cannot be are left out.
    pub fn answer<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let mut known = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_ref()),
                HeaderValue::from_bytes(value.as_ref()),
            ) && known.len() < 100
            {
                known.append(name, value);
            }
        }
        Self(Outcome::Answer {
            status,
            headers: known,
            body: body.into(),
        })
    }

    /// No answer. The detail is for people.
    pub fn failed(why: FetchFailure, detail: impl Into<String>) -> Self {
        Self(Outcome::Failed {
            why,
            detail: detail.into(),
        })
    }

    /// The status, of an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.0 {
            Outcome::Answer { status, .. } => Some(*status),
            Outcome::Failed { .. } => None,
        }
    }

    /// Status, headers and body, of an answer.
    pub(super) fn parts(&self) -> Option<(StatusCode, &HeaderMap, &[u8])> {
        match &self.0 {
            Outcome::Answer {
                status,
                headers,
                body,
            } => Some((StatusCode::from_u16(*status).ok()?, headers, body)),
            Outcome::Failed { .. } => None,
        }
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        match &self.0 {
            Outcome::Answer { headers, .. } => headers.get(name).and_then(|value| value.to_str().ok()),
            Outcome::Failed { .. } => None,
        }
    }

    fn has(&self, name: &HeaderName) -> bool {
        matches!(&self.0, Outcome::Answer { headers, .. } if headers.contains_key(name))
    }

    pub(super) fn location(&self) -> Option<&str> {
        self.header(&LOCATION)
    }

    /// The time of the server, by the rules that the core has for it.
    pub(super) fn date(&self) -> Option<i64> {
        match &self.0 {
            Outcome::Answer { headers, .. } if headers.contains_key(DATE) => answer::server_date(headers),
            _ => None,
        }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(&self.0, Outcome::Answer { headers, .. } if answer::is_json_content(headers))
    }

    /// The type as the server names it, for people.
    pub(super) fn content_type(&self) -> String {
        match self.header(&CONTENT_TYPE) {
            Some(value) => format!("Content-Type: {}", text::clean(value, 100)),
            None if self.has(&CONTENT_TYPE) => "a Content-Type with strange letters".to_owned(),
            None => "no Content-Type".to_owned(),
        }
    }

    /// Why there is nothing to read, in the words of whoever asks.
    pub(super) fn failure(&self) -> Option<(FetchFailure, &str)> {
        match &self.0 {
            Outcome::Failed { why, detail } => Some((*why, detail)),
            Outcome::Answer { .. } => None,
        }
    }

    /// The text of a web page, of an answer that is one.
    pub(super) fn page(&self) -> Option<String> {
        match &self.0 {
            Outcome::Answer {
                status: 200,
                headers,
                body,
            } if answer::is_content(headers, "text/html") => Some(String::from_utf8_lossy(body).into_owned()),
            _ => None,
        }
    }

    /// The body of a file that can be one: status 200, not empty, not too long, not a web page.
    pub(super) fn file(&self, subject: &str, max_bytes: usize) -> Result<&[u8], Finding> {
        let refuse = |check, found: &str| Err(Finding::new(check, subject, found));
        let (status, headers, body) = match &self.0 {
            Outcome::Failed { why, detail } => {
                let check = match why {
                    FetchFailure::Unreachable => Check::FileUnreachable,
                    FetchFailure::Tls => Check::FileTls,
                    FetchFailure::Timeout => Check::FileTimeout,
                    FetchFailure::TooLong => Check::FileTooLong,
                };
                return refuse(check, detail);
            }
            Outcome::Answer {
                status,
                headers,
                body,
            } => (*status, headers, body),
        };
        if (300..400).contains(&status) {
            let target = self.location().and_then(answer::host_of);
            let target = target.map(|host| format!(" to {host}")).unwrap_or_default();
            return refuse(
                Check::FileRedirect,
                &format!("a redirect{target}, status {status}"),
            );
        }
        if status != 200 {
            return refuse(Check::FileStatus, &format!("status {status}"));
        }
        if let Some(coding) = headers
            .get(CONTENT_ENCODING)
            .and_then(|value| value.to_str().ok())
            && !coding.trim().eq_ignore_ascii_case("identity")
        {
            return refuse(Check::FileEncoded, &format!("Content-Encoding: {coding}"));
        }
        if body.len() > max_bytes {
            return refuse(
                Check::FileTooLong,
                &format!("{} bytes; {max_bytes} are read", body.len()),
            );
        }
        let visible = body
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(body)
            .trim_ascii_start();
        match visible {
            [] => refuse(Check::FileEmpty, "no content"),
            [b'<', ..] => refuse(
                Check::FileHtml,
                &format!("a web page or XML ({})", self.content_type()),
            ),
            _ => Ok(body),
        }
    }
}

/// The JSON of a file, with what is wrong with it as JSON.
pub(super) fn document(body: &[u8], subject: &str, findings: &mut Vec<Finding>) -> Option<Document> {
    let (text, has_mark) = match body.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, true),
        None => (body, false),
    };
    if has_mark {
        findings.push(Finding::new(
            Check::FileByteOrderMark,
            subject,
            "the bytes EF BB BF first",
        ));
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) if !text.contains('\0') => text,
        Ok(_) => {
            findings.push(Finding::new(
                Check::FileEncoding,
                subject,
                "zero bytes, as in UTF-16",
            ));
            return None;
        }
        Err(error) => {
            let at = error.valid_up_to();
            let found = match body {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16".to_owned(),
                _ => format!("byte {at} is no UTF-8"),
            };
            findings.push(Finding::new(Check::FileEncoding, subject, found));
            return None;
        }
    };
    match Document::read(text) {
        Ok(document) => {
            for name in &document.repeated {
                let found = format!("{name} stands there more than once");
                findings.push(Finding::new(Check::FileDuplicate, subject, found));
            }
            Some(document)
        }
        Err(why) => {
            findings.push(Finding::new(Check::FileNotJson, subject, why));
            None
        }
    }
}
