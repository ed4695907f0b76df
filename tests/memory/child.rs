//! The process whose memory is looked at: a whole session, at the server of the parent.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use gatepass::{
    AllowHttpOnLoopback, Client, EncryptedFileStorage, FileKey, Random, RandomFailure, Session,
    SignInOptions, SignOut,
};
use zeroize::Zeroizing;

use crate::plain_http::PlainHttp;
use crate::{APP_KEY, MARK_OCTETS, allocator};

pub(crate) const ISSUER: &str = "GATEPASS_MEMORY_ISSUER";
pub(crate) const RUN: &str = "GATEPASS_MEMORY_RUN";
pub(crate) const DIRECTORY: &str = "GATEPASS_MEMORY_DIRECTORY";
/// Set by hand to learn where a secret is given back: prints a backtrace for each.
const TRACE: &str = "GATEPASS_MEMORY_TRACE";

/// Octets that can be told from all others.
#[derive(Debug)]
struct Marked;

impl Random for Marked {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        static DRAWS: AtomicU8 = AtomicU8::new(0);
        // Several texts may be made of one draw.
        for buffer in buffer.chunks_mut(32) {
            buffer.fill(0x5a);
            let number = DRAWS.fetch_add(1, Ordering::SeqCst);
            for (to, from) in buffer.iter_mut().zip(MARK_OCTETS.iter().chain([&number])) {
                *to = *from;
            }
        }
        Ok(())
    }
}

/// Waits for a line of the parent. It holds a code, so no buffer of the standard library sees it.
fn line() -> Zeroizing<Vec<u8>> {
    let mut input = std::fs::File::open("/dev/stdin").unwrap();
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = [0];
    while input.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        assert!(line.len() < 4096);
        line.push(byte[0]);
    }
    line
}

fn say(what: &str) {
    println!("\n@{what}");
}

#[tokio::test]
#[ignore = "started by the tests of parent.rs, in a process of its own"]
async fn child() {
    let Ok(issuer) = std::env::var(ISSUER) else { return };
    let run = std::env::var(RUN).unwrap();
    allocator::watch(std::env::var_os(TRACE).is_some());
    let storage = open_storage(&run);
    scrub_stack();
    let builder = Client::builder(issuer.as_str(), "gatepass-test")
        .scopes(["openid", "profile", "offline_access"])
        .api(issuer.as_str())
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .storage(storage.clone())
        .random(Arc::new(Marked));
    let client = match run.as_str() {
        "reqwest" => builder,
        _ => builder
            .redirect("com.example.app:/callback")
            .http_transport(Arc::new(PlainHttp)),
    };
    let client = client.build().unwrap();
    {
        let session = sign_in(&client).await;
        let api = format!("{issuer}/api/me");
        for _ in 0..3 {
            assert_eq!(session.http().get(&api).send().await.unwrap().status(), 200);
            session.userinfo().await.unwrap();
            session.refresh().await.unwrap();
        }
        if run == "planted" {
            let token = session.access_token().await.unwrap();
            drop(token.expose().to_owned());
            let kept: &'static str = token.expose().to_owned().leak();
            say(&format!("kept {}", kept.len()));
        }
        session.sign_out(SignOut::Revoke).await.unwrap();
    }
    client.drain().await;
    for (what, count) in allocator::report() {
        say(&format!("freed {what}={count}"));
    }
    say("signed out");
    drop(line());
    drop((client, storage));
    say("closed");
    drop(line());
}

/// A key that is handed on by value leaves copies on the stack of whoever made it: here.
#[inline(never)]
fn open_storage(run: &str) -> Arc<EncryptedFileStorage> {
    let key = match run {
        "beside" | "reqwest" => FileKey::BesideTheRecords,
        _ => FileKey::Bytes(APP_KEY),
    };
    Arc::new(EncryptedFileStorage::open(std::env::var(DIRECTORY).unwrap(), key).unwrap())
}

#[inline(never)]
fn scrub_stack() {
    let mut below = [0_u8; 64 * 1024];
    zeroize::Zeroize::zeroize(&mut below);
    std::hint::black_box(&below);
}

async fn sign_in(client: &Client) -> Session {
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    say(&format!("url {}", pending.authorization_url()));
    let redirect = line();
    if redirect.is_empty() {
        // The parent has brought it to the loopback listener.
        return pending.wait().await.unwrap();
    }
    let redirect = std::str::from_utf8(&redirect).unwrap();
    client.resume_sign_in(redirect).await.unwrap()
}
