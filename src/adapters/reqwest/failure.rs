//! What a failure of reqwest means: whether the request can have reached the server, and why, in words that help.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use crate::error::Delivery;
use crate::ports::{HttpFailure, HttpFailureReason};

/// How far the exchange had certainly come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The request has a body, and nobody asked for it: what it says cannot have left.
    BodyNotAskedFor,
    /// Nothing is certain.
    Unknown,
    /// The head of an answer was there.
    Answered,
}

/// Sorts a failure. Whatever is not certain counts as perhaps sent.
pub(super) fn sorted(error: reqwest::Error, progress: Progress) -> HttpFailure {
    let error = error.without_url();
    let (certainly_not_sent, reason, words) = explain(&error, progress);
    let delivery = if certainly_not_sent || progress == Progress::BodyNotAskedFor {
        Delivery::NotSent
    } else {
        Delivery::UnknownOutcome
    };
    let causes = causes(&error);
    let detail = match words {
        Some(words) => crate::protocol::text::clean(&format!("{words} ({causes})"), 400),
        None => causes,
    };
    HttpFailure::new(delivery, reason, detail)
}

/// The failure of an exchange whose time is over.
pub(super) fn timed_out(progress: Progress) -> HttpFailure {
    let delivery = match progress {
        Progress::BodyNotAskedFor => Delivery::NotSent,
        Progress::Unknown | Progress::Answered => Delivery::UnknownOutcome,
    };
    let words = "timed out: no whole answer came";
    HttpFailure::new(delivery, HttpFailureReason::Timeout, words)
}

type Explained = (bool, HttpFailureReason, Option<String>);

fn explain(error: &reqwest::Error, progress: Progress) -> Explained {
    if error.is_builder() {
        return (true, HttpFailureReason::InvalidRequest, None);
    }
    // Name lookup, TCP, proxy and TLS: no byte of the request has been written.
    if error.is_connect() {
        let (reason, words) = explain_connect(error);
        return (true, reason, words);
    }
    // RFC 9113 §8.7 and §6.8: the server says that it did nothing with the request. Only of use before an answer.
    if progress != Progress::Answered && find(error).is_some_and(was_not_processed) {
        let words = "the server refused the request before it looked at it".to_owned();
        return (true, HttpFailureReason::ConnectionLost, Some(words));
    }
    if error.is_timeout() {
        return (false, HttpFailureReason::Timeout, None);
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        let words = "the answer is not HTTP as it should be".to_owned();
        return (false, HttpFailureReason::InvalidAnswer, Some(words));
    }
    (false, HttpFailureReason::ConnectionLost, None)
}

fn explain_connect(error: &reqwest::Error) -> (HttpFailureReason, Option<String>) {
    if let Some((reason, words)) = find(error).map(explain_tls) {
        return (reason, Some(words));
    }
    let texts: Vec<_> = chain(error).map(ToString::to_string).collect();
    let says = |words: &str| texts.iter().any(|text| text.contains(words));
    // The types of these are private, so their texts have to do. The tests notice when they change.
    if says("proxy authorization required") {
        let words = "the proxy wants a name and a password (407), or refuses the ones it was given";
        return (HttpFailureReason::Proxy, Some(words.to_owned()));
    }
    if says("tunnel error: failed to create") {
        let words = "the proxy cannot be reached";
        return (HttpFailureReason::Proxy, Some(words.to_owned()));
    }
    if says("tunnel error") || says("SOCKS error") || says("socks proxy") {
        let words = "the proxy did not open a connection to the server";
        return (HttpFailureReason::Proxy, Some(words.to_owned()));
    }
    if error.is_timeout() {
        let words = "no connection was made in time";
        return (HttpFailureReason::Timeout, Some(words.to_owned()));
    }
    if error.is_dns() {
        let words = "the name of the server was not found: it is misspelt, or there is no network";
        return (HttpFailureReason::NameNotResolved, Some(words.to_owned()));
    }
    // A handshake that broke off, or an error of a TLS library other than the one known here.
    let is_data = |cause: &io::Error| cause.kind() == io::ErrorKind::InvalidData;
    if says("tls handshake") || find::<io::Error>(error).is_some_and(is_data) {
        let words = "the TLS handshake was not finished";
        return (HttpFailureReason::Tls, Some(words.to_owned()));
    }
    (HttpFailureReason::Connect, None)
}

fn was_not_processed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    // h2 gives this one, with this reason, only to streams above the last one that the server names. (With
    // any other reason it gives it to all.)
    let left_out = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || left_out)
}

fn explain_tls(error: &rustls::Error) -> (HttpFailureReason, String) {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let words = match error {
        InvalidCertificate(why) => return (HttpFailureReason::TlsCertificate, explain_certificate(why)),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server offers no TLS version that is safe; 1.2 is the oldest"
        }
        AlertReceived(_) => "the server ended the TLS handshake",
        InvalidMessage(_) => "what answers at this port does not speak TLS",
        _ => "the TLS handshake failed",
    };
    (HttpFailureReason::Tls, words.to_owned())
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired, or the clock of this device is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet, or the clock of this device is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host"
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate comes from an authority that this device does not trust: it is self-signed, \
             the server does not send the certificates in between, or the root is not installed here"
        }
        CertificateError::Revoked => "the server's certificate was revoked",
        _ => "the server's certificate is not valid",
    }
    .to_owned()
}

/// The first cause of this type.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The error and its causes. An I/O error that wraps another passes it over in `source`, so it is asked for it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The whole chain of causes in one line: the outermost alone says little ("error sending request").
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = cause.to_string();
        // A wrapper often has nothing to say but what it wraps.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    crate::protocol::text::clean(&texts.join(": "), 300)
}
