//! The command line.

use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use gatepass::test_server::Rotation;

/// Sign in with OAuth 2.0 and OpenID Connect from a terminal.
///
/// Without an issuer it brings a test server along: `gatepass sign-in` needs nothing to be configured.
#[derive(Debug, Parser)]
#[command(name = "gatepass", version, after_help = crate::exit::HELP)]
pub(crate) struct Args {
    /// Print one JSON object a line, with an `event` field, instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log what happens to standard error, without secrets (RUST_LOG for more control)
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in, call an API, refresh, call again, and sign out
    ///
    /// Without --issuer, starts a test authorization server in this process, keeps everything in memory and leaves
    /// nothing behind. With --issuer and --client-id, signs in to a real server.
    #[command(after_help = crate::exit::HELP)]
    SignIn(SignIn),
    /// Run the test authorization server until Ctrl-C
    ///
    /// A strict server for trying clients against: PKCE, exact redirects, rotating refresh tokens with reuse detection.
    /// Everything is in memory. Listens on 127.0.0.1 only.
    Serve(Serve),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SignIn {
    /// The issuer URL of the authorization server, exactly as its operator names it
    #[arg(long, value_name = "URL", requires = "client_id")]
    pub(crate) issuer: Option<String>,
    /// The client id that the server gave to the app: a public native client
    #[arg(long, value_name = "ID", requires = "issuer")]
    pub(crate) client_id: Option<String>,
    /// The redirect URI registered at the server
    ///
    /// The port of a loopback redirect is chosen for each sign-in. For a claimed-https or private-use redirect, paste the
    /// URL that the browser was sent to on standard input.
    #[arg(long, value_name = "URI", default_value = "http://127.0.0.1/callback")]
    pub(crate) redirect: String,
    /// A scope to ask for; repeat for several
    #[arg(long, value_name = "SCOPE", default_values = ["openid", "profile", "offline_access"])]
    pub(crate) scope: Vec<String>,
    /// An API to call with the access token, instead of the server's userinfo endpoint
    #[arg(long, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Play the browser and the user (test server only)
    #[arg(long, conflicts_with_all = ["issuer", "no_browser"])]
    pub(crate) headless: bool,
    /// Open no browser: print the URL, and accept the redirect URL pasted on standard input
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Allow http to 127.0.0.1 and [::1] (the test server needs no such permission)
    #[arg(long, requires = "issuer")]
    pub(crate) allow_http_on_loopback: bool,
    /// Give up if the redirect has not come back after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// The port to listen on, 0 for any free one
    #[arg(long, default_value_t = 9400)]
    pub(crate) port: u16,
    /// What becomes of a refresh token that was used: strict, off, or grace:SECONDS
    #[arg(long, default_value = "strict", value_parser = rotation)]
    pub(crate) rotation: Rotation,
    /// How long access tokens live
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) access_token_lifetime: Duration,
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
        Some(("grace", window)) => seconds(window).map(Rotation::Grace),
        _ => Err("strict, off, or grace:SECONDS".to_owned()),
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
            "gatepass sign-in --issuer https://as.example",
            "gatepass sign-in --client-id x",
            "gatepass sign-in --headless --issuer https://as.example --client-id x",
            "gatepass sign-in --headless --no-browser",
            "gatepass sign-in --timeout 0",
            "gatepass serve --rotation grace",
            "gatepass",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(
            Args::try_parse_from("gatepass sign-in --json --scope openid --scope email".split(' ')).is_ok()
        );
        assert!(Args::try_parse_from("gatepass serve --rotation grace:30".split(' ')).is_ok());
    }
}
