//! `config`: what is in effect and where it is from, and a file to begin with.

use std::fs;
use std::io::Write as _;

use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

use crate::args::{Config, ConfigAction};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::report::plain;
use crate::select::shown_url;
use crate::settings::{self, Setting, Settings, TEMPLATE};

pub(crate) async fn run(program: &Program, options: &Config) -> Result<Exit, Failure> {
    match options.action {
        Some(ConfigAction::Init { force }) => init(program, force),
        None => {
            let settings = program.settings(&options.client).await?;
            show(program, &settings);
            Ok(Exit::Success)
        }
    }
}

/// The settings by name, in the order they are shown in.
fn rows(settings: &Settings) -> Vec<(&'static str, Value, Option<&settings::Source>)> {
    fn optional<'a>(
        name: &'static str,
        setting: Option<&'a Setting<String>>,
    ) -> (&'static str, Value, Option<&'a settings::Source>) {
        match setting {
            Some(setting) => (name, setting.value.as_str().into(), Some(&setting.source)),
            None => (name, Value::Null, None),
        }
    }
    /// A URL that will be refused may have a password in it.
    fn url<'a>(
        name: &'static str,
        setting: Option<&'a Setting<String>>,
    ) -> (&'static str, Value, Option<&'a settings::Source>) {
        let value = setting.map_or(Value::Null, |setting| shown_url(&setting.value).into());
        (name, value, setting.map(|setting| &setting.source))
    }
    vec![
        optional("profile", settings.profile.as_ref()),
        (
            "store",
            settings.store.value.to_string().into(),
            Some(&settings.store.source),
        ),
        url("issuer", settings.issuer.as_ref()),
        optional("client_id", settings.client_id.as_ref()),
        optional("redirect", Some(&settings.redirect)),
        optional("post_logout_redirect", settings.post_logout_redirect.as_ref()),
        (
            "scope",
            settings.scope.value.clone().into(),
            Some(&settings.scope.source),
        ),
        url("api", settings.api.as_ref()),
        (
            "allow_http_on_loopback",
            settings.allow_http_on_loopback.value.into(),
            Some(&settings.allow_http_on_loopback.source),
        ),
        (
            "apple_app_id",
            settings.apple_app_id.value.clone().into(),
            Some(&settings.apple_app_id.source),
        ),
        optional("keychain_group", settings.keychain_group.as_ref()),
        optional("android_package", settings.android_package.as_ref()),
        (
            "fingerprint",
            settings.fingerprint.value.clone().into(),
            Some(&settings.fingerprint.source),
        ),
    ]
}

fn show(program: &Program, settings: &Settings) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SETTING", "VALUE", "FROM"]);
    let mut values = Map::new();
    for (name, value, source) in rows(settings) {
        let text = match &value {
            Value::Null => "-".to_owned(),
            Value::String(text) => plain(text),
            Value::Array(words) => {
                let words: Vec<_> = words.iter().filter_map(Value::as_str).map(plain).collect();
                words.join(" ")
            }
            other => other.to_string(),
        };
        let from = source.map(ToString::to_string).unwrap_or_default();
        table.add_row([name.to_owned(), text, from]);
        let source = source.map(settings::Source::name);
        values.insert(name.to_owned(), json!({ "value": value, "source": source }));
    }
    let path = settings
        .path
        .as_ref()
        .map(|path| path.value.display().to_string());
    let file = match (&path, settings.exists) {
        (Some(path), true) => format!("Configuration file: {}", plain(path)),
        (Some(path), false) => format!(
            "Configuration file: {}, which does not exist (gatepass config init writes it)",
            plain(path)
        ),
        (None, _) => "Configuration file: none, this user has no home directory".to_owned(),
    };
    let profiles = if settings.profiles.is_empty() {
        String::new()
    } else {
        format!("\nProfiles: {}", plain(&settings.profiles.join(", ")))
    };
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let fields = json!({
        "path": path, "exists": settings.exists, "profiles": settings.profiles, "settings": values,
    });
    program.report.answer(
        "config",
        &fields,
        &format!("{file}{profiles}\n\n{}", lines.join("\n")),
    );
}

fn init(program: &Program, force: bool) -> Result<Exit, Failure> {
    let Some(path) = settings::path(program.global())? else {
        return Err(Failure::configuration(
            "no_home",
            "this user has no home directory; say where with --config PATH",
        ));
    };
    let path = path.value;
    let refuse =
        |why: String| Failure::configuration("config_unwritable", format!("{}: {why}", path.display()));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| refuse(error.to_string()))?;
    }
    let mut options = fs::OpenOptions::new();
    if force {
        options.write(true).create(true).truncate(true);
    } else {
        options.write(true).create_new(true);
    }
    let mut file = options.open(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            refuse("it exists already; --force writes over it".to_owned())
        } else {
            refuse(error.to_string())
        }
    })?;
    file.write_all(TEMPLATE.as_bytes())
        .map_err(|error| refuse(error.to_string()))?;
    let shown = path.display().to_string();
    program.report.event(
        "config_written",
        &json!({ "path": shown }),
        &format!(
            "Wrote {}: every line is a comment until you change it",
            plain(&shown)
        ),
    );
    Ok(Exit::Success)
}
