//! An authority, the server's and clients' certificates, in a folder.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

/// A folder with `server.crt`, `server.key` (for 127.0.0.1), `ca.crt`, and a web configuration.
pub(super) struct Folder {
    pub(super) dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// TLS 1.2 alone, 1.3 alone, both.
pub(super) static OLD: [&SupportedProtocolVersion; 1] = [&TLS12];
pub(super) static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a client shows and accepts.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) identity: Option<(String, String)>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    pub(super) http2: bool,
    /// Name of the only suite it offers.
    pub(super) suite: Option<&'static str>,
}

impl Default for Client {
    fn default() -> Self {
        Self { identity: None, versions: &BOTH, http2: false, suite: None }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(
    ca: &CertifiedIssuer<'static, KeyPair>,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![usage];
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

impl Folder {
    pub(super) fn new() -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap(), ca: authority() };
        folder.write("ca.crt", &folder.ca.pem());
        folder.renew();
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// The web configuration file, with this text.
    pub(super) fn config(&self, text: &str) -> PathBuf {
        self.write("web.yml", text)
    }

    /// With the certificate and more of `tls_server_config`.
    pub(super) fn tls(&self, more: &str) -> PathBuf {
        self.config(&format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}"))
    }

    /// A new server certificate with a new key.
    pub(super) fn renew(&self) -> (String, String) {
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        let (cert, key) = issue(&self.ca, vec![address], ExtendedKeyUsagePurpose::ServerAuth);
        self.write("server.crt", &cert);
        self.write("server.key", &key);
        (cert, key)
    }

    /// A client's certificate of the folder's authority.
    pub(super) fn client(&self, names: Vec<SanType>) -> Client {
        Client { identity: Some(issue(&self.ca, names, ExtendedKeyUsagePurpose::ClientAuth)), ..Client::default() }
    }

    /// A client's certificate of an authority that nobody knows.
    pub(super) fn stranger(&self) -> Client {
        let names = vec![SanType::DnsName("prometheus.example".try_into().unwrap())];
        Client { identity: Some(issue(&authority(), names, ExtendedKeyUsagePurpose::ClientAuth)), ..Client::default() }
    }

    /// A TLS connection. Whether the server takes the client's certificate shows when something is read.
    pub(super) async fn connect(&self, address: SocketAddr, client: &Client) -> std::io::Result<TlsStream<TcpStream>> {
        let mut provider = ring::default_provider();
        if let Some(suite) = client.suite {
            provider.cipher_suites.retain(|known| format!("{:?}", known.suite()) == suite);
            assert_eq!(provider.cipher_suites.len(), 1, "{suite}");
        }
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(client.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &client.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
        };
        config.alpn_protocols = if client.http2 { vec![b"h2".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), stream).await
    }
}
