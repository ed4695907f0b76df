//! The effective configuration: options override the environment, which overrides the file; and where each value is from.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::{ClientFlags, Global};
use crate::failure::Failure;
use crate::store::{StoreName, config_directory};

const REDIRECT: &str = "http://127.0.0.1/callback";
const SCOPE: [&str; 3] = ["openid", "profile", "offline_access"];
/// A configuration file of more than this is none.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Environment(&'static str),
    Profile(String),
    File,
    Default,
}

impl Source {
    /// The stable name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::Profile(_) => "profile",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File => f.write_str("configuration file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile: Option<String>,
    store: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// What a profile may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    issuer: Option<String>,
    client_id: Option<String>,
    redirect: Option<String>,
    post_logout_redirect: Option<String>,
    scope: Option<Vec<String>>,
    api: Option<String>,
    allow_http_on_loopback: Option<bool>,
    apple_app_id: Option<Vec<String>>,
    keychain_group: Option<String>,
    android_package: Option<String>,
    fingerprint: Option<Vec<String>>,
    store: Option<String>,
}

/// What is in effect.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The file, whether it exists or not; `None` for a user without a home.
    pub(crate) path: Option<Setting<PathBuf>>,
    pub(crate) exists: bool,
    pub(crate) profiles: Vec<String>,
    pub(crate) profile: Option<Setting<String>>,
    pub(crate) store: Setting<StoreName>,
    pub(crate) issuer: Option<Setting<String>>,
    pub(crate) client_id: Option<Setting<String>>,
    pub(crate) redirect: Setting<String>,
    pub(crate) post_logout_redirect: Option<Setting<String>>,
    pub(crate) scope: Setting<Vec<String>>,
    pub(crate) api: Option<Setting<String>>,
    pub(crate) allow_http_on_loopback: Setting<bool>,
    pub(crate) apple_app_id: Setting<Vec<String>>,
    pub(crate) keychain_group: Option<Setting<String>>,
    pub(crate) android_package: Option<Setting<String>>,
    pub(crate) fingerprint: Setting<Vec<String>>,
}

impl Settings {
    /// Puts together what the command line, the environment and the file say. Blocks: reads the file.
    pub(crate) fn load(global: &Global, flags: &ClientFlags) -> Result<Self, Failure> {
        let path = path(global)?;
        let text = match &path {
            Some(path) => read(&path.value, path.source != Source::Default)?,
            None => None,
        };
        Self::resolve(global, flags, path, text.as_deref(), &environment)
    }

    fn resolve(
        global: &Global,
        flags: &ClientFlags,
        path: Option<Setting<PathBuf>>,
        text: Option<&str>,
        environment: &dyn Fn(&'static str) -> Result<Option<String>, Failure>,
    ) -> Result<Self, Failure> {
        let place = path.as_ref().map(|path| path.value.as_path());
        let file = parse(text.unwrap_or_default(), place)?;
        let env =
            |name| Ok::<_, Failure>(environment(name)?.map(|value| from(Source::Environment(name), value)));
        let flag = |name, value: &Option<String>| value.clone().map(|value| from(Source::Flag(name), value));

        let chosen = match flag("profile", &global.profile) {
            Some(chosen) => Some(chosen),
            None => env("GATEPASS_PROFILE")?.or(file.profile.map(|name| from(Source::File, name))),
        };
        let chosen = chosen.or_else(|| {
            let default = "default".to_owned();
            file.profiles
                .contains_key(&default)
                .then(|| from(Source::Default, default))
        });
        let profile = match &chosen {
            Some(name) => file
                .profiles
                .get(&name.value)
                .cloned()
                .ok_or_else(|| no_such_profile(&name.value, file.profiles.keys(), place))?,
            None => Profile::default(),
        };
        let source = Source::Profile(chosen.as_ref().map(|name| name.value.clone()).unwrap_or_default());
        let own = |value: Option<String>| value.map(|value| from(source.clone(), value));

        let directory = place.and_then(Path::parent).unwrap_or(Path::new("."));
        let named = |setting: Setting<String>, relative: bool| {
            let store = StoreName::parse(setting.value.as_ref()).map_err(|why| {
                let text = format!("{:?} ({}): {why}", setting.value, setting.source);
                Failure::configuration("store_malformed", text)
            })?;
            let value = if relative { store.below(directory) } else { store };
            Ok::<_, Failure>(Setting {
                value,
                source: setting.source,
            })
        };
        let store = match (&global.store, env("GATEPASS_STORE")?, own(profile.store.clone())) {
            (Some(store), ..) => from(Source::Flag("store"), store.clone()),
            (None, Some(store), _) => named(store, false)?,
            (None, None, Some(store)) => named(store, true)?,
            (None, None, None) => match file.store {
                Some(store) => named(from(Source::File, store), true)?,
                None => from(Source::Default, StoreName::Keychain),
            },
        };

        let issuer = match flag("issuer", &flags.server.issuer) {
            Some(issuer) => Some(issuer),
            None => env("GATEPASS_ISSUER")?.or(own(profile.issuer.clone())),
        };
        // What a profile says is meant for its issuer, and for no other.
        let applies = match (&profile.issuer, &issuer) {
            (Some(own), Some(issuer)) => *own == issuer.value,
            _ => true,
        };
        let profile = if applies { profile } else { Profile::default() };
        let pick = |name, value: &Option<String>, variable, own_value: Option<String>| {
            Ok::<_, Failure>(match flag(name, value) {
                Some(setting) => Some(setting),
                None => env(variable)?.or(own(own_value)),
            })
        };
        let scope = if flags.scope.is_empty() {
            match env("GATEPASS_SCOPE")? {
                Some(words) => Some(Setting {
                    value: words.value.split_whitespace().map(str::to_owned).collect(),
                    source: words.source,
                }),
                None => profile.scope.map(|scope| from(source.clone(), scope)),
            }
        } else {
            Some(from(Source::Flag("scope"), flags.scope.clone()))
        };
        let allow = if flags.allow_http_on_loopback {
            Some(from(Source::Flag("allow-http-on-loopback"), true))
        } else {
            profile
                .allow_http_on_loopback
                .map(|allow| from(source.clone(), allow))
        };
        let listed = |name, flags: &[String], own_value: Option<Vec<String>>| match (flags, own_value) {
            ([], None) => from(Source::Default, Vec::new()),
            ([], Some(own_value)) => from(source.clone(), own_value),
            (flags, _) => from(Source::Flag(name), flags.to_vec()),
        };
        let keychain_group =
            flag("keychain-group", &flags.app.keychain_group).or(own(profile.keychain_group));
        let android_package =
            flag("android-package", &flags.app.android_package).or(own(profile.android_package));
        Ok(Self {
            apple_app_id: listed("apple-app-id", &flags.app.apple_app_id, profile.apple_app_id),
            fingerprint: listed("fingerprint", &flags.app.fingerprint, profile.fingerprint),
            keychain_group,
            android_package,
            exists: text.is_some(),
            profiles: file.profiles.into_keys().collect(),
            profile: chosen,
            store,
            client_id: pick(
                "client-id",
                &flags.server.client_id,
                "GATEPASS_CLIENT_ID",
                profile.client_id,
            )?,
            redirect: pick("redirect", &flags.redirect, "GATEPASS_REDIRECT", profile.redirect)?
                .unwrap_or_else(|| from(Source::Default, REDIRECT.to_owned())),
            scope: scope
                .unwrap_or_else(|| from(Source::Default, SCOPE.iter().map(ToString::to_string).collect())),
            post_logout_redirect: pick(
                "post-logout-redirect",
                &flags.post_logout_redirect,
                "GATEPASS_POST_LOGOUT_REDIRECT",
                profile.post_logout_redirect,
            )?,
            api: pick("api", &flags.api, "GATEPASS_API", profile.api)?,
            allow_http_on_loopback: allow.unwrap_or_else(|| from(Source::Default, false)),
            issuer,
            path,
        })
    }

    /// The same without what belongs to a server that is not used: for the test server of `sign-in` only options count.
    pub(crate) fn for_test_server(mut self, flags: &ClientFlags) -> Self {
        (self.issuer, self.client_id) = (None, None);
        self.redirect.value = flags.redirect.clone().unwrap_or_else(|| REDIRECT.to_owned());
        if flags.scope.is_empty() {
            self.scope.value = SCOPE.iter().map(ToString::to_string).collect();
        }
        self.api = self.api.filter(|_| flags.api.is_some());
        self
    }
}

fn from<T>(source: Source, value: T) -> Setting<T> {
    Setting { value, source }
}

/// Where the file is.
pub(crate) fn path(global: &Global) -> Result<Option<Setting<PathBuf>>, Failure> {
    if let Some(path) = &global.config {
        return Ok(Some(from(Source::Flag("config"), path.clone())));
    }
    // A path may be any that the system can have.
    if let Some(path) = std::env::var_os("GATEPASS_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(Some(from(Source::Environment("GATEPASS_CONFIG"), path.into())));
    }
    Ok(config_directory().map(|directory| from(Source::Default, directory.join("config.toml"))))
}

/// A variable of the environment; one that is empty counts as none.
pub(crate) fn environment(name: &'static str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::configuration(
            "environment_not_unicode",
            format!("{name} is not valid UTF-8"),
        )),
    }
}

/// The text of the file; `None` if there is none and none was named.
fn read(path: &Path, named: bool) -> Result<Option<String>, Failure> {
    let refuse = |why: &dyn fmt::Display| {
        Err(Failure::configuration(
            "config_unreadable",
            format!("the configuration file {} cannot be read: {why}", path.display()),
        ))
    };
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)) {
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => refuse(&"it is longer than 1 MiB"),
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            refuse(&"it does not exist; `gatepass config init` writes one")
        }
        Err(error) => refuse(&error),
    }
}

fn parse(text: &str, path: Option<&Path>) -> Result<File, Failure> {
    toml::from_str(text).map_err(|error| {
        // Not the line itself: who knows what somebody keeps there.
        let line = error.span().map(|span| {
            let before = text.get(..span.start).unwrap_or_default();
            before.matches('\n').count() + 1
        });
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let path = path.map(|path| path.display().to_string()).unwrap_or_default();
        Failure::configuration("config_malformed", format!("{path}{line}: {}", error.message()))
    })
}

fn no_such_profile<'a>(name: &str, known: impl Iterator<Item = &'a String>, path: Option<&Path>) -> Failure {
    let known: Vec<_> = known.map(String::as_str).collect();
    let known = if known.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    let path = path.map(|path| path.display().to_string()).unwrap_or_default();
    Failure::configuration(
        "no_such_profile",
        format!("{path} has no profile {name:?}; {known}"),
    )
}

/// What `gatepass config init` writes.
pub(crate) const TEMPLATE: &str = r#"# The configuration of `gatepass`. Options and GATEPASS_… variables override what is here;
# `gatepass config` shows what is in effect. No secret belongs here: a native app has none.

# Where sessions are kept: "keychain", "file:PATH" or "memory". A relative path begins at this directory.
# store = "keychain"

# The profile to use where --profile and GATEPASS_PROFILE name none. Unless set: the one named "default", if there is one.
# profile = "work"

# [profiles.work]
# issuer = "https://login.example.com"          # exactly as the server's operator names it
# client_id = "my-app"
# redirect = "http://127.0.0.1/callback"        # as registered; the port of a loopback redirect is chosen each time
# post_logout_redirect = "http://127.0.0.1/signed-out"   # for `sign-out --how end-session`
# scope = ["openid", "profile", "offline_access"]
# apple_app_id = ["ABCDE12345.com.example.app"] # these four: what `doctor` and `association` look for
# keychain_group = "com.example.shared"         # where the Apple app keeps its session, if not in its own
# android_package = "com.example.app"
# fingerprint = []                              # SHA-256 of each signing certificate, as the Play Console shows it
# api = "https://api.example.com/me"            # what `sign-in --journey` calls
# store = "file:sessions"                       # if it is not the one above

# A test server on this machine: `gatepass serve`.
# [profiles.test]
# issuer = "http://127.0.0.1:9400"
# client_id = "gatepass-test"
# allow_http_on_loopback = true
"#;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    const FILE: &str = r#"
        store = "file:here"
        profile = "work"
        [profiles.work]
        issuer = "https://work.example"
        client_id = "work-app"
        scope = ["openid", "email"]
        api = "https://api.work.example/"
        [profiles.home]
        issuer = "https://home.example"
        store = "memory"
    "#;

    fn settings(line: &str, file: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        let Command::Config(config) = args.command else {
            panic!("{line}");
        };
        let environment = |name: &'static str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        let path = from(Source::Default, PathBuf::from("/etc/gatepass/config.toml"));
        Settings::resolve(&args.global, &config.client, Some(path), file, &environment)
    }

    fn value(setting: Option<&Setting<String>>) -> (Option<&str>, Option<&'static str>) {
        (
            setting.map(|setting| setting.value.as_str()),
            setting.map(|setting| setting.source.name()),
        )
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let variables = [("GATEPASS_CLIENT_ID", "env-app"), ("GATEPASS_SCOPE", " a  b ")];
        let file = settings("gatepass config", Some(FILE), &[]).unwrap();
        assert_eq!(
            value(file.client_id.as_ref()),
            (Some("work-app"), Some("profile"))
        );
        assert_eq!(file.scope.value, ["openid", "email"]);
        assert_eq!(file.store.value, StoreName::File("/etc/gatepass/here".into()));
        assert_eq!(file.store.source, Source::File);
        assert_eq!(value(Some(&file.redirect)), (Some(REDIRECT), Some("default")));
        let env = settings("gatepass config", Some(FILE), &variables).unwrap();
        assert_eq!(
            value(env.client_id.as_ref()),
            (Some("env-app"), Some("environment"))
        );
        assert_eq!(env.scope.value, ["a", "b"]);
        let flag = settings(
            "gatepass config --client-id flag-app --scope c --store memory",
            Some(FILE),
            &variables,
        )
        .unwrap();
        assert_eq!(value(flag.client_id.as_ref()), (Some("flag-app"), Some("flag")));
        assert_eq!(flag.scope.value, ["c"]);
        assert_eq!(flag.store, from(Source::Flag("store"), StoreName::Memory));
        assert_eq!(
            value(flag.issuer.as_ref()),
            (Some("https://work.example"), Some("profile"))
        );
    }

    #[test]
    fn a_profile_is_chosen_by_flag_environment_file_or_its_name() {
        let named = |line: &str, file, variables: &[(&str, &str)]| {
            let settings = settings(line, Some(file), variables).unwrap();
            settings
                .profile
                .map(|profile| (profile.value, profile.source.name()))
        };
        let is = |name: &str, source| Some((name.to_owned(), source));
        assert_eq!(named("gatepass config", FILE, &[]), is("work", "file"));
        let variable = [("GATEPASS_PROFILE", "home")];
        assert_eq!(
            named("gatepass config", FILE, &variable),
            is("home", "environment")
        );
        assert_eq!(
            named("gatepass config --profile work", FILE, &variable),
            is("work", "flag")
        );
        assert_eq!(
            named("gatepass config", "[profiles.default]", &[]),
            is("default", "default")
        );
        assert_eq!(named("gatepass config", "[profiles.other]", &[]), None);
        let home = settings("gatepass config --profile home", Some(FILE), &[]).unwrap();
        assert_eq!(home.store.value, StoreName::Memory);
        assert!(settings("gatepass config --profile nobody", Some(FILE), &[]).is_err());
    }

    #[test]
    fn a_profile_is_not_used_for_another_issuer() {
        for (line, variables) in [
            ("gatepass config --issuer https://other.example", &[][..]),
            ("gatepass config", &[("GATEPASS_ISSUER", "https://other.example")]),
        ] {
            let other = settings(line, Some(FILE), variables).unwrap();
            assert_eq!(other.client_id, None);
            assert_eq!(other.api, None);
            assert_eq!(other.scope.source, Source::Default);
        }
        let same = settings("gatepass config --issuer https://work.example", Some(FILE), &[]).unwrap();
        assert!(same.client_id.is_some());
    }

    #[test]
    fn a_file_that_says_something_else_is_refused_with_its_line_and_without_its_text() {
        for (file, line) in [
            ("issuer = 'x'", "line 1"),
            ("\n[profiles.a]\nclient_secret = 'hunter2-canary'", "line 3"),
            ("[profiles.a]\nscope = 7", "line 2"),
            ("store = \n", "line 1"),
            ("store = 'floppy'", "floppy"),
        ] {
            let Err(Failure::Own(own)) = settings("gatepass config", Some(file), &[]) else {
                panic!("{file} was taken");
            };
            assert!(own.message.contains(line), "{}", own.message);
            assert!(!own.message.contains("hunter2-canary"), "{}", own.message);
        }
    }

    #[test]
    fn the_template_is_a_configuration_with_and_without_its_comments() {
        parse(TEMPLATE, None).unwrap();
        let settings_only = |line: &str| line.contains('=') || line.starts_with("# [");
        let all: String = TEMPLATE
            .lines()
            .filter_map(|line| line.strip_prefix("# ").filter(|_| settings_only(line)))
            .map(|line| format!("{line}\n"))
            .collect();
        let file = parse(&all, None).unwrap();
        assert_eq!(file.profiles.len(), 2, "{all}");
        assert_eq!(file.profile.as_deref(), Some("work"));
    }
}
