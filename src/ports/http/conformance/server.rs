//! The servers of the suite: each reads requests and leaves it to a function what to do about them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::{HttpRequest, Method, Outcome, PATIENCE, Url, Zeroizing, ensure, fmt};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// A name that certificates are made for as well; RFC 6761 §6.2 keeps it from anybody's use.
pub(crate) const NAME: &str = "login.gatepass.test";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The root certificate of a suite, and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// What is wrong with a certificate, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    SelfSigned,
    UnknownRoot,
    OtherHost,
    Expired,
    NotYetValid,
}

/// A certificate with its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    // Key generation fails only where the machine has no randomness, and no test helps there.
    #[allow(clippy::expect_used)]
    pub(crate) fn new() -> Self {
        Self::make("Gatepass conformance suite").expect("a root certificate")
    }

    fn make(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        })
    }

    pub(crate) fn root_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn root_der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn identity(&self, flaw: Flaw) -> Outcome<Identity> {
        let names = if flaw == Flaw::OtherHost {
            vec!["other.example".to_owned()]
        } else {
            ["localhost", "127.0.0.1", NAME].map(str::to_owned).to_vec()
        };
        let mut params = CertificateParams::new(names)?;
        params.use_authority_key_identifier_extension = flaw != Flaw::SelfSigned;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let now = SystemTime::now();
        let (from, to) = match flaw {
            Flaw::Expired => (now - YEAR, now - DAY),
            Flaw::NotYetValid => (now + DAY, now + YEAR),
            _ => (now - DAY, now + 30 * DAY),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        let key = KeyPair::generate()?;
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key)?,
            Flaw::UnknownRoot => params.signed_by(&key, &Self::make("Somebody else")?.issuer)?,
            _ => params.signed_by(&key, &self.issuer)?,
        };
        Ok(Identity {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der().into(),
        })
    }
}

impl Identity {
    /// Certificate and key, for a server of somebody else's.
    #[cfg(all(test, feature = "http"))]
    pub(crate) fn pem(&self) -> (String, String) {
        let armour = |label: &str, der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        let certificates = self.chain.iter().map(|der| armour("CERTIFICATE", der));
        (
            certificates.collect(),
            armour("PRIVATE KEY", self.key.secret_pkcs8_der()),
        )
    }

    /// A TLS server of this identity.
    pub(crate) fn serve(
        self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Outcome<Tls> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key.into())?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Tls(Arc::new(config)))
    }
}

/// How a TLS server is set up.
pub(crate) struct Tls(Arc<ServerConfig>);

/// One connection of a client.
pub(crate) struct Line {
    tcp: TcpStream,
    tls: Option<Box<StreamOwned<ServerConnection, TcpStream>>>,
}

impl Line {
    fn open(tcp: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        // No answer waits for a delayed acknowledgement.
        tcp.set_nodelay(true)?;
        let tls = match tls {
            None => None,
            Some(Tls(config)) => {
                let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let mut socket = tcp.try_clone()?;
                while connection.is_handshaking() {
                    // On a failed handshake the alert is still to be written.
                    let result = connection.complete_io(&mut socket);
                    if let Err(error) = result {
                        drop(connection.complete_io(&mut socket));
                        return Err(error);
                    }
                }
                Some(Box::new(StreamOwned::new(connection, socket)))
            }
        };
        Ok(Self { tcp, tls })
    }

    /// What was agreed on in the handshake.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.conn.alpn_protocol()
    }

    pub(crate) fn hang_up(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.conn.send_close_notify();
            drop(tls.flush());
        }
        drop(self.tcp.shutdown(Shutdown::Both));
    }

    /// Waits for a byte and leaves it there. For bare connections.
    pub(crate) fn await_the_first_byte(&self) -> bool {
        self.tcp.peek(&mut [0]).is_ok_and(|length| length > 0)
    }

    /// Reads a request up to the last byte of its body, waits for that one, and leaves it there.
    pub(crate) fn read_all_but_one_byte(&mut self) -> bool {
        let length = |line: &mut Self| read_head(line).ok().flatten().map(|(_, length)| length);
        let Some(length) = length(self) else {
            return false;
        };
        let mut most = vec![0; length.saturating_sub(1)];
        self.read_exact(&mut most).is_ok() && self.await_the_first_byte()
    }

    /// Waits until the other side hangs up.
    pub(crate) fn wait_for_the_end(&mut self) {
        let mut buffer = [0; 4096];
        while self.read(&mut buffer).is_ok_and(|length| length > 0) {}
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // A transport that has hung up has decided already.
        drop(self.write_all(bytes.as_ref()).and_then(|()| self.flush()));
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(buffer),
            None => self.tcp.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(bytes),
            None => self.tcp.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(),
            None => self.tcp.flush(),
        }
    }
}

/// What a server saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Sight>>);

#[derive(Debug, Default)]
struct Sight {
    requests: Vec<String>,
    connections: usize,
    server_names: Vec<Option<String>>,
    versions: Vec<Option<rustls::ProtocolVersion>>,
    without_http2: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Sight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and gives its number, from 1.
    pub(crate) fn request(&self, text: String) -> usize {
        let mut sight = self.lock();
        sight.requests.push(text);
        sight.requests.len()
    }

    /// Notes that the client did not choose HTTP/2 although it could have.
    pub(crate) fn without_http2(&self) {
        self.lock().without_http2 = true;
    }

    fn connection(&self, line: &Line) {
        let mut sight = self.lock();
        sight.connections += 1;
        if let Some(tls) = &line.tls {
            sight.server_names.push(tls.conn.server_name().map(str::to_owned));
            sight.versions.push(tls.conn.protocol_version());
        }
    }
}

/// A server on 127.0.0.1.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Seen,
}

impl Server {
    /// `behave` gets the number of the request at this server, from 1, and its connection.
    pub(crate) fn start(behave: impl Fn(usize, &mut Line) + Send + Sync + 'static) -> Outcome<Self> {
        Self::over(None, behave)
    }

    pub(crate) fn over(
        tls: Option<Tls>,
        behave: impl Fn(usize, &mut Line) + Send + Sync + 'static,
    ) -> Outcome<Self> {
        Self::lines(tls, move |line, seen| {
            while let Ok(Some(request)) = read_request(line) {
                let number = seen.request(request);
                behave(number, line);
            }
        })
    }

    pub(crate) fn answering(answer: impl Into<String>) -> Outcome<Self> {
        let answer = answer.into();
        Self::start(move |_, line| line.say(&answer))
    }

    /// `serve` gets each connection, after the TLS handshake if there is one.
    pub(crate) fn lines(
        tls: Option<Tls>,
        serve: impl Fn(&mut Line, &Seen) + Send + Sync + 'static,
    ) -> Outcome<Self> {
        let seen = Seen::default();
        let noted = seen.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = accept(move |tcp| {
            if let Ok(mut line) = Line::open(tcp, tls.as_ref()) {
                noted.connection(&line);
                serve(&mut line, &noted);
            }
        })?;
        Ok(Self {
            address,
            scheme,
            seen,
        })
    }

    /// `serve` gets each bare connection; requests to this server are for https.
    pub(crate) fn bare(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Outcome<Self> {
        Ok(Self {
            address: accept(serve)?,
            scheme: "https",
            seen: Seen::default(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().connections
    }

    pub(crate) fn server_names(&self) -> Vec<Option<String>> {
        self.seen.lock().server_names.clone()
    }

    pub(crate) fn versions(&self) -> Vec<Option<rustls::ProtocolVersion>> {
        self.seen.lock().versions.clone()
    }

    pub(crate) fn is_without_http2(&self) -> bool {
        self.seen.lock().without_http2
    }

    /// Asserts how many requests came, after all that can have come has been read.
    pub(crate) fn saw(&self, count: usize, case: &str) -> Outcome {
        self.settle()?;
        let requests = self.requests().len();
        ensure(
            requests == count,
            format!("{case}: {count} request(s) at the server are right, but {requests} came"),
        )
    }

    /// A connection of our own, answered by hanging up: what arrived before it has been accepted before it.
    pub(crate) fn settle(&self) -> Outcome {
        let mut probe = TcpStream::connect(self.address)?;
        // Errors are an end as well: some servers hang up on the probe at once.
        drop(probe.write_all(b"\n"));
        drop(probe.shutdown(Shutdown::Write));
        drop(probe.read_to_end(&mut Vec::new()));
        Ok(())
    }

    pub(crate) fn get(&self, target: &str) -> Outcome<HttpRequest> {
        let url = Url::parse(&format!("{}://{}{target}", self.scheme, self.address))?;
        let mut request = HttpRequest::new(Method::GET, url);
        request.timeout = PATIENCE;
        Ok(request)
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Outcome<HttpRequest> {
        Ok(HttpRequest {
            method: Method::POST,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            ..self.get(target)?
        })
    }

    /// A refresh with a secret in every place that has one.
    pub(crate) fn grant(&self) -> Outcome<HttpRequest> {
        let mut request = self.post("/token?q=secret", "refresh_token=secret")?;
        let mut value = ::http::HeaderValue::from_static("Basic secret");
        value.set_sensitive(true);
        request.headers.insert("authorization", value);
        Ok(request)
    }
}

/// Serves each connection on a thread of its own, for as long as the program runs.
fn accept(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// One HTTP/1.1 request with its body; `None` at the end of the connection.
fn read_request(line: &mut Line) -> io::Result<Option<String>> {
    let Some((mut read, length)) = read_head(line)? else {
        return Ok(None);
    };
    let mut body = vec![0; length];
    line.read_exact(&mut body)?;
    read.extend_from_slice(&body);
    Ok(Some(String::from_utf8_lossy(&read).into_owned()))
}

/// The head of a request, and the length of its body.
fn read_head(line: &mut Line) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if line.read(&mut byte)? == 0 {
            return Ok(None);
        }
        read.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(Ok(0), |value| value.trim().parse())
        .map_err(io::Error::other)?;
    Ok(Some((read, length)))
}
