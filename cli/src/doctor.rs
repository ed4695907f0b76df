//! `doctor`: whether the server, the redirect, the files of its host and the app fit together.

mod fetch;
mod files;
mod print;

use gatepass::association::{
    Association, Fetched, Finding, RegistrationProbe, ServerCheck, check_interstitial, check_redirect,
};
use gatepass::{AllowHttpOnLoopback, AuthorizationServer, RedirectKind, RedirectUri};

use crate::app;
use crate::args::{ClientFlags, Doctor};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::settings::{Settings, Source};

use fetch::Fetcher;
use print::Printer;

pub(crate) async fn run(program: &Program, options: &Doctor) -> Result<Exit, Failure> {
    let flags = ClientFlags {
        server: options.server.clone(),
        redirect: options.redirect.clone(),
        allow_http_on_loopback: options.allow_http_on_loopback,
        app: options.app.clone(),
        ..ClientFlags::default()
    };
    let settings = program.settings(&flags).await?;
    let redirect = (settings.redirect.source != Source::Default).then_some(settings.redirect.value.as_str());
    if settings.issuer.is_none() && redirect.is_none() && options.files.is_empty() {
        return Err(Failure::configuration(
            "nothing_to_check",
            "name what to look at: a server (--issuer), a redirect (--redirect) or files of the app",
        ));
    }
    let parsed = redirect.and_then(|text| RedirectUri::parse(text).ok());
    let association = match &parsed {
        Some(redirect) if redirect.kind() == RedirectKind::ClaimedHttps => {
            Some(app::association(redirect, &settings)?)
        }
        _ => None,
    };
    let mut printer = Printer::new(&program.report);
    let fetcher = Fetcher::new(program, options.timeout);
    let server = server(options, &settings, &fetcher, &mut printer).await?;
    if let Some(text) = redirect {
        let issuer = settings.issuer.as_ref().map(|issuer| issuer.value.as_str());
        let mut findings = check_redirect(text, issuer);
        if let (Some(redirect), Some(server), Some(client_id)) = (&parsed, &server, &settings.client_id)
            && !options.no_probe
        {
            findings.push(registration(&fetcher, server, redirect, &client_id.value).await?);
        }
        printer.section("redirect", findings);
    }
    if let Some(association) = &association
        && !options.offline
    {
        apple(options, association, &fetcher, &mut printer).await?;
        android(options, association, &fetcher, &mut printer).await?;
        if options.interstitial {
            let url = association.page_url();
            let fetched = fetcher.get(&url, association.max_bytes(&url)).await?;
            printer.section("interstitial", check_interstitial(&url, &fetched));
        }
    }
    for path in &options.files {
        let (association, path) = (association.clone(), path.clone());
        let looked = move || Ok(files::check(association.as_ref(), &path));
        let findings = program.blocking("Reading the files of the app", looked).await?;
        printer.section("app", findings);
    }
    Ok(printer.end())
}

/// The server, and its metadata if they can be used.
async fn server(
    options: &Doctor,
    settings: &Settings,
    fetcher: &Fetcher<'_>,
    printer: &mut Printer<'_>,
) -> Result<Option<AuthorizationServer>, Failure> {
    let Some(issuer) = settings.issuer.as_ref().filter(|_| !options.offline) else {
        return Ok(None);
    };
    let loopback = settings
        .allow_http_on_loopback
        .value
        .then_some(AllowHttpOnLoopback);
    let check = match ServerCheck::new(&issuer.value, loopback) {
        Ok(check) => check,
        Err(error) => {
            printer.section("server", vec![ServerCheck::refused(&issuer.value, &error)]);
            return Ok(None);
        }
    };
    let mut first = None;
    for url in check.metadata_urls() {
        let (fetched, now) = fetcher.get_at(&url, METADATA_BYTES).await?;
        if !check.is_elsewhere(&fetched) {
            printer.section("server", check.check(&url, &fetched, now));
            return Ok(check.metadata(&fetched));
        }
        first.get_or_insert((url, fetched, now));
    }
    if let Some((url, fetched, now)) = first {
        printer.section("server", check.check(&url, &fetched, now));
    }
    Ok(None)
}

/// As much as the library reads.
const METADATA_BYTES: usize = 1024 * 1024;

/// Asks the server for a sign-in that no user may see, to learn whether it knows the redirect.
async fn registration(
    fetcher: &Fetcher<'_>,
    server: &AuthorizationServer,
    redirect: &RedirectUri,
    client_id: &str,
) -> Result<Finding, Failure> {
    let probe = RegistrationProbe::new(server, redirect, client_id);
    let url = match probe.push() {
        None => probe.url(),
        Some((endpoint, form)) => match probe.pushed(&fetcher.post(&endpoint, form, METADATA_BYTES).await?) {
            Ok(url) => url,
            Err(finding) => return Ok(finding),
        },
    };
    Ok(probe.check(&fetcher.get(&url, METADATA_BYTES).await?))
}

async fn apple(
    options: &Doctor,
    association: &Association,
    fetcher: &Fetcher<'_>,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    // Who names only an Android app has none for Apple.
    if association.app_ids().is_empty() && association.android().is_some() {
        return Ok(());
    }
    let get = async |url: String| fetcher.get(&url, association.max_bytes(&url)).await;
    let own: Fetched = get(association.apple_url()).await?;
    let mut findings = association.check_apple(&own);
    if own.status() == Some(404) {
        let root = get(association.apple_root_url()).await?;
        findings.extend(association.check_apple_root(&root));
    }
    if !options.no_apple_copy && own.status() == Some(200) {
        let copy = get(association.apple_copy_url()).await?;
        findings.push(association.check_apple_copy(&own, &copy));
    }
    printer.section("apple", findings);
    Ok(())
}

async fn android(
    options: &Doctor,
    association: &Association,
    fetcher: &Fetcher<'_>,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    if association.android().is_none() && !association.app_ids().is_empty() {
        return Ok(());
    }
    let get = async |url: String| fetcher.get(&url, association.max_bytes(&url)).await;
    let own = get(association.assetlinks_url()).await?;
    let mut findings = association.check_assetlinks(&own);
    if own.status() == Some(200) {
        let robots = get(association.robots_url()).await?;
        findings.extend(association.check_robots(&robots));
    }
    if !options.no_google_view && association.android().is_some() {
        let google = get(association.google_url()).await?;
        findings.extend(association.check_google(&google));
    }
    printer.section("android", findings);
    Ok(())
}
