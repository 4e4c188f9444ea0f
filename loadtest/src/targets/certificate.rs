//! A certificate for the server's own TLS, and a client configuration that trusts it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore};

use crate::error::RunError;

/// A certificate and its key, in files.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The client configuration that trusts it.
    pub(super) client: Arc<ClientConfig>,
}

impl Certificate {
    /// A new one, signed by itself, for 127.0.0.1.
    pub(super) fn new(folder: &Path) -> Result<Self, RunError> {
        let failed = |why: &dyn std::error::Error| RunError::Limit(format!("a certificate: {why}"));
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut params = CertificateParams::default();
        params
            .subject_alt_names
            .push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        let made = params.self_signed(&key).map_err(|error| failed(&error))?;
        let mut roots = RootCertStore::empty();
        roots
            .add(made.der().clone())
            .map_err(|error| failed(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text)
                .map(|()| path)
                .map_err(|source| RunError::io("writing a certificate", source))
        };
        Ok(Self {
            certificate: file("server.pem", made.pem())?,
            key: file("server.key", key.serialize_pem())?,
            client: Arc::new(client),
        })
    }
}
