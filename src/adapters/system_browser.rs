//! The browser the user has chosen, opened by the platform's own opener (RFC 8252 §5).

use std::path::Path;
use std::process::{Command, Stdio};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::ports::{UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn};

/// The browser the user has chosen, by the platform's opener (`xdg-open` and its like, `open`, `start`), or by the
/// command named in the environment variable `BROWSER`.
///
/// [`Client::sign_in`](crate::Client::sign_in) uses it unless it is given another user agent; wrap it to do something
/// before or after.
///
/// ```no_run
/// use gatepass::{Client, SignInOptions, SystemBrowser, UserAgent, UserAgentRequest};
///
/// # async fn example(client: Client) -> gatepass::Result<()> {
/// let pending = client.begin_sign_in(SignInOptions::default()).await?;
/// let request = UserAgentRequest::new(pending.authorization_url(), pending.redirect_uri());
/// if let Err(failure) = SystemBrowser.open(request).await {
///     pending.user_agent_failed(failure);
/// }
/// let session = pending.wait().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemBrowser;

#[async_trait]
impl UserAgent for SystemBrowser {
    /// Stays pending while the opener runs: on some desktops that is as long as the browser. The redirect then comes
    /// first. An opener that fails says so, however late.
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        let (done, opened) = oneshot::channel();
        let url = request.authorization_url;
        // A thread of its own: an opener can block as long as the browser is open, and threads of a pool are few.
        std::thread::Builder::new()
            .name("gatepass-browser".to_owned())
            .spawn(move || drop(done.send(open(&url))))
            .map_err(|error| UserAgentFailure::NoBrowser(format!("no thread for the opener: {error}")))?;
        match opened.await {
            Ok(Ok(())) => Ok(UserAgentReturn::Opened),
            Ok(Err(why)) => Err(UserAgentFailure::NoBrowser(why)),
            Err(_) => Err(UserAgentFailure::NoBrowser(
                "the opener did not finish".to_owned(),
            )),
        }
    }
}

/// Tries the openers in turn; the first that exits with success has opened a browser.
fn open(url: &str) -> Result<(), String> {
    if let Some(why) = no_screen() {
        return Err(why);
    }
    let mut tried = Vec::new();
    for mut command in openers(url) {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match run(&mut command) {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => tried.push(format!("{name} failed ({status})")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tried.push(format!("{name} is not installed"))
            }
            Err(error) => tried.push(format!("{name} could not be started ({error})")),
        }
    }
    Err(tried.join(", "))
}

fn run(command: &mut Command) -> std::io::Result<std::process::ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // A group of its own: Ctrl-C in the terminal is meant for the program, not for the user's browser.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.status()
}

/// On Linux and the BSDs an opener without a display would start a text browser in the terminal, or nothing.
#[cfg(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android"))))]
fn no_screen() -> Option<String> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_one = ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"]
        .into_iter()
        .any(set);
    (!has_one).then(|| "there is no display (none of DISPLAY, WAYLAND_DISPLAY and BROWSER is set)".to_owned())
}

#[cfg(not(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android")))))]
fn no_screen() -> Option<String> {
    None
}

/// `BROWSER` first, where people use it (remote editors and containers hand the URL to another machine with it); then the
/// platform's openers, which must not try the same once more.
fn openers(url: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    #[cfg(unix)]
    commands.extend(
        std::env::var("BROWSER")
            .ok()
            .and_then(|browser| named_browser(&browser, url)),
    );
    commands.extend(open::commands(url).into_iter().map(|mut command| {
        command.env_remove("BROWSER");
        command
    }));
    commands
}

/// The command in `BROWSER`, with its arguments; `%s` stands for the URL, which else comes last.
#[cfg(unix)]
fn named_browser(browser: &str, url: &str) -> Option<Command> {
    let mut words = browser.split_whitespace();
    let mut command = Command::new(words.next()?);
    let arguments: Vec<&str> = words.collect();
    command.args(
        arguments
            .iter()
            .map(|word| if *word == "%s" { url } else { word }),
    );
    if !arguments.contains(&"%s") {
        command.arg(url);
    }
    Some(command)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_named_browser_may_have_arguments() {
        let of = |browser: &str| {
            let command = named_browser(browser, "https://as.example")?;
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            Some(
                words
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        assert_eq!(of("firefox").as_deref(), Some("firefox https://as.example"));
        assert_eq!(
            of("firefox --new-tab").as_deref(),
            Some("firefox --new-tab https://as.example")
        );
        assert_eq!(
            of("open-in %s now").as_deref(),
            Some("open-in https://as.example now")
        );
        assert_eq!(of(" "), None);
    }
}
