//! The web as the program sees it: hosts with names and certificates of their own, on this machine. The program reaches
//! them through a proxy, as in a company, so nothing in it is different from the field.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::support::{World, events, stderr};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a host does when it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status, header lines, body.
    Answer(u16, Vec<String>, Vec<u8>),
    /// Closes the connection.
    HangUp,
    /// Waits for the other side to give up.
    Silence,
}

impl Reply {
    pub(crate) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::of("application/json", body)
    }

    pub(crate) fn of(content_type: &str, body: impl AsRef<[u8]>) -> Self {
        let header = format!("Content-Type: {content_type}");
        Self::Answer(200, vec![header], body.as_ref().to_vec())
    }

    pub(crate) fn status(status: u16) -> Self {
        let header = "Content-Type: text/html".to_owned();
        Self::Answer(status, vec![header], b"<!doctype html>".to_vec())
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::Answer(status, vec![format!("Location: {location}")], Vec::new())
    }

    pub(crate) fn with(mut self, header: &str) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.push(header.to_owned());
        }
        self
    }
}

/// What is wrong with the certificate of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Expired,
    OtherName,
    UnknownAuthority,
    SelfSigned,
    /// Valid from tomorrow on.
    NotYet,
    /// The authority between is trusted by nobody and not sent along.
    NoIntermediate,
    /// For clients, not for servers.
    ForClients,
    /// Nothing: plain HTTP at the port for TLS.
    NoTls,
    /// Nothing either: it hangs up in the middle of the handshake.
    HangsUp,
}

type Routes = Arc<Mutex<HashMap<String, Reply>>>;

/// All hosts, and the proxy before them.
pub(crate) struct Web {
    world: World,
    address: SocketAddr,
    routes: Routes,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) fn new() -> Self {
        Self::flawed(Flaw::None)
    }

    pub(crate) fn flawed(flaw: Flaw) -> Self {
        let world = World::new();
        let authority = Authority::new("The authority of these tests");
        std::fs::write(world.path("roots.pem"), &authority.pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (routes, requests) = (Routes::default(), Arc::new(Mutex::default()));
        let serving = (Arc::clone(&routes), Arc::clone(&requests));
        let authority = Arc::new(authority);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let (routes, requests) = (Arc::clone(&serving.0), Arc::clone(&serving.1));
                let authority = Arc::clone(&authority);
                // Whatever goes wrong on one connection is what the program gets to see.
                std::thread::spawn(move || serve(connection, &authority, flaw, &routes, &requests));
            }
        });
        Self {
            world,
            address,
            routes,
            requests,
        }
    }

    /// From now on this host answers so at this path.
    pub(crate) fn at(&self, url: &str, reply: Reply) -> &Self {
        let place = url.strip_prefix("https://").unwrap().to_owned();
        self.routes.lock().unwrap().insert(place, reply);
        self
    }

    /// What was asked for, as `host/path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.gatepass(arguments);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command
            .env("HTTPS_PROXY", format!("http://{}", self.address))
            .env("SSL_CERT_FILE", self.world.path("roots.pem"))
            .env_remove("SSL_CERT_DIR");
        command
    }

    /// Runs the doctor, for programs.
    pub(crate) fn doctor(&self, arguments: &[&str]) -> Diagnosis {
        let output = self
            .command(&[&["doctor", "--json"], arguments].concat())
            .output()
            .unwrap();
        Diagnosis::of(&output)
    }
}

/// What the doctor said.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) exit: Option<i32>,
    pub(crate) findings: Vec<Value>,
    pub(crate) sum: Value,
}

impl Diagnosis {
    pub(crate) fn of(output: &Output) -> Self {
        let mut findings = events(output);
        assert!(stderr(output).is_empty(), "{}", stderr(output));
        let sum = findings.pop().expect("no event at all");
        assert_eq!(sum["event"], "doctor", "{sum}");
        assert!(findings.iter().all(|finding| finding["event"] == "finding"));
        Self {
            exit: output.status.code(),
            findings,
            sum,
        }
    }

    /// The codes, sorted, each once, without those of good things.
    pub(crate) fn codes(&self) -> Vec<&str> {
        let bad = self
            .findings
            .iter()
            .filter(|finding| finding["severity"] != "good");
        let mut codes: Vec<_> = bad.map(|finding| finding["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// The first finding of this code.
    pub(crate) fn finding(&self, code: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code} in {:?}", self.findings))
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// An authority that this one vouches for.
    fn between(&self) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "An authority between");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn serving(&self, host: &str, flaw: Flaw) -> Arc<ServerConfig> {
        let name = if flaw == Flaw::OtherName {
            "another.example"
        } else {
            host
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let end = if flaw == Flaw::Expired {
            SystemTime::now() - DAY
        } else {
            SystemTime::now() + 30 * DAY
        };
        let begin = match flaw {
            Flaw::NotYet => SystemTime::now() + DAY,
            _ => SystemTime::now() - 40 * DAY,
        };
        if flaw == Flaw::ForClients {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        }
        params.not_before = begin.into();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            Flaw::NoIntermediate => params.signed_by(&key, &self.between().issuer),
            Flaw::UnknownAuthority => params.signed_by(&key, &Self::new("Somebody else").issuer),
            _ => params.signed_by(&key, &self.issuer),
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap().der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

/// The head of a request: its lines up to the empty one.
fn head(reader: &mut impl Read) -> Option<Vec<String>> {
    let lines = BufReader::new(ByteByByte(reader)).lines();
    let lines: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    (!lines.is_empty()).then_some(lines)
}

/// So that nothing behind the head is read with it.
struct ByteByByte<'a, R>(&'a mut R);

impl<R: Read> Read for ByteByByte<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match buffer.first_mut() {
            Some(first) => self.0.read(std::slice::from_mut(first)),
            None => Ok(0),
        }
    }
}

fn serve(
    mut connection: TcpStream,
    authority: &Authority,
    flaw: Flaw,
    routes: &Routes,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    let lines = head(&mut connection)?;
    let host = lines[0].strip_prefix("CONNECT ")?.split(':').next()?.to_owned();
    let known = routes
        .lock()
        .unwrap()
        .keys()
        .any(|place| place.split('/').next() == Some(host.as_str()));
    if !known {
        return connection
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .ok();
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    match flaw {
        Flaw::HangsUp => {
            let _ = connection.read(&mut [0; 16]);
            return None;
        }
        Flaw::NoTls => {
            let _ = connection.read(&mut [0; 1024]);
            return connection
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .ok();
        }
        _ => {}
    }
    let tls = ServerConnection::new(authority.serving(&host, flaw)).ok()?;
    let mut line = StreamOwned::new(tls, connection);
    let lines = head(&mut line)?;
    let target = lines[0].split(' ').nth(1)?;
    let path = target.split('?').next()?;
    let place = format!("{host}{path}");
    requests.lock().unwrap().push(format!("{host}{target}"));
    let reply = routes
        .lock()
        .unwrap()
        .get(&place)
        .cloned()
        .unwrap_or_else(|| Reply::status(404));
    match reply {
        Reply::HangUp => {}
        Reply::Silence => {
            // Until the program has had enough.
            let _ = line.read(&mut [0; 1]);
        }
        Reply::Answer(status, headers, body) => {
            let mut text = format!(
                "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {}\r\n",
                body.len()
            );
            for header in headers {
                text.push_str(&format!("{header}\r\n"));
            }
            line.write_all(format!("{text}\r\n").as_bytes()).ok()?;
            line.write_all(&body).ok()?;
            line.conn.send_close_notify();
            line.flush().ok()?;
        }
    }
    Some(())
}
