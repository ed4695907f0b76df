//! What every command needs: its words, its signals, its settings, the store and the clients over it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatepass::{
    AllowHttpOnLoopback, Client, ErrorKind, SecureStorage, Session, StoredSession, WaitingSignIn,
};
use serde_json::{Value, json};

use crate::args::{ClientFlags, Global, ServerFlags, Which};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::report::{Report, plain};
use crate::select::{Choice, shown_url};
use crate::settings::Settings;
use crate::store::{self, Purpose, StoreName};

/// How long work that nobody waits for may delay the end of the program.
const PARTING: Duration = Duration::from_secs(2);

/// How long a command waits for the server's keys before it goes on without a sign-in that waits for them.
const KEYS: Duration = Duration::from_secs(10);

/// What to do where none of the stored sessions can be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Whoever wants a session is told.
    Report,
    /// The caller asks again.
    Later,
    /// Signing in anew and forgetting are the ways out: they go on, with a warning.
    PassOver,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) report: Report,
    pub(crate) interrupts: Interrupts,
    global: Global,
    clients: Mutex<Vec<Client>>,
}

/// An open store and what was in it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) storage: Arc<dyn SecureStorage>,
    pub(crate) sessions: Vec<StoredSession>,
}

impl Program {
    pub(crate) fn new(report: Report, interrupts: Interrupts, global: Global) -> Self {
        Self {
            report,
            interrupts,
            global,
            clients: Mutex::default(),
        }
    }

    /// The settings in effect.
    pub(crate) async fn settings(&self, flags: &ClientFlags) -> Result<Settings, Failure> {
        let (global, flags) = (self.global.clone(), flags.clone());
        self.blocking("Reading the configuration", move || {
            Settings::load(&global, &flags)
        })
        .await
    }

    /// The settings of a command that works on a stored session, and which one is meant.
    pub(crate) async fn choice(&self, which: &Which) -> Result<(Settings, Choice), Failure> {
        self.choice_with(which, ClientFlags::default()).await
    }

    /// The same, of a command with more options.
    pub(crate) async fn choice_with(
        &self,
        which: &Which,
        more: ClientFlags,
    ) -> Result<(Settings, Choice), Failure> {
        let flags = ClientFlags {
            server: ServerFlags {
                issuer: which.issuer.clone(),
                client_id: which.client_id.clone(),
            },
            ..more
        };
        let settings = self.settings(&flags).await?;
        let choice = Choice {
            issuer: settings.issuer.clone().map(|issuer| issuer.value),
            client_id: settings.client_id.clone().map(|id| id.value),
            account: which.account.clone(),
        };
        Ok((settings, choice))
    }

    pub(crate) fn global(&self) -> &Global {
        &self.global
    }

    /// Opens the store, finishes what sign-ins of the choice wait in it for the keys of their servers, and reads what
    /// sessions it holds.
    pub(crate) async fn open_settled(&self, name: &StoreName, choice: &Choice) -> Result<Opened, Failure> {
        // Lost or not: a sign-in that waits may be there all the same.
        let mut opened = self.open(name, Purpose::Look, Lost::Later).await?;
        self.settle(&mut opened, choice).await?;
        opened.sessions = self.sessions(&opened.storage).await?;
        Ok(opened)
    }

    /// Finishes the sign-ins that wait in the store for the keys of their servers, as far as the choice goes.
    pub(crate) async fn settle(&self, opened: &mut Opened, choice: &Choice) -> Result<(), Failure> {
        let storage = Arc::clone(&opened.storage);
        let waiting = self
            .blocking("Reading the store", move || Ok(WaitingSignIn::all(&*storage)?))
            .await?;
        let mut clients: Vec<_> = waiting
            .into_iter()
            .map(|waiting| (waiting.issuer, waiting.client_id))
            .filter(|(issuer, client_id)| choice.takes_client(issuer, client_id))
            .collect();
        clients.sort();
        clients.dedup();
        for (issuer, client_id) in clients {
            let client = self.client_of(opened, &issuer, &client_id, None)?;
            let asked = tokio::time::timeout(KEYS, client.session());
            let why = match self.unless_asked("Finishing an earlier sign-in", asked).await? {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the server does not answer".to_owned(),
            };
            self.report.warn(&format!(
                "An earlier sign-in at {} is not finished yet: {}",
                plain(&shown_url(&issuer)),
                plain(&why)
            ));
        }
        Ok(())
    }

    /// Opens the store and reads what sessions it holds.
    pub(crate) async fn open(
        &self,
        name: &StoreName,
        purpose: Purpose,
        lost: Lost,
    ) -> Result<Opened, Failure> {
        let text = match name {
            StoreName::Keychain => "Waiting for the keychain, which may ask you to unlock it",
            StoreName::File(_) | StoreName::Memory => "Opening the store",
        };
        let (name, report) = (name.clone(), self.report.clone());
        self.blocking(text, move || {
            let storage = store::open(&name, purpose, &report)?;
            let sessions = match StoredSession::all(&*storage) {
                Err(error) if lost != Lost::Report && error.kind() == ErrorKind::StorageLost => {
                    if lost == Lost::PassOver {
                        report.warn(&format!("A session in the store could not be read: {error}"));
                    }
                    Vec::new()
                }
                sessions => sessions?,
            };
            Ok(Opened { storage, sessions })
        })
        .await
    }

    /// Reads what sessions a store holds now.
    pub(crate) async fn sessions(
        &self,
        storage: &Arc<dyn SecureStorage>,
    ) -> Result<Vec<StoredSession>, Failure> {
        let storage = Arc::clone(storage);
        self.blocking("Reading the store", move || Ok(StoredSession::all(&*storage)?))
            .await
    }

    /// The same, where those that nobody can read any more count as none.
    pub(crate) async fn sessions_if_any(
        &self,
        storage: &Arc<dyn SecureStorage>,
    ) -> Result<Vec<StoredSession>, Failure> {
        match self.sessions(storage).await {
            Err(Failure::Gatepass(error)) if error.kind() == ErrorKind::StorageLost => Ok(Vec::new()),
            sessions => sessions,
        }
    }

    /// The client that a stored session belongs to.
    pub(crate) fn client_of(
        &self,
        opened: &Opened,
        issuer: &str,
        client_id: &str,
        post_logout_redirect: Option<&str>,
    ) -> Result<Client, Failure> {
        let mut builder = Client::builder(issuer, client_id)
            .storage(Arc::clone(&opened.storage))
            // Whether it was one account or several: this way all are found.
            .several_accounts()
            // The command is over before a browser comes back; a port is left to a program that stays.
            .without_listening_again();
        if issuer.starts_with("http://") {
            // Its sign-in was allowed this by name. The library takes it for nothing but a loopback address.
            builder = builder.allow_http_on_loopback(AllowHttpOnLoopback);
        }
        if let Some(redirect) = post_logout_redirect {
            builder = builder.post_logout_redirect(redirect);
        }
        #[cfg(feature = "soak")]
        let builder = crate::soak::on_shared_clock(builder)?;
        let client = builder.build()?;
        self.keep(&client);
        Ok(client)
    }

    /// The session behind a stored one.
    pub(crate) async fn session_of(
        &self,
        opened: &Opened,
        stored: &StoredSession,
    ) -> Result<Session, Failure> {
        self.session_to_end(opened, stored, None).await
    }

    /// The same, with where the browser goes when the session is ended there.
    pub(crate) async fn session_to_end(
        &self,
        opened: &Opened,
        stored: &StoredSession,
        post_logout_redirect: Option<&str>,
    ) -> Result<Session, Failure> {
        let (issuer, client_id) = (&stored.issuer, &stored.client_id);
        let client = self.client_of(opened, issuer, client_id, post_logout_redirect)?;
        let sessions = self
            .unless_asked("Reading the store", client.sessions())
            .await??;
        sessions
            .into_iter()
            .find(|session| *session.id() == stored.id)
            .ok_or_else(|| Failure::not_signed_in("the session was signed out just now"))
    }

    /// Remembers a client: what it has under way gets a moment to finish at the end.
    pub(crate) fn keep(&self, client: &Client) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(client.clone());
    }

    /// Waits, with a word about it, unless the program is asked to stop.
    ///
    /// # Errors
    /// If it is.
    pub(crate) async fn unless_asked<T>(
        &self,
        text: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.interrupts.asked() => Err(Failure::interrupted()),
            done = self.report.progress().during(text, work) => Ok(done),
        }
    }

    /// Does what blocks, on a thread of its own.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        text: &str,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let work = tokio::task::spawn_blocking(work);
        match self.unless_asked(text, work).await? {
            Ok(done) => done,
            Err(_) => Err(Failure::internal("a thread of the program failed")),
        }
    }

    /// Ends the run: tells what went wrong, and gives what nobody waits for any more a moment to finish.
    pub(crate) async fn end(&self, outcome: Result<Exit, Failure>) -> Exit {
        let exit = match outcome {
            Ok(exit) => exit,
            Err(failure) => self.report.failure(&failure),
        };
        let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        let drained = async {
            for client in clients {
                client.drain().await;
            }
        };
        // At the end of its patience it goes all the same: whatever is under way is made for that.
        let patience = if exit == Exit::Cancelled {
            PARTING / 2
        } else {
            PARTING
        };
        drop(tokio::time::timeout(patience, drained).await);
        if self.report.is_broken() {
            return Exit::Internal;
        }
        exit
    }
}

/// What events say of a session, without what changes by the second.
pub(crate) fn about(stored: &StoredSession) -> Value {
    let since = stored
        .signed_in_at
        .and_then(|since| since.duration_since(std::time::UNIX_EPOCH).ok());
    json!({
        "id": stored.id.as_str(),
        "issuer": stored.issuer,
        "client_id": stored.client_id,
        "subject": stored.subject,
        "display_name": stored.display_name,
        "scope": stored.scope.join(" "),
        "signed_in_at": since.map(|since| since.as_secs()),
        "can_refresh": stored.can_refresh,
    })
}

/// These fields and those of the other object.
pub(crate) fn with(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}
