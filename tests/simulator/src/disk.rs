//! A disk that keeps its word and not more: after a power loss a file holds what was synced, a directory the names that
//! were synced, and of everything since each change is there or not by itself.

use std::collections::BTreeMap;

use fastrand::Rng;

/// One directory on it, which is all that the records need.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What was done to the names since they were synced.
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Change {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

impl Disk {
    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.get(*self.names.get(name)?)?;
        Some(&file.bytes)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// `None` if the name is taken.
    pub(crate) fn create(&mut self, name: &str) -> Option<usize> {
        if self.names.contains_key(name) {
            return None;
        }
        let id = self.files.len();
        self.files.push(Content::default());
        self.names.insert(name.to_owned(), id);
        self.pending.push(Change::Link(name.to_owned(), id));
        Some(id)
    }

    pub(crate) fn write(&mut self, id: usize, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(id) {
            file.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn sync(&mut self, id: usize) {
        if let Some(file) = self.files.get_mut(id) {
            file.durable = Some(file.bytes.clone());
        }
    }

    /// Opens a file to be written over; `None` if there is none.
    pub(crate) fn overwrite(&mut self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Writes over what is there. `false` if it would become longer.
    pub(crate) fn write_over(&mut self, id: usize, bytes: &[u8]) -> bool {
        let room = self.files.get_mut(id).and_then(|file| {
            file.durable = None;
            file.bytes.get_mut(..bytes.len())
        });
        match room {
            Some(room) => {
                room.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    pub(crate) fn cut(&mut self, id: usize, length: usize) {
        if let Some(file) = self.files.get_mut(id) {
            file.bytes.truncate(length);
        }
    }

    /// `false` if there is no such file.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(id) = self.names.remove(from) else {
            return false;
        };
        self.names.insert(to.to_owned(), id);
        self.pending
            .push(Change::Rename(from.to_owned(), to.to_owned(), id));
        true
    }

    /// `false` if there is no such file.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let found = self.names.remove(name).is_some();
        if found {
            self.pending.push(Change::Unlink(name.to_owned()));
        }
        found
    }

    pub(crate) fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.pending.clear();
    }

    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        let mut names = std::mem::take(&mut self.durable_names);
        for change in self.pending.drain(..) {
            if rng.bool() {
                continue;
            }
            match change {
                Change::Link(name, id) => {
                    names.insert(name, id);
                }
                Change::Rename(from, to, id) => {
                    names.remove(&from);
                    names.insert(to, id);
                }
                Change::Unlink(name) => {
                    names.remove(&name);
                }
            }
        }
        for id in names.values() {
            let Some(file) = self.files.get_mut(*id) else {
                continue;
            };
            let kept = match file.durable.take() {
                Some(durable) => durable,
                None => {
                    let mut cut = file.bytes.clone();
                    match rng.u8(0..3) {
                        0 => cut.clear(),
                        1 => cut.truncate(rng.usize(0..=file.bytes.len())),
                        _ => cut.fill(0),
                    }
                    cut
                }
            };
            file.bytes.clone_from(&kept);
            file.durable = Some(kept);
        }
        self.names.clone_from(&names);
        self.durable_names = names;
    }
}
