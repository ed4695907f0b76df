//! `association`: the two files by which a host names its apps.

use std::fs;
use std::path::Path;

use gatepass::RedirectUri;
use serde_json::json;

use crate::app;
use crate::args::{Association, ClientFlags, Platform};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::report::plain;
use crate::settings::Source;

pub(crate) async fn run(program: &Program, options: &Association) -> Result<Exit, Failure> {
    let flags = ClientFlags {
        redirect: options.redirect.clone(),
        app: options.app.clone(),
        ..ClientFlags::default()
    };
    let settings = program.settings(&flags).await?;
    if settings.redirect.source == Source::Default {
        return Err(Failure::configuration(
            "redirect_missing",
            "name the https redirect of the app: --redirect https://app.example.com/callback",
        ));
    }
    let association = app::association(&RedirectUri::parse(&settings.redirect.value)?, &settings)?;
    let mut files = Vec::new();
    if options.only != Some(Platform::Android) {
        let url = association.apple_url();
        match association.app_ids() {
            [] if options.only.is_some() => return Err(nobody("an App ID: --apple-app-id")),
            [] => {}
            _ => files.push((url, association.apple_file())),
        }
    }
    if options.only != Some(Platform::Apple) {
        let url = association.assetlinks_url();
        match association.android() {
            None if options.only.is_some() => return Err(nobody("a package: --android-package")),
            None => {}
            Some(app) if app.fingerprints().is_empty() => {
                return Err(nobody("the certificates of the Android app: --fingerprint"));
            }
            Some(_) => files.push((url, association.assetlinks_file())),
        }
    }
    if files.is_empty() {
        return Err(nobody(
            "an app: --apple-app-id, or --android-package and --fingerprint",
        ));
    }
    let report = &program.report;
    if let Some(directory) = &options.directory {
        for (url, text) in &files {
            let path = write(directory, url, text)?;
            let fields = json!({ "path": path, "url": url });
            report.event(
                "association_written",
                &fields,
                &format!("Wrote {}, to be served at {url}", plain(&path)),
            );
        }
        return Ok(Exit::Success);
    }
    if report.is_json() {
        let files: Vec<_> = files
            .iter()
            .map(|(url, text)| json!({ "url": url, "content_type": "application/json", "text": text }))
            .collect();
        report.answer("association", &json!({ "files": files }), "");
    } else if let (Some(_), Some((_, text))) = (options.only, files.first()) {
        report.raw(text);
    } else {
        for (url, text) in &files {
            report.note(&format!("{url}, with Content-Type: application/json"));
            report.say(text);
        }
    }
    Ok(Exit::Success)
}

fn nobody(what: &str) -> Failure {
    Failure::configuration("app_missing", format!("name {what}"))
}

/// Writes one file at its place below the root of the host; says where. Blocks for a moment.
fn write(directory: &Path, url: &str, text: &str) -> Result<String, Failure> {
    let name = url.rsplit('/').next().unwrap_or_default();
    let folder = directory.join(".well-known");
    let path = folder.join(name);
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, text));
    written.map_err(|error| {
        Failure::configuration("association_unwritable", format!("{}: {error}", path.display()))
    })?;
    Ok(path.display().to_string())
}
