//! Opens a socket: TCP or unix, with TLS if the settings ask for it.
//!
//! redis-rs could do this, but cannot set `servername`, `family`, keepalive and TCP_NODELAY
//! together.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::TlsSettings;
use super::race::race;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Socket for T {}

/// With these two, the kernel notices a dead peer after about 30 s of silence, even if no time
/// limit of ours runs.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// If the host does not acknowledge sent bytes for this long, the kernel ends the connection.
/// Without it, one time limit would have to serve both a large packet on a slow link and a host
/// that is gone.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Bytes that wait in the kernel to be sent. The rest waits in this process, which sees whether it
/// makes progress.
pub(crate) const SEND_BUFFER: usize = 256 << 10;

const CHECK_TLS: &str =
    "check `tls.ca`, `tls.cert`, `tls.key` and `tls.servername` of the Redis client";
const WITHOUT_TLS: &str = "what comes from there is not TLS: for a server without TLS use `redis://`, or settings without `tls`";
pub(crate) const IS_IT_TLS: &str =
    "does this port take TLS? Otherwise use `redis://`, or settings without `tls`";

/// Opens sockets: over the network, or in tests to a script in place of the servers.
pub(crate) trait Dial: Send + Sync {
    /// Opens a socket to a server. The caller sets the time limit.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>>;

    /// The attempts to connect so far.
    fn attempts(&self) -> &Attempts;
}

/// Numbers the attempts to connect. Attempts that fail at the same time count as one.
///
/// If a host name has several addresses, another one comes first after each failure: an address that
/// takes connections and answers nothing would win every race.
#[derive(Debug, Default)]
pub(crate) struct Attempts(AtomicUsize);

impl Attempts {
    /// The number of an attempt that begins now.
    pub(crate) fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Called if this attempt was of no use: no server could be reached, or what took the connection
    /// did not answer.
    pub(crate) fn failed(&self, number: usize) {
        let next = number.wrapping_add(1);
        // Another one that began at the same time may have counted already.
        let _ = self.0.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Begins with another element after each failure.
    fn rotate<T>(&self, elements: &mut [T]) {
        let first = self.number().checked_rem(elements.len()).unwrap_or_default();
        elements.rotate_left(first);
    }
}

/// The network, with TLS if the settings ask for it.
pub(crate) struct Network {
    /// 4 or 6 to use only addresses of that family.
    family: u8,
    tls: Option<Tls>,
    attempts: Attempts,
}

/// The TLS configuration, and the name to expect in the certificate if it is not the host.
struct Tls {
    connector: TlsConnector,
    servername: Option<String>,
}

impl Network {
    /// Reads the certificates and keys once, so that a wrong one is an error when the engine is
    /// made.
    pub(crate) fn new(family: u8, tls: Option<&TlsSettings>) -> Result<Self> {
        let tls = tls.map(read_tls).transpose()?;
        Ok(Self { family, tls, attempts: Attempts::default() })
    }

    async fn open(&self, address: &Address) -> Result<Box<dyn Socket>> {
        let lost = |reason: String| Error::Connection { address: address.to_string(), reason };
        let failed = |e: io::Error| lost(e.to_string());
        let (host, port) = match address {
            Address::Tcp(host, port) => (host, *port),
            Address::Unix(path) => return dial_unix(path).await.map_err(failed),
        };
        let tcp = self.dial_tcp(host, port).await.map_err(failed)?;
        let Some(Tls { connector, servername }) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let refused =
            |reason: String, advice| Error::Tls { address: address.to_string(), reason, advice };
        let name = servername.as_ref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|e| refused(e.to_string(), CHECK_TLS))?;
        match connector.connect(name, tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            // The handshake fails because one side rejects the other, or because the connection
            // broke.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                let advice = if is_no_tls(&e) { WITHOUT_TLS } else { CHECK_TLS };
                Err(refused(e.to_string(), advice))
            }
            Err(e) => Err(lost(format!("{e} during the TLS handshake ({IS_IT_TLS})"))),
        }
    }

    async fn dial_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        // `family` does not apply to an IP address.
        let family = if host.parse::<IpAddr>().is_ok() { 0 } else { self.family };
        let is_wanted = |address: &SocketAddr| match family {
            4 => address.is_ipv4(),
            6 => address.is_ipv6(),
            _ => true,
        };
        let addresses = tokio::net::lookup_host((host, port)).await?.filter(is_wanted);
        let mut addresses: Vec<_> = addresses.collect();
        self.attempts.rotate(&mut addresses);
        let stream = connect_to_any(addresses.into_iter()).await?;
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL);
        let socket = socket2::SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(stream)
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>> {
        Box::pin(self.open(address))
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }
}

/// True if the peer sent something other than TLS.
fn is_no_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidMessage(_)))
}

/// Races the addresses. One of them may drop all packets without an answer, for example if a
/// firewall cuts off its network.
async fn connect_to_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    race(addresses, TcpStream::connect).await.map_err(|failures| {
        let no_address = || io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        failures.into_iter().next_back().unwrap_or_else(no_address)
    })
}

#[cfg(unix)]
async fn dial_unix(path: &str) -> io::Result<Box<dyn Socket>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn dial_unix(_path: &str) -> io::Result<Box<dyn Socket>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "unix sockets do not exist on this platform"))
}

fn read_tls(tls: &TlsSettings) -> Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("tls", e))?;
    let builder = if tls.reject_unauthorized {
        let trusted = certificates(&tls.ca)?;
        let roots = Arc::new(roots(&trusted)?);
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|e| unusable("tls.ca", e))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verified { webpki, trusted }))
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider.clone())))
    };
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|e| unusable("tls.cert", e))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|e| unusable("tls.key", e))?;
            builder.with_client_cert_resolver(Arc::new(own_certificate(chain, key, &provider)?))
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(unusable("tls.cert", "`cert` and `key` must be given together")),
    };
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Tls { connector, servername: tls.servername.clone() })
}

/// The client certificate. The JS side has checked that the key belongs to it: rustls would have to read the
/// certificate, and cannot read one of X.509 version 1.
fn own_certificate(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey> {
    let key = provider.key_provider.load_private_key(key).map_err(|e| unusable("tls.key", e))?;
    Ok(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

fn certificates(pems: &[String]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = pems.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
    certificates
        .collect::<std::result::Result<_, _>>()
        .map_err(|e: rustls::pki_types::pem::Error| unusable("tls.ca", e))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    // Node trusts many certificates, and rustls may not be able to read all of them.
    let (added, ignored) = store.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 && ignored > 0 {
        return Err(unusable("tls.ca", "no certificate in it can be read"));
    }
    Ok(store)
}

fn unusable(what: &'static str, reason: impl ToString) -> Error {
    Error::Settings { what, reason: reason.to_string() }
}

/// Verifies server certificates as Node does: it also accepts one that is itself in `tls.ca`. Many
/// set-up guides make a single self-signed certificate, marked as an authority, and use it as both.
/// webpki refuses such a certificate as a server's own.
#[derive(Debug)]
struct Verified {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let verdict = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            // webpki returns this error after it has checked the dates, and before it checks the
            // name.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(cause)))
                if is_ca_used_as_end_entity(&cause) && self.trusted.contains(end_entity) =>
            {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&certificate, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// True if webpki refused the certificate since it is marked as an authority. rustls has no variant
/// of its own for that error.
fn is_ca_used_as_end_entity(OtherError(cause): &OtherError) -> bool {
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Accepts any server certificate. Only for users who set `rejectUnauthorized: false` themselves.
///
/// Does not check the signature of the handshake either. It would prove nothing if any certificate
/// will do, and webpki cannot read all that OpenSSL can (X.509 version 1, short RSA keys).
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// A real address that drops what is sent to it, and the sockets that keep it so. On Linux a
    /// socket whose backlog is full behaves like that.
    #[cfg(target_os = "linux")]
    async fn black_hole() -> (SocketAddr, impl Sized) {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut in_line = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            in_line.push(stream.unwrap());
        }
        (address, (socket, in_line))
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_starve_the_next_one() {
        let (black_hole, _open) = black_hole().await;
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addresses = [black_hole, server.local_addr().unwrap()];
        // A system gives up an address after a far longer time.
        let connected = timeout(Duration::from_secs(20), connect_to_any(addresses.into_iter()));
        let connected = connected.await.expect("it waits for the first address").unwrap();
        assert_eq!(connected.peer_addr().unwrap(), addresses[1]);
    }

    #[test]
    fn after_each_failure_another_address_comes_first() {
        let attempts = Attempts::default();
        let order = || {
            let mut addresses = ["a", "b", "c"];
            attempts.rotate(&mut addresses);
            addresses.concat()
        };
        assert_eq!(order(), "abc");
        // The reader and the writer, both at once.
        let numbers = [attempts.number(), attempts.number()];
        numbers.into_iter().for_each(|number| attempts.failed(number));
        assert_eq!(order(), "bca");
        attempts.failed(attempts.number());
        assert_eq!(order(), "cab");
        attempts.failed(attempts.number());
        assert_eq!(order(), "abc");
        attempts.rotate::<()>(&mut []);
    }

    #[tokio::test]
    async fn without_an_address_that_takes_us_the_reason_is_said() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = server.local_addr().unwrap();
        drop(server);
        let refused = connect_to_any([address, address].into_iter()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = connect_to_any([].into_iter()).await.unwrap_err();
        assert_eq!(nowhere.to_string(), "the host name has no address");
    }
}
