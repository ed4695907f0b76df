//! Nothing secret lies on the disk in clear, and the keys of the files are as secret as what they seal.

use std::path::Path;
use std::sync::Arc;

use gatepass::{EncryptedFileStorage, FileKey, Secret, SignOut};

use crate::ears::{self, Ears, canaries};
use crate::world::World;

const PASSPHRASE: &str = "correct-horse-battery-staple-4711";

/// All files below a directory, in one piece.
fn contents(directory: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.extend_from_slice(path.file_name().unwrap().as_encoded_bytes());
        found.push(b'\n');
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.extend(std::fs::read(&path).unwrap());
        }
        found.push(b'\n');
    }
    found
}

fn keys() -> [(&'static str, FileKey); 3] {
    let mut bytes = [0; 32];
    gatepass::Random::fill(&crate::world::Dice, &mut bytes).unwrap();
    canaries().add("passphrase", PASSPHRASE.as_bytes());
    [
        (
            "passphrase",
            FileKey::Passphrase(Secret::new(PASSPHRASE.to_owned())),
        ),
        ("bytes", FileKey::Bytes(bytes)),
        ("beside", FileKey::BesideTheRecords),
    ]
}

#[tokio::test]
async fn nothing_secret_lies_on_the_disk_in_clear() {
    let ears = Ears::open();
    for (name, key) in keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sessions");
        ears::print("key", &key);
        let storage = EncryptedFileStorage::open(&path, key).unwrap();
        ears::print("storage", &storage);
        let world = World::over(Arc::new(storage), |server| server);
        let client = world.client();
        let session = world.sign_in(&client).await.unwrap();
        let pending = client.begin_sign_in(World::options()).await.unwrap();
        world.live(&session).await;
        world.learn();
        if name == "beside" {
            // What seals the records is loudly there; to logs and errors it is a secret like others.
            let file = std::fs::read_to_string(path.join("gatepass.key")).unwrap();
            let key = file
                .split("\"key\": \"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            let on_disk = canaries().find(&contents(&path));
            assert!(on_disk.is_empty(), "{name}: {on_disk:#?}");
            canaries().add("data key", key.trim_end_matches('=').as_bytes());
            let octets = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, key).unwrap();
            canaries().add("data key", &octets);
        } else {
            let on_disk = canaries().find(&contents(&path));
            assert!(on_disk.is_empty(), "{name}: {on_disk:#?}");
        }
        assert!(contents(&path).len() > 2_000, "there are records");

        // Wrong keys and damaged files.
        for (_, wrong) in keys() {
            ears::outcome(&EncryptedFileStorage::open(&path, wrong));
        }
        let damaged = path.join("gatepass.key");
        let whole = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &whole[..whole.len() - 9]).unwrap();
        ears::outcome(&EncryptedFileStorage::open(&path, FileKey::BesideTheRecords));
        for entry in std::fs::read_dir(&path).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|ending| ending == "record") {
                let mut bytes = std::fs::read(&file).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&file, bytes).unwrap();
            }
        }
        world.look_around(&client).await;
        ears::outcome(&session.refresh().await);
        ears::outcome(&session.sign_out(SignOut::Revoke).await);
        pending.cancel();
        ears::outcome(&pending.wait().await);
        world.finish_up(&client).await;
        ears.nothing_secret(name);
    }
}
