//! Storage of your own: sessions as rows of the app's table, changed only by whoever saw the latest.
//!
//! ```sh
//! cargo run --example own_storage --features test-server              # at a test server in this process
//! cargo run --example own_storage --features test-server,conformance  # and the contract checked, clause by clause
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use gatepass::{
    Client, CommitOutcome, Generation, RecordKey, SecureStorage, SignInOptions, StorageFailure, Stored,
};
use support::{Failure, Place, origin};

/// Sessions in a table of the app's database. Here the database is in memory; the comments say what it would be asked. One
/// on a disk must encrypt the column `bytes`, and make a transaction durable before it says that it is done.
#[derive(Default)]
struct TableStorage {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<RecordKey, Stored>,
    /// Never goes back, so that no generation comes twice, not even for a record that was removed meanwhile.
    last_generation: u64,
}

impl TableStorage {
    /// A lock that a panic has left behind says nothing about the rows: storage that cannot say never says "nothing".
    fn table(&self) -> Result<MutexGuard<'_, Table>, StorageFailure> {
        self.table
            .lock()
            .map_err(|_| StorageFailure::Failed("the table was left in the middle of a change".to_owned()))
    }

    /// `begin; select … where name = ?; update or insert or delete; commit`
    fn change(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: Option<&[u8]>,
    ) -> Result<CommitOutcome, StorageFailure> {
        let mut table = self.table()?;
        let current = table.rows.get(key).cloned();
        if current.as_ref().map_or(Generation::ABSENT, |row| row.generation) != expected {
            return Ok(CommitOutcome::Conflict(current));
        }
        table.last_generation += 1;
        let generation = Generation(table.last_generation);
        match bytes {
            Some(bytes) => {
                let row = Stored::new(bytes.to_vec(), generation);
                table.rows.insert(key.clone(), row);
            }
            None => drop(table.rows.remove(key)),
        }
        Ok(CommitOutcome::Committed(generation))
    }
}

impl SecureStorage for TableStorage {
    /// `select bytes, generation from sessions where name = ?`
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        Ok(self.table()?.rows.get(key).cloned())
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        self.change(key, expected, Some(bytes))
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.change(key, expected, None)
    }

    /// `select name from sessions where substr(name, 1, length(?1)) = ?1`
    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        let table = self.table()?;
        let names = table.rows.keys().filter(|key| key.as_str().starts_with(prefix));
        Ok(names.cloned().collect())
    }
}

impl fmt::Debug for TableStorage {
    /// The rows are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableStorage")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let storage = Arc::new(TableStorage::default());

    #[cfg(feature = "conformance")]
    {
        // In an app this line is a test of its own.
        let storage = Arc::clone(&storage);
        tokio::task::spawn_blocking(move || gatepass::conformance::storage(|| Arc::clone(&storage))).await?;
        println!("The storage keeps its contract.");
    }

    let place = Place::from_arguments(3)?;
    let builder = Client::builder(place.issuer(), place.client_id())
        .scopes(["openid", "profile", "offline_access"])
        .api(origin(&place.api_url())?)
        .storage(storage.clone());
    let client = place.prepare(builder).build()?;
    client.sign_in(SignInOptions::default()).await?;
    client.drain().await;
    let names = storage.list("").map_err(|failure| failure.to_string())?;
    println!(
        "The table has {} rows: what is known of the server, and the session.",
        names.len()
    );

    // The next start of the app finds the session there.
    let builder = Client::builder(place.issuer(), place.client_id()).storage(storage);
    let next = place.prepare(builder).build()?;
    println!("Found again: {}", next.session().await?.is_some());
    Ok(())
}
