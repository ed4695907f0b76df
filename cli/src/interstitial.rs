//! `interstitial`: the page for browsers that do not open an app after a redirect.

use gatepass::RedirectUri;
use gatepass::association::Interstitial;
use serde_json::{Map, json};

use crate::args::{ClientFlags, Interstitial as Options};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::settings::Source;

pub(crate) async fn run(program: &Program, options: &Options) -> Result<Exit, Failure> {
    let flags = ClientFlags {
        redirect: options.redirect.clone(),
        ..ClientFlags::default()
    };
    let settings = program.settings(&flags).await?;
    if settings.redirect.source == Source::Default {
        return Err(Failure::configuration(
            "redirect_missing",
            "name the https redirect that the page stands at: --redirect https://app.example.com/callback",
        ));
    }
    let redirect = RedirectUri::parse(&settings.redirect.value)?;
    let app_link = RedirectUri::parse(&options.app_link)?;
    let package = options.android_package.as_deref();
    let package = package.or(settings
        .android_package
        .as_ref()
        .map(|package| package.value.as_str()));
    let name = options.name.as_deref().unwrap_or("the app");
    let page = Interstitial::new(&redirect, &app_link, name, package)?;
    let report = &program.report;
    if report.is_json() {
        let headers: Map<_, _> = page
            .headers()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let fields = json!({ "url": page.url(), "headers": headers, "page": page.html() });
        report.answer("interstitial", &fields, "");
    } else if options.headers {
        for (name, value) in page.headers() {
            report.say(&format!("{name}: {value}"));
        }
    } else {
        report.raw(&page.html());
    }
    Ok(Exit::Success)
}
