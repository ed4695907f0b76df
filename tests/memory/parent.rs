//! Plays server and user for the child, and searches its memory.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use gatepass::test_server::TestServer;
use sha2::{Digest as _, Sha256};

use crate::child::{DIRECTORY, ISSUER, RUN};
use crate::{Found, KINDS, MARK, MARK_OCTETS, secret_at};

/// How often each kind of secret was found.
type Counts = BTreeMap<String, u64>;

/// What one life of a client left behind.
struct Remains {
    /// In blocks that were given back to the allocator.
    freed: Counts,
    /// In memory that the process has after the sign-out.
    held: Counts,
    /// The same after client and storage are dropped.
    closed: Counts,
}

struct Running {
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(run: &str, server: &TestServer, directory: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child::child", "--exact", "--ignored", "--nocapture"])
            .env(ISSUER, server.issuer())
            .env(RUN, run)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// The next thing the child says.
    fn said(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the child has ended").unwrap();
            if let Some(said) = line.strip_prefix('@') {
                return said.to_owned();
            }
        }
    }

    fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// The secrets in all memory that the child can write to: heap, stacks, statics.
    fn search(&self, data_key: &[(&str, Vec<u8>)]) -> Counts {
        let process = format!("/proc/{}", self.child.id());
        let maps = std::fs::read_to_string(format!("{process}/maps")).unwrap();
        let mut memory = std::fs::File::open(format!("{process}/mem")).unwrap();
        let mut counts = Counts::new();
        for map in maps.lines() {
            let mut fields = map.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (
                u64::from_str_radix(from, 16).unwrap(),
                u64::from_str_radix(to, 16).unwrap(),
            );
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            memory.seek(SeekFrom::Start(from)).unwrap();
            // A page that was never touched may not be there to be read.
            let read = memory.read(&mut bytes).unwrap_or_default();
            let bytes = &bytes[..read];
            let mut note = |what: String, at: usize| {
                if std::env::var_os("GATEPASS_MEMORY_TRACE").is_some() {
                    let around = &bytes[at.saturating_sub(80)..(at + 80).min(bytes.len())];
                    println!("held {what} in {map}: {:?}", String::from_utf8_lossy(around));
                }
                *counts.entry(what).or_default() += 1;
            };
            for at in 0..bytes.len() {
                match secret_at(&bytes[at..]) {
                    Some(Found::Kind(kind)) => note(KINDS[kind].to_owned(), at),
                    Some(Found::Text(number)) => note(format!("text {number}"), at),
                    Some(Found::Octets(number)) => note(format!("octets {number}"), at),
                    None => {}
                }
                for (what, form) in data_key {
                    if bytes[at..].starts_with(form) {
                        note((*what).to_owned(), at);
                    }
                }
            }
        }
        counts
    }
}

/// The octets of a draw, as the child makes them.
fn octets(number: u8) -> Vec<u8> {
    let mut octets = MARK_OCTETS.to_vec();
    octets.push(number);
    octets.resize(32, 0x5a);
    octets
}

/// Which draw became the verifier: the one whose challenge is in the URL.
fn verifier_draw(url: &str) -> u8 {
    let url = url::Url::parse(url).unwrap();
    let challenge = url
        .query_pairs()
        .find(|(name, _)| name == "code_challenge")
        .unwrap()
        .1;
    (0..64)
        .find(|number| {
            let text = BASE64URL.encode(octets(*number));
            BASE64URL.encode(Sha256::digest(text)) == *challenge
        })
        .unwrap()
}

/// Names the verifier among the random texts; state, nonce and diagnostic ids are no secrets after the sign-in.
fn named(counts: Counts, verifier: u8) -> Counts {
    let name = |what: String| match what.split_once(' ') {
        Some(("text" | "octets", number)) => (number == verifier.to_string()).then(|| {
            if what.starts_with("text") {
                "verifier".to_owned()
            } else {
                "verifier's octets".to_owned()
            }
        }),
        _ => Some(what),
    };
    counts
        .into_iter()
        .filter_map(|(what, count)| Some((name(what)?, count)))
        .collect()
}

async fn life(run: &str) -> Remains {
    let directory = tempfile::tempdir().unwrap();
    let sessions = directory.path().join("sessions");
    let server = TestServer::start().unwrap();
    let mut child = Running::start(run, &server, &sessions);
    let mut freed = Counts::new();
    let mut verifier = 0;
    loop {
        let said = child.said();
        if let Some(url) = said.strip_prefix("url ") {
            verifier = verifier_draw(url);
            let redirect = server.browser().sign_in(url, &server.users()[0]).await.unwrap();
            if redirect.starts_with("http://") {
                assert_eq!(server.browser().deliver(&redirect).await.unwrap(), 200);
                child.tell("");
            } else {
                child.tell(&redirect);
            }
        } else if let Some(found) = said.strip_prefix("freed ") {
            let (what, count) = found.split_once('=').unwrap();
            freed.insert(what.to_owned(), count.parse().unwrap());
        } else if said == "signed out" {
            break;
        }
    }
    let key_file = std::fs::read_to_string(sessions.join("gatepass.key")).unwrap();
    let mut data_key = Vec::new();
    if let Some(rest) = key_file.split("\"key\": \"").nth(1) {
        let text = rest.split('"').next().unwrap();
        data_key.push(("data key", BASE64_STANDARD.decode(text).unwrap()));
        data_key.push(("data key in base64", text.as_bytes().to_vec()));
    }
    let held = child.search(&data_key);
    child.tell("");
    assert_eq!(child.said(), "closed");
    let closed = child.search(&data_key);
    child.tell("");
    assert!(child.child.wait().unwrap().success());
    let remains = Remains {
        freed: named(freed, verifier),
        held: named(held, verifier),
        closed: named(closed, verifier),
    };
    println!("{run}: given back unwiped {:?}", remains.freed);
    println!("{run}: in memory after sign-out {:?}", remains.held);
    println!(
        "{run}: in memory after client and storage are dropped {:?}",
        remains.closed
    );
    assert!(remains.freed["blocks"] > 1_000, "the allocator was asked");
    remains
}

#[test]
fn the_marks_are_what_they_say() {
    assert_eq!(&BASE64URL.encode(MARK_OCTETS).as_bytes(), &MARK.as_slice());
    let text = BASE64URL.encode(octets(37));
    assert_eq!(secret_at(text.as_bytes()), Some(Found::Text(37)));
    assert_eq!(secret_at(&octets(37)), Some(Found::Octets(37)));
    assert_eq!(secret_at(b"gpt_rt_Abc-_123"), Some(Found::Kind(0)));
    assert_eq!(secret_at(b"gpt_rt_\0\0\0\0\0\0\0\0"), None);
    assert_eq!(secret_at(b"gp-gatepassRand"), None);
}

/// Everything is Gatepass's own: no block is given back with a secret in it, and nothing is left after sign-out.
#[tokio::test]
async fn nothing_secret_is_left_in_memory_that_is_ours() {
    for run in ["own", "beside"] {
        let Remains {
            mut freed,
            mut held,
            closed,
        } = life(run).await;
        freed.remove("blocks");
        assert_eq!(freed, Counts::new(), "{run}: given back unwiped");
        // The storage lives, and has its key.
        let keys = held.remove("data key");
        assert_eq!(
            keys.unwrap_or(u64::from(run == "beside")),
            u64::from(run == "beside")
        );
        assert_eq!(held, Counts::new(), "{run}: held after sign-out");
        assert_eq!(closed, Counts::new(), "{run}: held after all is dropped");
    }
}

/// What HTTP leaves behind with reqwest and the loopback listener. Counted, not judged: it is not Gatepass's memory.
#[tokio::test]
async fn what_http_buffers_keep_is_counted() {
    let remains = life("reqwest").await;
    for whose in [&remains.freed, &remains.held] {
        for never_sent in ["data key", "verifier's octets"] {
            let most = u64::from(never_sent == "data key" && std::ptr::eq(whose, &remains.held));
            assert!(
                whose.get(never_sent).copied().unwrap_or_default() <= most,
                "{never_sent}"
            );
        }
    }
    assert_eq!(remains.closed.get("data key"), None);
}

/// The search can find something: a copy that was given back, and one that is kept.
#[tokio::test]
async fn a_planted_copy_is_found() {
    let remains = life("planted").await;
    assert_eq!(remains.freed["access token"], 1);
    assert_eq!(remains.held["access token"], 1);
}
