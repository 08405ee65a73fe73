//! TLS to a proxy of the host side.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::link::Link;

/// Certificates that are trusted, in DER.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates(Vec<Vec<u8>>);

impl Certificates {
    /// Those of the system, and of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[must_use]
    pub fn of_the_host() -> Certificates {
        let found = rustls_native_certs::load_native_certs().certs;
        Certificates(found.iter().map(|certificate| certificate.as_ref().to_vec()).collect())
    }
}

/// The certificates that are trusted, read once.
pub(in crate::proxy) struct Trust(TlsConnector);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// These certificates.
    pub(in crate::proxy) fn of(certificates: &Certificates) -> Option<Trust> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.0.iter().map(|bytes| bytes.as_slice().into()));
        Trust::new(roots)
    }

    fn new(roots: RootCertStore) -> Option<Trust> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Some(Trust(TlsConnector::from(Arc::new(config))))
    }

    /// Speaks TLS with a proxy, whose certificate must be for its name.
    pub(super) async fn secure(&self, stream: TcpStream, name: &str) -> io::Result<Link> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Link::Secure(Box::new(self.0.connect(name, stream).await?)))
    }
}
