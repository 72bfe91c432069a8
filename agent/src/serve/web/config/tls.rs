//! `tls_server_config`: rustls with the ring provider.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{super::WebError, file::Tls, load::in_tls, sans::Clients};

/// Sessions that can be resumed without a whole handshake.
const SESSIONS: usize = 64;

/// PEM text, from the file or inline.
pub(super) struct Material {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Why there is no [`Material`].
pub(super) enum Missing {
    File(WebError),
    Key(String),
}

impl Missing {
    pub(super) fn into_web_error(self, path: &Path) -> WebError {
        match self {
            Self::File(error) => error,
            Self::Key(reason) => WebError::Invalid { path: path.to_owned(), reason: in_tls(&reason) },
        }
    }
}

impl Material {
    /// Takes what is inline, reads the rest.
    pub(super) fn read(tls: &Tls, mut read: impl FnMut(&Path) -> Result<Vec<u8>, WebError>) -> Result<Self, Missing> {
        let mut one = |what: &str, inline: Option<&String>, file: Option<&Path>| {
            let inline = inline.filter(|text| !text.is_empty());
            match (inline, file.filter(|file| !file.as_os_str().is_empty())) {
                (Some(_), Some(_)) => Err(Missing::Key(format!("say {what} or {what}_file, not both"))),
                (Some(text), None) => Ok(Some(text.clone().into_bytes())),
                (None, Some(file)) => read(file).map(Some).map_err(Missing::File),
                (None, None) => Ok(None),
            }
        };
        let missing = |what: &str| Missing::Key(format!("{what}_file is missing: TLS needs a certificate and its key"));
        let cert = one("cert", tls.cert.as_ref(), tls.cert_file.as_deref())?.ok_or_else(|| missing("cert"))?;
        let key = one("key", tls.key.as_ref(), tls.key_file.as_deref())?.ok_or_else(|| missing("key"))?;
        let client_ca = one("client_ca", tls.client_ca.as_ref(), tls.client_ca_file.as_deref())?;
        Ok(Self { cert, key, client_ca })
    }
}

/// Everything that a handshake needs.
pub(super) fn server_config(tls: &Tls, material: &Material, http2: bool) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider(tls)?);
    let clients = clients(tls, material.client_ca.as_deref(), &provider)?;
    let chain = certificates(&material.cert).ok_or("cert_file holds no certificate in PEM form")?;
    let key = PrivateKeyDer::from_pem_slice(&material.key)
        .map_err(|_| "key_file holds no private key in PEM form without a password")?;
    let versions = versions(tls)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|_| "no cipher suite is left for these versions: name some in cipher_suites that fit, or none")?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key can't be used: {error}"))?;
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    config.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
    config.alpn_protocols.push(b"http/1.1".to_vec());
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// The suites and groups that are named, in their order.
fn provider(tls: &Tls) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if let Some(names) = tls.cipher_suites.as_ref().filter(|names| !names.is_empty()) {
        let all = std::mem::take(&mut provider.cipher_suites);
        // As in Go, TLS 1.3 chooses for itself: its suites stay, whatever is named.
        let (mut chosen, older): (Vec<_>, Vec<_>) = all.into_iter().partition(|suite| suite.tls13().is_some());
        let name = |suite: &tokio_rustls::rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        // rustls says TLS13_AES_128_GCM_SHA256 where Go says TLS_AES_128_GCM_SHA256.
        let newer: Vec<_> = chosen.iter().map(|suite| name(suite).replacen("TLS13_", "TLS_", 1)).collect();
        for wanted in names.iter().filter(|wanted| !newer.contains(wanted)) {
            let found = older.iter().find(|suite| name(suite) == *wanted).ok_or_else(|| {
                let known = older.iter().map(name).chain(newer.iter().cloned()).collect::<Vec<_>>().join(", ");
                format!("there is no cipher suite `{wanted}`: there are {known}")
            })?;
            chosen.push(*found);
        }
        provider.cipher_suites = chosen;
    }
    if let Some(names) = tls.curve_preferences.as_ref().filter(|names| !names.is_empty()) {
        let known = [("X25519", ring::kx_group::X25519), ("CurveP256", ring::kx_group::SECP256R1)]
            .into_iter()
            .chain([("CurveP384", ring::kx_group::SECP384R1)]);
        let known: Vec<_> = known.collect();
        let find = |wanted: &String| {
            let found = known.iter().find(|(name, _)| name == wanted).map(|(_, group)| *group);
            found.ok_or_else(|| format!("there is no curve `{wanted}`: there are X25519, CurveP256, CurveP384"))
        };
        provider.kx_groups = names.iter().map(find).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |what: &str, text: Option<&String>, default: u8| match text.map(String::as_str) {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(old @ ("TLS10" | "TLS11")) if what == "max_version" => {
            Err(format!("{what}: {old} is broken and not spoken here: choose TLS12 or TLS13"))
        }
        Some(old @ ("TLS10" | "TLS11")) => Err(format!("{what}: {old} is broken and not spoken here: choose TLS12")),
        Some(other) => Err(format!("{what}: there is no version `{other}`: choose TLS12 or TLS13")),
    };
    let min = number("min_version", tls.min_version.as_ref(), 12)?;
    let max = number("max_version", tls.max_version.as_ref(), 13)?;
    let versions: Vec<_> =
        [(13, &TLS13), (12, &TLS12)].into_iter().filter(|(n, _)| (min..=max).contains(n)).map(|(_, v)| v).collect();
    if versions.is_empty() {
        return Err("min_version is above max_version".to_owned());
    }
    Ok(versions)
}

/// Who may connect: Go's `ClientAuthType`s by their names.
fn clients(
    tls: &Tls,
    ca: Option<&[u8]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let kind = tls.client_auth_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("NoClientCert");
    let (asked, verified, mandatory) = match kind {
        "NoClientCert" => (false, false, false),
        "RequestClientCert" => (true, false, false),
        "RequireAnyClientCert" | "RequireClientCert" => (true, false, true),
        "VerifyClientCertIfGiven" => (true, true, false),
        "RequireAndVerifyClientCert" => (true, true, true),
        _ => {
            return Err(format!(
                "client_auth_type: there is no `{kind}`: choose NoClientCert, RequestClientCert, RequireAnyClientCert, \
                 VerifyClientCertIfGiven or RequireAndVerifyClientCert"
            ));
        }
    };
    let sans = tls.client_allowed_sans.clone();
    match (asked, verified, ca) {
        (false, _, Some(_)) => return Err(unasked("client_ca_file")),
        (false, _, None) if sans.is_some() => return Err(unasked("client_allowed_sans")),
        (false, ..) => return Ok(Arc::new(NoClientAuth)),
        (true, true, None) => return Err(format!("client_auth_type {kind} needs a client_ca_file to verify with")),
        _ => {}
    }
    let chain = match ca.filter(|_| verified) {
        None => None,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem).ok_or("client_ca_file holds no certificate in PEM form")? {
                roots.add(certificate).map_err(|error| format!("client_ca_file can't be used: {error}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|error| format!("client_ca_file can't be used: {error}"))?)
        }
    };
    Ok(Arc::new(Clients::new(chain, mandatory, sans, provider.signature_verification_algorithms)))
}

fn unasked(what: &str) -> String {
    format!("{what} without a client_auth_type that asks for certificates would let everybody in: say which")
}
