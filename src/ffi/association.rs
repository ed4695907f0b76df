//! The checks of a claimed-https redirect for the debug build of an app: what `gatepass doctor` looks at, with what the
//! app's own HTTP fetched. With the feature `association`, which no release build of a façade has.

use std::collections::HashMap;

use super::error::FfiError;
use super::http::FfiHeader;
use crate::protocol::association::{
    AndroidApp, AppId, Association, FetchFailure, Fetched, Finding, Fingerprint, ServerCheck, check_redirect,
};
use crate::protocol::redirect::RedirectUri;

/// One thing that a check has found.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiFinding {
    /// The stable code, `snake_case`, as docs/doctor.md lists it.
    pub(crate) code: String,
    /// `good`, `note`, `warning` or `error`.
    pub(crate) severity: String,
    /// What was looked at.
    pub(crate) subject: String,
    /// What is there.
    pub(crate) found: String,
    /// Why it matters, in one sentence.
    pub(crate) why: String,
    /// How to mend it; empty where nothing needs to be done.
    pub(crate) remedy: String,
}

impl From<Finding> for FfiFinding {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.code().to_owned(),
            severity: finding.severity().name().to_owned(),
            subject: finding.subject().to_owned(),
            found: finding.found().to_owned(),
            why: finding.why().to_owned(),
            remedy: finding.remedy().to_owned(),
        }
    }
}

/// What to fetch: by GET, without following a redirect.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiWanted {
    /// Where.
    pub(crate) url: String,
    /// How much of the body to read, in bytes. What is longer is no answer, with the reason `too_long`.
    pub(crate) max_bytes: u64,
}

/// What came back.
#[derive(Clone, uniffi::Record)]
pub(crate) struct FfiFetched {
    /// Where it was asked for.
    pub(crate) url: String,
    /// The status; nothing where there was no answer.
    pub(crate) status: Option<u16>,
    /// The headers.
    pub(crate) headers: Vec<FfiHeader>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Why there was no answer: `tls`, `timeout`, `too_long`; anything else counts as not reached.
    pub(crate) failure: Option<String>,
}

impl From<FfiFetched> for Fetched {
    fn from(fetched: FfiFetched) -> Self {
        if let Some(status) = fetched.status {
            let headers = fetched.headers.iter().map(|header| (&header.name, &header.value));
            return Self::answer(status, headers, fetched.body);
        }
        let why = match fetched.failure.as_deref() {
            Some("tls") => FetchFailure::Tls,
            Some("timeout") => FetchFailure::Timeout,
            Some("too_long") => FetchFailure::TooLong,
            _ => FetchFailure::Unreachable,
        };
        Self::failed(why, fetched.failure.unwrap_or_else(|| "no answer".to_owned()))
    }
}

/// The app, its redirect and its server.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub(crate) struct FfiApp {
    /// The redirect URI.
    pub(crate) redirect: String,
    /// The issuer of the server.
    pub(crate) issuer: Option<String>,
    /// The App IDs of the Apple app: prefix, dot, bundle id.
    pub(crate) apple_app_ids: Vec<String>,
    /// The application id of the Android app.
    pub(crate) android_package: Option<String>,
    /// The SHA-256 fingerprints of its signing certificates.
    pub(crate) fingerprints: Vec<String>,
}

/// The checks of one app. They do no I/O and never fail: whatever came back is a finding.
#[derive(uniffi::Object)]
pub(crate) struct FfiDoctor {
    redirect: String,
    issuer: Option<String>,
    association: Option<Association>,
}

impl FfiDoctor {
    fn server(&self) -> Option<Result<ServerCheck, Finding>> {
        let issuer = self.issuer.as_deref()?;
        Some(ServerCheck::new(issuer, None).map_err(|error| ServerCheck::refused(issuer, &error)))
    }
}

#[uniffi::export]
impl FfiDoctor {
    /// For an app. Throws, of the kind configuration, where an App ID, a package or a fingerprint is none.
    #[uniffi::constructor]
    pub(crate) fn new(app: FfiApp) -> Result<Self, FfiError> {
        let fingerprints = app.fingerprints.iter().map(|text| Fingerprint::parse(text));
        let fingerprints: Vec<_> = fingerprints.collect::<Result<_, _>>()?;
        let parsed = RedirectUri::parse(&app.redirect).ok();
        // What is not claimed https has no files; that is a finding of its own.
        let mut association = parsed.and_then(|redirect| Association::new(&redirect).ok());
        for id in &app.apple_app_ids {
            let id = AppId::parse(id)?;
            association = association.map(|known| known.with_app_id(id));
        }
        if let Some(package) = &app.android_package {
            let app = AndroidApp::new(package, fingerprints)?;
            association = association.map(|known| known.with_android(app));
        }
        Ok(Self {
            redirect: app.redirect,
            issuer: app.issuer,
            association,
        })
    }

    /// What to fetch before `check`.
    pub(crate) fn wanted(&self) -> Vec<FfiWanted> {
        let mut wanted = Vec::new();
        if let Some(Ok(server)) = self.server() {
            let urls = server.metadata_urls().into_iter();
            wanted.extend(urls.map(|url| FfiWanted {
                url,
                max_bytes: 1024 * 1024,
            }));
        }
        if let Some(association) = &self.association {
            let apple = !association.app_ids().is_empty() || association.android().is_none();
            let android = association.android().is_some() || association.app_ids().is_empty();
            let urls = [
                (apple, association.apple_url()),
                (apple, association.apple_copy_url()),
                (android, association.assetlinks_url()),
                (android, association.robots_url()),
                (association.android().is_some(), association.google_url()),
            ];
            let urls = urls.into_iter().filter(|(wanted, _)| *wanted);
            wanted.extend(urls.map(|(_, url)| FfiWanted {
                max_bytes: association.max_bytes(&url) as u64,
                url,
            }));
        }
        wanted
    }

    /// Looks at the redirect and at what was fetched. `now` is the time of this device in seconds since 1970.
    pub(crate) fn check(&self, fetched: Vec<FfiFetched>, now: Option<i64>) -> Vec<FfiFinding> {
        let named = fetched
            .into_iter()
            .map(|one| (one.url.clone(), Fetched::from(one)));
        let fetched: HashMap<String, Fetched> = named.collect();
        let mut findings = check_redirect(&self.redirect, self.issuer.as_deref());
        match self.server() {
            None => {}
            Some(Err(refused)) => findings.push(refused),
            Some(Ok(server)) => {
                let urls = server.metadata_urls();
                let answers = || urls.iter().filter_map(|url| Some((url, fetched.get(url)?)));
                let best = answers().find(|(_, answer)| !server.is_elsewhere(answer));
                if let Some((url, answer)) = best.or_else(|| answers().next()) {
                    findings.extend(server.check(url, answer, now));
                }
            }
        }
        if let Some(association) = &self.association {
            let apple = fetched.get(&association.apple_url());
            findings.extend(apple.map(|own| association.check_apple(own)).unwrap_or_default());
            if let Some((own, copy)) = apple.zip(fetched.get(&association.apple_copy_url())) {
                findings.push(association.check_apple_copy(own, copy));
            }
            let links = fetched.get(&association.assetlinks_url());
            findings.extend(
                links
                    .map(|own| association.check_assetlinks(own))
                    .unwrap_or_default(),
            );
            let robots = fetched.get(&association.robots_url());
            findings.extend(robots.and_then(|robots| association.check_robots(robots)));
            let google = fetched.get(&association.google_url());
            findings.extend(google.and_then(|google| association.check_google(google)));
        }
        findings.into_iter().map(FfiFinding::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> FfiApp {
        FfiApp {
            redirect: "https://app.example.com/callback".to_owned(),
            issuer: Some("https://login.example.com".to_owned()),
            apple_app_ids: vec!["ABCDE12345.com.example.app".to_owned()],
            android_package: Some("com.example.app".to_owned()),
            fingerprints: vec!["A1".repeat(32)],
        }
    }

    #[test]
    fn what_is_wanted_is_looked_at() {
        let doctor = FfiDoctor::new(app()).ok().unwrap();
        let wanted = doctor.wanted();
        assert_eq!(
            wanted.len(),
            5 + ServerCheck::new("https://login.example.com", None)
                .unwrap()
                .metadata_urls()
                .len()
        );
        let own = doctor.association.as_ref().unwrap();
        let answer = |url: String, body: String| FfiFetched {
            url,
            status: Some(200),
            headers: vec![FfiHeader {
                name: "content-type".to_owned(),
                value: "application/json".to_owned(),
            }],
            body: body.into_bytes(),
            failure: None,
        };
        let missing = |url: String, why: &str| FfiFetched {
            url,
            status: None,
            headers: Vec::new(),
            body: Vec::new(),
            failure: Some(why.to_owned()),
        };
        let findings = doctor.check(
            vec![
                answer(own.apple_url(), own.apple_file()),
                missing(own.assetlinks_url(), "tls"),
                missing(own.google_url(), "no network"),
                missing(wanted[0].url.clone(), "timeout"),
            ],
            None,
        );
        let codes: Vec<_> = findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "redirect_good",
                "server_unreachable",
                "aasa_good",
                "file_tls",
                "assetlinks_google_unreachable"
            ]
        );
        assert!(findings.iter().all(|finding| !finding.why.is_empty()));
    }

    #[test]
    fn what_is_no_app_is_told_at_once_and_what_is_no_claimed_redirect_later() {
        let wrong = FfiApp {
            apple_app_ids: vec!["x".to_owned()],
            ..app()
        };
        assert!(FfiDoctor::new(wrong).is_err());
        let scheme = FfiApp {
            redirect: "com.example.app:/cb".to_owned(),
            issuer: Some("http://login.example.com".to_owned()),
            ..app()
        };
        let doctor = FfiDoctor::new(scheme).ok().unwrap();
        assert!(doctor.wanted().is_empty());
        let codes: Vec<_> = doctor
            .check(Vec::new(), None)
            .into_iter()
            .map(|finding| finding.code)
            .collect();
        assert_eq!(codes, ["redirect_private_use", "server_issuer_form"]);
    }
}
