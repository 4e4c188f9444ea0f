//! TLS with clients: the gateway's certificate, and the verification of theirs.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::clock::Clock;

use super::certificate::{CertificateInfo, Warning};
use super::error::Error;
use super::files::Contents;
use super::reloadable::{Built, Settings};
use super::settings::{Authorities, ClientAuth, ListenerTls, Role};
use super::{Time, provider, revocation};

/// The verifier of client certificates, and what its files say.
struct ClientVerification {
    verifier: Arc<dyn ClientCertVerifier>,
    facts: Vec<CertificateInfo>,
    warnings: Vec<Warning>,
}

impl Settings for ListenerTls {
    type Config = ServerConfig;

    fn files(&self) -> Vec<(Role, &Path)> {
        let mut files = self.own.files(Role::Certificate, Role::Key).to_vec();
        if let Some(Authorities { ca, crl }) = self.authorities() {
            files.push((Role::ClientCa, ca));
            files.extend(crl.as_deref().map(|crl| (Role::Crl, crl)));
        }
        files
    }

    fn build(&self, contents: &Contents, clock: &Clock) -> Result<Built<ServerConfig>, Error> {
        let (own, mut facts) = contents.pair(Role::Certificate, Role::Key)?;
        let client_verification = self.client_verification(contents)?;
        let time = Arc::new(Time(clock.clone()));
        let builder = ServerConfig::builder_with_details(provider(), time);
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Setup(error.to_string()))?;
        let mut config = builder
            .with_client_cert_verifier(client_verification.verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        facts.extend(client_verification.facts);
        Ok(Built {
            config: Arc::new(config),
            facts,
            warnings: client_verification.warnings,
        })
    }
}

impl ListenerTls {
    fn client_verification(&self, contents: &Contents) -> Result<ClientVerification, Error> {
        let Some(Authorities { crl, .. }) = self.authorities() else {
            return Ok(ClientVerification {
                verifier: WebPkiClientVerifier::no_client_auth(),
                facts: Vec::new(),
                warnings: Vec::new(),
            });
        };
        let (roots, cas) = contents.roots(Role::ClientCa)?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let (mut facts, mut warnings) = (cas, Vec::new());
        if crl.is_some() {
            let file = contents.file(Role::Crl)?;
            let authorities = contents.file(Role::ClientCa)?.certificates()?;
            let (lists, listed) = revocation::lists(file, &authorities)?;
            builder = builder.with_crls(lists);
            warnings = revocation::unlisted(file, &facts, &listed);
            facts.extend(listed);
        }
        if matches!(self.clients, ClientAuth::Optional(_)) {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(ClientVerification {
            verifier,
            facts,
            warnings,
        })
    }
}
