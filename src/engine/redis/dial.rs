//! Opens the socket: TCP or unix, with TLS on top where the settings say so.
//!
//! Done here and not by redis-rs because of `servername`, `family`, keepalive and TCP_NODELAY,
//! which it does not let us set together.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::TlsSettings;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};

/// A socket of any kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A dead peer is noticed after about 30 s of silence even when no time limit of ours runs.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// What was sent and is not acknowledged for this long was sent to a host that has gone. Without it,
/// how long a large packet may take would have to bound how long a vanished host is waited for.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Bytes that wait in the kernel to be sent. The rest waits here, where it is seen whether it goes out.
pub const SEND_BUFFER: usize = 256 << 10;

/// Opens sockets: the network, or in tests a script that plays the servers.
pub trait Dial: Send + Sync {
    /// Opens a socket to a server. The caller sets the time limit.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>>;
}

/// The network, with TLS on top where the settings say so.
pub struct Network {
    /// 4 or 6 to use only such addresses.
    family: u8,
    tls: Option<Tls>,
}

/// What TLS takes: the certificates, and the name to expect where it is not the host.
struct Tls {
    connector: TlsConnector,
    servername: Option<String>,
}

impl Network {
    /// Reads the certificates and keys once, so that a wrong one is said when the engine is made.
    pub fn new(family: u8, tls: Option<&TlsSettings>) -> Result<Self> {
        Ok(Self { family, tls: tls.map(read_tls).transpose()? })
    }

    async fn open(&self, address: &Address) -> Result<Box<dyn Socket>> {
        let failed = |e: io::Error| Error::Connection {
            address: address.to_string(),
            reason: e.to_string(),
        };
        let (host, port) = match address {
            Address::Tcp(host, port) => (host, *port),
            Address::Unix(path) => return dial_unix(path).await.map_err(failed),
        };
        let tcp = dial_tcp(host, port, self.family).await.map_err(failed)?;
        let Some(Tls { connector, servername }) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let refused = |reason: String| Error::Tls { address: address.to_string(), reason };
        let name = servername.as_ref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|e| refused(e.to_string()))?;
        let stream = connector.connect(name, tcp).await.map_err(|e| {
            // The handshake fails with the peer's or our verdict, or because the connection broke.
            if e.kind() == io::ErrorKind::InvalidData { refused(e.to_string()) } else { failed(e) }
        })?;
        Ok(Box::new(stream))
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Socket>>> {
        Box::pin(self.open(address))
    }
}

async fn dial_tcp(host: &str, port: u16, family: u8) -> io::Result<TcpStream> {
    // An address has the family that it has.
    let family = if host.parse::<IpAddr>().is_ok() { 0 } else { family };
    let addresses = tokio::net::lookup_host((host, port)).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        let wanted = match family {
            4 => address.is_ipv4(),
            6 => address.is_ipv6(),
            _ => true,
        };
        if !wanted {
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let keepalive = socket2::TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL);
                let socket = socket2::SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive)?;
                socket.set_send_buffer_size(SEND_BUFFER)?;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
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
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|e| unusable("tls.ca", e))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verified { webpki, trusted }))
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    };
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|e| unusable("tls.cert", e))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|e| unusable("tls.key", e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unusable("tls.cert", e))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(unusable("tls.cert", "`cert` and `key` must be given together")),
    };
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Tls { connector, servername: tls.servername.clone() })
}

fn certificates(pems: &[String]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = pems.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
    certificates
        .collect::<std::result::Result<_, _>>()
        .map_err(|e: rustls::pki_types::pem::Error| unusable("tls.ca", e))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    // Among the many that Node trusts there may be one that rustls cannot read.
    let (added, ignored) = store.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 && ignored > 0 {
        return Err(unusable("tls.ca", "no certificate in it can be read"));
    }
    Ok(store)
}

fn unusable(what: &'static str, reason: impl ToString) -> Error {
    Error::Settings { what, reason: reason.to_string() }
}

/// Verifies server certificates as Node does: also accepts one that is itself in `tls.ca`. Many
/// set-up guides make a single self-signed certificate, which says that it is an authority, for
/// both; webpki refuses those as a server's own.
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
            // webpki says this after it has checked the dates, and before the name.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))))
                if is_ca_used_as_end_entity(&*cause) && self.trusted.contains(end_entity) =>
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

/// rustls does not re-export webpki's error: its name is all there is.
fn is_ca_used_as_end_entity(cause: &dyn std::error::Error) -> bool {
    format!("{cause:?}").contains("CaUsedAsEndEntity")
}

/// Accepts any server certificate: only for users who set `rejectUnauthorized: false` themselves.
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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
