//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use gatepass::test_server::{Par, Rotation, SigningAlgorithm, UserinfoFormat};

use crate::store::StoreName;

const EXAMPLES: &str = "\
Examples:
  gatepass sign-in                             the whole journey at a test server it brings along
  gatepass sign-in --issuer https://login.example.com --client-id my-app
  curl -H \"Authorization: Bearer $(gatepass token)\" https://api.example.com/me
  gatepass status && echo \"signed in\"
  gatepass sign-out

The configuration file has profiles for what you would type every time: `gatepass config init` writes one.
";

const SIGN_IN_EXAMPLES: &str = "\
Examples:
  gatepass sign-in --issuer https://login.example.com --client-id my-app
  gatepass sign-in --profile work              issuer and client id from the configuration file
  gatepass sign-in --profile work --add-account
  gatepass sign-in --headless --json           the journey at the test server, for programs

Without an issuer (by option, GATEPASS_ISSUER or a profile) it starts a test authorization server in this process. That
server ends with the command, so nobody can stay signed in there: the command then runs the whole journey, as with
--journey, keeps everything in memory and leaves nothing behind.

Exit codes: see `gatepass --help`.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(gatepass token)\" https://api.example.com/me
  gatepass token --account bob@example.com
  gatepass token --min-validity 600            for a job that takes ten minutes
  gatepass token --json | jq -r .access_token

Any number of these may run at once: they take turns, and one refresh serves them all.

Exit codes: see `gatepass --help`. 10: nobody is signed in; 9: the session ended, sign in again.";

const STATUS_EXAMPLES: &str = "\
Examples:
  gatepass status || gatepass sign-in
  gatepass status --json | jq .expires_in

Exit codes: 0 signed in, 10 nobody is signed in, 9 the session ended without the user's doing, 8 the store is locked or
lost; the others as in `gatepass --help`.";

const SIGN_OUT_EXAMPLES: &str = "\
Examples:
  gatepass sign-out
  gatepass sign-out --how local                forget it here; the grant at the server lives on
  gatepass sign-out --how end-session          at the server too, in the browser
  gatepass sign-out --all                      every session in the store

Here the user is signed out first, so that holds without a network too. If the server then cannot be told, the exit code
says so.

Exit codes: see `gatepass --help`.";

const FORGET_EXAMPLES: &str = "\
Examples:
  gatepass forget --issuer https://login.example.com --client-id my-app
  gatepass forget --yes                        if the store holds one client only

No server is told: to end the grants there too, sign out first.

Exit codes: see `gatepass --help`.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  gatepass config                              what is in effect, and where each value came from
  gatepass config init                         write a commented file to begin with
  gatepass config --profile work --json

Options override the environment, which overrides the file. A profile's values belong to its issuer: where an option or
GATEPASS_ISSUER names another one, they are not used.

Environment: GATEPASS_CONFIG, GATEPASS_PROFILE, GATEPASS_STORE, GATEPASS_ISSUER, GATEPASS_CLIENT_ID, GATEPASS_REDIRECT,
GATEPASS_SCOPE (separated by spaces), GATEPASS_API, GATEPASS_POST_LOGOUT_REDIRECT and GATEPASS_STORE_PASSPHRASE.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  gatepass completions bash > ~/.local/share/bash-completion/completions/gatepass
  gatepass completions zsh > ~/.zfunc/_gatepass
  gatepass completions fish > ~/.config/fish/completions/gatepass.fish
  gatepass completions powershell >> $PROFILE";

const SERVE_EXAMPLES: &str = "\
Examples:
  gatepass serve
  gatepass serve --rotation grace:30 --access-token-lifetime 60
  gatepass serve --par required --client-id my-app --redirect-uri com.example.my:/callback
  gatepass serve --user carol:a-long-password";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  gatepass doctor --issuer https://login.example.com --client-id my-app
  gatepass doctor --redirect https://app.example.com/callback --apple-app-id ABCDE12345.com.example.app
  gatepass doctor --redirect https://app.example.com/callback app-release.apk --fingerprint 14:6D:…
  gatepass doctor --profile work App.entitlements      what is checked, from the configuration file
  gatepass doctor --profile work --json | jq -r 'select(.severity == \"error\") | .code'

Looks at the server, the redirect, the files of its host for Apple and Android, and the files of the app that are named.
Needs no user and signs nobody in. Every code it gives, why it matters and how to mend it: docs/doctor.md.

Exit codes: 0 all is well, 11 the worst finding is a warning, 12 the worst finding is an error; the others as in
`gatepass --help`.";

const ASSOCIATION_EXAMPLES: &str = "\
Examples:
  gatepass association --redirect https://app.example.com/callback --apple-app-id ABCDE12345.com.example.app \\
      --android-package com.example.app --fingerprint 14:6D:…
  gatepass association --profile work --directory public
  gatepass association --profile work --only android > assetlinks.json

The fingerprint is in the Play Console (App signing), or what `keytool -list -v` says behind SHA256.

Exit codes: see `gatepass --help`.";

const INTERSTITIAL_EXAMPLES: &str = "\
Examples:
  gatepass interstitial --redirect https://app.example.com/callback --app-link com.example.app:/callback > index.html
  gatepass interstitial --profile work --app-link com.example.app:/callback --headers

Serve the page at the redirect, with these headers, and keep the query out of the log of the host: docs/interstitial.

Exit codes: see `gatepass --help`.";

const EVERYWHERE: &str = "Options of every command";

/// Sign in with OAuth 2.0 and OpenID Connect from a terminal, and stay signed in.
///
/// Sessions are kept in the keychain of the system, and found again by the next command. Without an issuer it brings a
/// test server along: `gatepass sign-in` needs nothing to be configured.
#[derive(Debug, Parser)]
#[command(name = "gatepass", version, after_help = format!("{EXAMPLES}\n{}", crate::exit::HELP))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Global {
    /// Print one JSON object a line, with an `event` field, instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Log what happens to standard error, without secrets (RUST_LOG for more control)
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    pub(crate) verbose: bool,
    /// The configuration file [env: GATEPASS_CONFIG]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The profile of the configuration file to use [env: GATEPASS_PROFILE]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Where sessions are kept: keychain, file:PATH or memory [env: GATEPASS_STORE] [default: keychain]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "STORE", value_parser = store())]
    pub(crate) store: Option<StoreName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and stay signed in
    ///
    /// Opens the browser, waits for the redirect and keeps the session in the store. If somebody is signed in already it
    /// says so and does nothing.
    #[command(after_help = SIGN_IN_EXAMPLES)]
    SignIn(SignIn),
    /// Print a fresh access token, and nothing else on standard output
    ///
    /// Refreshes first if need be. This is the only command that prints a secret.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Say who is signed in, in what state the session is, and when its access token expires
    ///
    /// Reads the store and refreshes nothing.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Which),
    /// Ask the server who is signed in (OpenID Connect userinfo)
    Userinfo(Which),
    /// Sign out
    #[command(after_help = SIGN_OUT_EXAMPLES)]
    SignOut(SignOut),
    /// List the sessions in the store, of all issuers
    ///
    /// The latest sign-in comes first: it is the one that commands use which are not told otherwise.
    Sessions(Sessions),
    /// Remove everything that is kept here for a client: its sessions, and what is known of its server
    #[command(after_help = FORGET_EXAMPLES)]
    Forget(Forget),
    /// Show the configuration in effect, or write a file to begin with
    #[command(after_help = CONFIG_EXAMPLES, args_conflicts_with_subcommands = true)]
    Config(Config),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Run the test authorization server until Ctrl-C
    ///
    /// A strict server for trying clients against: PKCE, exact redirects, rotating refresh tokens with reuse detection.
    /// Everything is in memory. Listens on 127.0.0.1 only.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Check that the server, the redirect and the app fit together, before an app ships
    ///
    /// Each finding says what was looked at, what is there, why it matters and how to mend it.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Print the files by which a host names its apps: apple-app-site-association and assetlinks.json
    #[command(after_help = ASSOCIATION_EXAMPLES)]
    Association(Association),
    /// Print the page for browsers that do not open an app after a redirect
    #[command(after_help = INTERSTITIAL_EXAMPLES)]
    Interstitial(Interstitial),
    /// Run the test server, and do what standard input says
    #[cfg(feature = "soak")]
    #[command(hide = true)]
    SoakServer(SoakServer),
    /// Hold a session, and do with it what standard input says
    #[cfg(feature = "soak")]
    #[command(hide = true)]
    SoakSession(Which),
}

/// Which server, and which client of it.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct ServerFlags {
    /// The issuer URL of the authorization server, exactly as its operator names it [env: GATEPASS_ISSUER]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) issuer: Option<String>,
    /// The client id that the server gave to the app: a public native client [env: GATEPASS_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
}

/// Which client at which server.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct ClientFlags {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// The redirect URI registered at the server [env: GATEPASS_REDIRECT] [default: http://127.0.0.1/callback]
    ///
    /// The port of a loopback redirect is chosen for each sign-in. For a claimed-https or private-use redirect, paste the
    /// URL that the browser was sent to on standard input.
    #[arg(long, value_name = "URI")]
    pub(crate) redirect: Option<String>,
    /// A scope to ask for; repeat for several [env: GATEPASS_SCOPE] [default: openid profile offline_access]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Vec<String>,
    /// An API that --journey calls with the access token, instead of the server's userinfo endpoint [env: GATEPASS_API]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) api: Option<String>,
    /// Where the browser goes after `sign-out --how end-session`
    #[arg(skip)]
    pub(crate) post_logout_redirect: Option<String>,
    /// Allow http to 127.0.0.1 and [::1] (the test server of this command needs no such permission)
    #[arg(long)]
    pub(crate) allow_http_on_loopback: bool,
    /// The app that claims the redirect
    #[arg(skip)]
    pub(crate) app: AppFlags,
}

/// Which app claims the redirect.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct AppFlags {
    /// The App ID of the Apple app: prefix, dot, bundle id; repeat for several
    #[arg(long, value_name = "ID")]
    pub(crate) apple_app_id: Vec<String>,
    /// The keychain group that the Apple app keeps its session in, with the prefix or without
    #[arg(long, value_name = "GROUP")]
    pub(crate) keychain_group: Option<String>,
    /// The application id of the Android app
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) android_package: Option<String>,
    /// The SHA-256 fingerprint of a certificate that the Android app is signed with; repeat for several
    #[arg(long, value_name = "SHA256")]
    pub(crate) fingerprint: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// The redirect URI of the app [env: GATEPASS_REDIRECT]
    #[arg(long, value_name = "URI")]
    pub(crate) redirect: Option<String>,
    /// Allow http to 127.0.0.1 and [::1], for a test server
    #[arg(long)]
    pub(crate) allow_http_on_loopback: bool,
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// Files of the app: AndroidManifest.xml, an APK, an AAR, an AAB, an IPA, entitlements, Info.plist
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Ask nobody: look at the redirect and at the files only
    #[arg(long)]
    pub(crate) offline: bool,
    /// Send the server no authorization request to see whether it knows the redirect
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Look at the interstitial page at the redirect as well
    #[arg(long)]
    pub(crate) interstitial: bool,
    /// Do not ask Apple for its copy of the host's file
    #[arg(long)]
    pub(crate) no_apple_copy: bool,
    /// Do not ask Google for what its servers see at the host
    #[arg(long)]
    pub(crate) no_google_view: bool,
    /// Give up on one answer after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Association {
    /// The redirect URI of the app: https [env: GATEPASS_REDIRECT]
    #[arg(long, value_name = "URI")]
    pub(crate) redirect: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppFlags,
    /// Print this file alone, and nothing else
    #[arg(long, value_enum)]
    pub(crate) only: Option<Platform>,
    /// Write the files below this directory, the root of the host, in place of printing them
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath, conflicts_with = "only")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Interstitial {
    /// The redirect URI of the app, where the page stands: https [env: GATEPASS_REDIRECT]
    #[arg(long, value_name = "URI")]
    pub(crate) redirect: Option<String>,
    /// What its button opens: a URI of the app's own scheme
    #[arg(long, value_name = "URI")]
    pub(crate) app_link: String,
    /// The application id of the Android app, so that Android opens no other
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) android_package: Option<String>,
    /// What users call the app
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print the headers to serve it with, in place of the page
    #[arg(long)]
    pub(crate) headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Platform {
    /// apple-app-site-association
    Apple,
    /// assetlinks.json
    Android,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SignIn {
    #[command(flatten)]
    pub(crate) client: ClientFlags,
    /// An API that the sign-in is for, as the URI that the server knows it by (RFC 8707); repeat for several
    #[arg(long, value_name = "URI")]
    pub(crate) resource: Vec<String>,
    /// Where the redirect may come to as well: a scheme of the app's own, from the interstitial page at an https redirect
    #[arg(long, value_name = "URI")]
    pub(crate) redirect_alias: Option<String>,
    /// Run the whole life of a session: sign in, call an API, refresh, call again, sign out
    ///
    /// Keeps everything in memory unless --store is given too.
    #[arg(long)]
    pub(crate) journey: bool,
    /// Sign in anew although somebody is signed in
    #[arg(long)]
    pub(crate) again: bool,
    /// Sign another user in beside those who are (needs the scope openid)
    #[arg(long, conflicts_with_all = ["again", "journey"])]
    pub(crate) add_account: bool,
    /// Play the browser and the user, at the test server
    #[arg(long, conflicts_with_all = ["issuer", "client_id", "no_browser", "again", "add_account"])]
    pub(crate) headless: bool,
    /// Open no browser: print the URL, and accept the redirect URL pasted on standard input
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Give up if the redirect has not come back after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// Which of the stored sessions. Unless told otherwise: the latest sign-in.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Which {
    /// Only sessions of this issuer [env: GATEPASS_ISSUER]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) issuer: Option<String>,
    /// Only sessions of this client [env: GATEPASS_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// The session of this account: an id, a subject or a name that `gatepass sessions` shows
    #[arg(long, value_name = "WHO")]
    pub(crate) account: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Refresh first, whatever the state of the current token
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Refresh first if the current token lives for less than this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "refresh")]
    pub(crate) min_validity: Option<Duration>,
    /// A token for this API, as the URI that the server knows it by (RFC 8707), instead of the session's own
    #[arg(long, value_name = "URI", conflicts_with_all = ["refresh", "min_validity"])]
    pub(crate) resource: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SignOut {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How far it reaches
    #[arg(long, value_enum, default_value_t = How::Revoke)]
    pub(crate) how: How,
    /// Where the browser goes after --how end-session, as registered at the server [env: GATEPASS_POST_LOGOUT_REDIRECT]
    ///
    /// Without it nobody can tell whether the user followed the server's page through.
    #[arg(long, value_name = "URI")]
    pub(crate) post_logout_redirect: Option<String>,
    /// Every session in the store, or all that --issuer, --client-id and --account leave
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// Forget the session on this device only; the grant at the server lives on
    Local,
    /// Also revoke the grant at the server
    Revoke,
    /// Also end the server's session with the browser, so that the next sign-in asks for the password again
    EndSession,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sessions {
    /// Only sessions of this issuer
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) issuer: Option<String>,
    /// Only sessions of this client
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: Option<ConfigAction>,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Write a commented configuration file
    Init {
        /// Write over the file if there is one
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// The port to listen on, 0 for any free one
    #[arg(long, default_value_t = 9400)]
    pub(crate) port: u16,
    /// What becomes of a refresh token that was used: strict, off, idempotent, grace:SECONDS or count:N
    ///
    /// strict: using it again ends the whole grant. grace: it still answers for so long. idempotent: it still answers with
    /// the same successor until that is used. count: it still answers so many times. off: it is not rotated.
    #[arg(long, value_name = "MODE", default_value = "strict", value_parser = rotation)]
    pub(crate) rotation: Rotation,
    /// How long access tokens live
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) access_token_lifetime: Duration,
    /// How long refresh tokens live unless used
    #[arg(long, value_name = "SECONDS", default_value = "2592000", value_parser = seconds)]
    pub(crate) refresh_token_lifetime: Duration,
    /// Whether authorization requests are pushed to the server (RFC 9126): off, offered or required
    #[arg(long, value_name = "MODE", default_value = "off", value_parser = par)]
    pub(crate) par: Par,
    /// How ID tokens are signed: RS256 or ES256
    #[arg(long, value_name = "ALG", default_value = "RS256", value_parser = algorithm)]
    pub(crate) signing_algorithm: SigningAlgorithm,
    /// The form of the userinfo answer: json or jwt
    #[arg(long, value_name = "FORM", default_value = "json", value_parser = userinfo)]
    pub(crate) userinfo: UserinfoFormat,
    /// The client id
    #[arg(long, value_name = "ID", default_value = "gatepass-test")]
    pub(crate) client_id: String,
    /// A redirect URI of the client besides its usual ones; repeat for several
    #[arg(long, value_name = "URI")]
    pub(crate) redirect_uri: Vec<String>,
    /// A user besides alice and bob, invented: NAME:PASSWORD; repeat for several
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = user)]
    pub(crate) user: Vec<(String, String)>,
}

/// The test server of `cargo xtask soak`.
#[cfg(feature = "soak")]
#[derive(Debug, ClapArgs)]
pub(crate) struct SoakServer {
    /// As of `serve`
    #[arg(long, value_parser = rotation)]
    pub(crate) rotation: Rotation,
    /// As of `serve`
    #[arg(long, default_value = "300", value_parser = seconds)]
    pub(crate) access_token_lifetime: Duration,
}

fn store() -> impl clap::builder::TypedValueParser<Value = StoreName> {
    OsStringValueParser::new().try_map(|text: OsString| StoreName::parse(&text))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of seconds, 1 or more".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

fn rotation(text: &str) -> Result<Rotation, String> {
    match text.split_once(':') {
        None if text == "strict" => Ok(Rotation::Strict),
        None if text == "off" => Ok(Rotation::Off),
        None if text == "idempotent" => Ok(Rotation::Idempotent),
        Some(("grace", window)) => seconds(window).map(Rotation::Grace),
        Some(("count", uses)) => match uses.parse() {
            Ok(0) | Err(_) => Err("count:N, with a number of uses, 1 or more".to_owned()),
            Ok(uses) => Ok(Rotation::CountLimited(uses)),
        },
        _ => Err("strict, off, idempotent, grace:SECONDS or count:N".to_owned()),
    }
}

fn par(text: &str) -> Result<Par, String> {
    match text {
        "off" => Ok(Par::Off),
        "offered" => Ok(Par::Offered),
        "required" => Ok(Par::Required),
        _ => Err("off, offered or required".to_owned()),
    }
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    match text {
        "RS256" => Ok(SigningAlgorithm::Rs256),
        "ES256" => Ok(SigningAlgorithm::Es256),
        _ => Err("RS256 or ES256".to_owned()),
    }
}

fn userinfo(text: &str) -> Result<UserinfoFormat, String> {
    match text {
        "json" => Ok(UserinfoFormat::Json),
        "jwt" => Ok(UserinfoFormat::SignedJwt),
        _ => Err("json or jwt".to_owned()),
    }
}

fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err("NAME:PASSWORD".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "gatepass sign-in --headless --issuer https://as.example --client-id x",
            "gatepass sign-in --headless --no-browser",
            "gatepass sign-in --again --add-account",
            "gatepass sign-in --timeout 0",
            "gatepass token --min-validity 0",
            "gatepass token --min-validity 5 --refresh",
            "gatepass sign-out --how softly",
            "gatepass status --store floppy",
            "gatepass status --store file:",
            "gatepass config --issuer https://as.example init",
            "gatepass serve --rotation grace",
            "gatepass serve --rotation count:0",
            "gatepass serve --par maybe",
            "gatepass serve --user carol",
            "gatepass completions cmd",
            "gatepass association --only windows",
            "gatepass association --only apple --directory public",
            "gatepass doctor --timeout 0",
            "gatepass",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        for line in [
            "gatepass sign-in --json --scope openid --scope email",
            "gatepass --store memory --json status",
            "gatepass status --store file:relative/path --json",
            "gatepass serve --rotation grace:30 --par required",
            "gatepass serve --rotation count:3 --userinfo jwt",
            "gatepass config init --force",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
