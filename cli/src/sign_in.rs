//! `sign-in`: from nobody to a session that stays, or through the whole life of one.

use std::sync::Arc;
use std::time::Duration;

use gatepass::test_server::TestServer;
use gatepass::{AllowHttpOnLoopback, Client, MemoryStorage, Prompt, SecureStorage, Session, SignInOptions};
use serde_json::{Value, json};

use crate::args::SignIn;
use crate::browser::Visitor;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Lost, Opened, Program, about, with};
use crate::report::{plain, span};
use crate::select::{Choice, name, shown_url};
use crate::settings::{Settings, Source};
use crate::store::{Purpose, StoreName};
use crate::{capture, journey};

pub(crate) async fn run(program: &Program, options: &SignIn) -> Result<Exit, Failure> {
    let settings = program.settings(&options.client).await?;
    if options.headless || settings.issuer.is_none() {
        return at_test_server(program, options, settings).await;
    }
    let (Some(issuer), Some(client_id)) = (&settings.issuer, &settings.client_id) else {
        return Err(Failure::configuration(
            "client_id_missing",
            "an issuer needs a client id: --client-id, GATEPASS_CLIENT_ID, or client_id in the profile",
        ));
    };
    let (issuer, client_id) = (issuer.value.as_str(), client_id.value.as_str());
    let mut opened = open(program, options, &settings).await?;
    let here = Choice {
        issuer: Some(issuer.to_owned()),
        client_id: Some(client_id.to_owned()),
        account: None,
    };
    if !options.again {
        program.settle(&mut opened, &here).await?;
        opened.sessions = program.sessions_if_any(&opened.storage).await?;
    }
    if !options.add_account
        && !options.again
        && let Some(stored) = here.live(&opened.sessions).first()
    {
        if options.journey {
            return Err(Failure::configuration(
                "already_signed_in",
                format!(
                    "{} is signed in in this store, and the journey would end that session; --again does it all the same",
                    name(stored)
                ),
            ));
        }
        return already(program, options, stored);
    }
    let client = client(options, &settings, issuer, client_id, &opened.storage)?;
    program.keep(&client);
    let visitor = if options.no_browser {
        Visitor::Person
    } else {
        Visitor::System { fallback: None }
    };
    let mut wishes = asked(options);
    if options.add_account {
        // A prompt of one's own takes the place of the `consent` that goes with offline_access (OpenID Connect Core §11).
        let offline = settings.scope.value.iter().any(|scope| scope == "offline_access");
        let consent = offline.then_some(Prompt::Consent);
        wishes = wishes.prompt([Prompt::SelectAccount].into_iter().chain(consent));
    } else if let Some((ended, _)) = here.ended(&opened.sessions)
        && let Some(hint) = &ended.display_name
    {
        // Who was signed in wants to be again, most likely. The server takes it for what it is.
        wishes = wishes.login_hint(hint);
    }
    let session = capture::sign_in(program, &client, wishes, &visitor).await?;
    signed_in(program, &opened.storage, &session, client_id).await?;
    if options.journey {
        let api = settings.api.as_ref().map(|api| api.value.as_str());
        journey::run(program, &session, client_id, api).await?;
        return Ok(Exit::Success);
    }
    let report = &program.report;
    if settings.store.value == StoreName::Memory {
        report.warn("The store is memory: the session ends with this command.");
    } else {
        report.note(&format!(
            "Kept in {}. An access token: gatepass token",
            settings.store.value
        ));
    }
    Ok(Exit::Success)
}

/// The journey leaves nothing behind, unless it is to try a store.
async fn open(program: &Program, options: &SignIn, settings: &Settings) -> Result<Opened, Failure> {
    let named = matches!(settings.store.source, Source::Flag(_));
    let store = if options.journey && !named {
        &StoreName::Memory
    } else {
        &settings.store.value
    };
    program.open(store, Purpose::Keep, Lost::PassOver).await
}

fn already(program: &Program, options: &SignIn, stored: &gatepass::StoredSession) -> Result<Exit, Failure> {
    program.report.event(
        "already_signed_in",
        &about(stored),
        &format!(
            "{} is signed in at {} already; --again signs in anew, --add-account another user beside",
            name(stored),
            plain(&stored.issuer)
        ),
    );
    let missing: Vec<_> = options
        .client
        .scope
        .iter()
        .filter(|scope| !stored.scope.contains(scope))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        program.report.warn(&format!(
            "The session does not have the scope {}; --again asks for it.",
            plain(&missing.join(" "))
        ));
    }
    Ok(Exit::Success)
}

/// Starts a server that ends with the command, so the session does too: the whole journey.
async fn at_test_server(program: &Program, options: &SignIn, settings: Settings) -> Result<Exit, Failure> {
    if !options.headless && matches!(&settings.client_id, Some(id) if matches!(id.source, Source::Flag(_))) {
        return Err(Failure::configuration(
            "issuer_missing",
            "a client id needs an issuer: --issuer, GATEPASS_ISSUER, or issuer in the profile",
        ));
    }
    if options.add_account || options.again {
        return Err(Failure::configuration(
            "issuer_missing",
            "without an issuer there is nothing to be signed in at: name one with --issuer or --profile",
        ));
    }
    let settings = settings.for_test_server(&options.client);
    let report = &program.report;
    let server = TestServer::start().map_err(|error| {
        Failure::internal(format!(
            "the test server could not be started on 127.0.0.1: {error}"
        ))
    })?;
    report.say(&format!(
        "No issuer given: using a test authorization server at {}",
        server.issuer()
    ));
    crate::serve::users_text(&server, report);
    report.note("It keeps everything in memory and ends with this command, so this is the whole journey, sign-out included.\nUse --issuer for a real server.\n");
    let storage: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
    let (issuer, client_id) = (server.issuer(), server.client_id());
    let client = client(options, &settings, issuer, client_id, &storage)?;
    program.keep(&client);
    let visitor = if options.headless {
        Visitor::Program(server.clone())
    } else if options.no_browser {
        Visitor::Person
    } else {
        Visitor::System {
            fallback: Some(server.clone()),
        }
    };
    let session = capture::sign_in(program, &client, asked(options), &visitor).await?;
    signed_in(program, &storage, &session, client_id).await?;
    let api = settings.api.as_ref().map(|api| api.value.as_str());
    journey::run(program, &session, client_id, api).await?;
    Ok(Exit::Success)
}

fn client(
    options: &SignIn,
    settings: &Settings,
    issuer: &str,
    client_id: &str,
    storage: &Arc<dyn SecureStorage>,
) -> Result<Client, Failure> {
    let mut builder = Client::builder(issuer, client_id)
        .storage(Arc::clone(storage))
        .redirect(&settings.redirect.value)
        .scopes(&settings.scope.value)
        .sign_in_timeout(options.timeout);
    if let Some(alias) = &options.redirect_alias {
        builder = builder.redirect_alias(alias);
    }
    // The test server has no issuer setting, and is on this machine.
    if settings.allow_http_on_loopback.value || settings.issuer.is_none() {
        builder = builder.allow_http_on_loopback(AllowHttpOnLoopback);
    }
    if settings.scope.value.iter().any(|scope| scope == "openid") {
        builder = builder.several_accounts();
    } else if options.add_account {
        return Err(Failure::configuration(
            "add_account_without_openid",
            "accounts are told apart by their ID tokens: --add-account needs the scope openid",
        ));
    }
    if let Some(api) = &settings.api {
        // The token goes to the origin of the API; a URL that is none is told by the builder.
        let origin = match url::Url::parse(&api.value) {
            Ok(url) if url.username().is_empty() && url.password().is_none() => {
                url.origin().ascii_serialization()
            }
            // The builder's own words would repeat what is before the host.
            _ => {
                return Err(Failure::configuration(
                    "api_origin",
                    format!(
                        "the API {} is no URL, or has user information before the host",
                        plain(&shown_url(&api.value))
                    ),
                ));
            }
        };
        builder = builder.api(origin);
    }
    #[cfg(feature = "soak")]
    let builder = crate::soak::on_shared_clock(builder)?;
    Ok(builder.build()?)
}

/// Says who has signed in.
async fn signed_in(
    program: &Program,
    storage: &Arc<dyn SecureStorage>,
    session: &Session,
    client_id: &str,
) -> Result<(), Failure> {
    let left = session.expires_in();
    let subject = session.claims().map(gatepass::Claims::subject);
    let scope = session.scope().join(" ");
    let fields = json!({ "expires_in": left.map(|left| left.as_secs()) });
    // What the store says of it, as every other command will.
    let sessions = program.sessions_if_any(storage).await?;
    let stored = sessions.iter().find(|stored| stored.id == *session.id());
    let about = stored.map_or_else(|| plainly(session, client_id), about);
    let who = stored.map_or_else(|| plain(subject.unwrap_or("somebody")), name);
    let text = format!(
        "Signed in as {who} at {}\n  scope {}; access token valid for {}",
        session.issuer(),
        plain(&scope),
        left.map_or_else(|| "an unknown time".to_owned(), |left: Duration| span(left)),
    );
    program.report.event("signed_in", &with(about, fields), &text);
    if stored.is_some_and(|stored| !stored.can_refresh) {
        program.report.note(
            "The server gave no refresh token: the session ends with its access token (is offline_access allowed?)",
        );
    }
    Ok(())
}

/// What the session itself can say, should it have been signed out elsewhere just now.
fn plainly(session: &Session, client_id: &str) -> Value {
    json!({
        "id": session.id().as_str(), "issuer": session.issuer(), "client_id": client_id,
        "subject": session.claims().map(gatepass::Claims::subject), "display_name": null,
        "scope": session.scope().join(" "), "signed_in_at": null, "can_refresh": null,
    })
}

/// What the options of the command ask the server for.
fn asked(options: &SignIn) -> SignInOptions {
    let resources = options.resource.iter();
    resources.fold(SignInOptions::default(), |wishes, uri| wishes.resource(uri))
}
