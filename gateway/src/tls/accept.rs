//! TLS with clients: the gateway's certificate, and the verification of theirs.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::clock::Clock;

use super::certificate::{Doubt, Fact};
use super::error::Error;
use super::live::{Built, Settings};
use super::read::Contents;
use super::settings::{Authorities, Clients, Listener, Role};
use super::{Time, provider, revocation};

/// The verifier of client certificates, and what its files say.
struct Believed {
    verifier: Arc<dyn ClientCertVerifier>,
    facts: Vec<Fact>,
    doubts: Vec<Doubt>,
}

impl Settings for Listener {
    type Config = ServerConfig;

    fn files(&self) -> Vec<(Role, &Path)> {
        let mut files = self.own.places(Role::Certificate, Role::Key).to_vec();
        if let Some(Authorities { ca, crl }) = self.authorities() {
            files.push((Role::ClientCa, ca));
            files.extend(crl.as_deref().map(|crl| (Role::Crl, crl)));
        }
        files
    }

    fn build(&self, contents: &Contents, clock: &Clock) -> Result<Built<ServerConfig>, Error> {
        let (own, mut facts) = contents.pair(Role::Certificate, Role::Key)?;
        let believed = self.believed(contents)?;
        let time = Arc::new(Time(clock.clone()));
        let builder = ServerConfig::builder_with_details(provider(), time);
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Setup(error.to_string()))?;
        let mut config = builder
            .with_client_cert_verifier(believed.verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        facts.extend(believed.facts);
        Ok(Built {
            config: Arc::new(config),
            facts,
            doubts: believed.doubts,
        })
    }
}

impl Listener {
    fn believed(&self, contents: &Contents) -> Result<Believed, Error> {
        let Some(Authorities { crl, .. }) = self.authorities() else {
            return Ok(Believed {
                verifier: WebPkiClientVerifier::no_client_auth(),
                facts: Vec::new(),
                doubts: Vec::new(),
            });
        };
        let (roots, cas) = contents.roots(Role::ClientCa)?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let (mut facts, mut doubts) = (cas, Vec::new());
        if crl.is_some() {
            let file = contents.file(Role::Crl)?;
            let authorities = contents.file(Role::ClientCa)?.certificates()?;
            let (lists, listed) = revocation::lists(file, &authorities)?;
            builder = builder.with_crls(lists);
            doubts = revocation::unlisted(file, &facts, &listed);
            facts.extend(listed);
        }
        if matches!(self.clients, Clients::Optional(_)) {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Believed {
            verifier,
            facts,
            doubts,
        })
    }
}
