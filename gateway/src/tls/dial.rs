//! TLS with servers: the verification of their certificates, and the gateway's own.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::Clock;

use super::error::Error;
use super::files::Contents;
use super::reloadable::{Built, Settings};
use super::settings::{Role, ServerTls};
use super::{Time, provider};

impl Settings for ServerTls {
    type Config = ClientConfig;

    fn files(&self) -> Vec<(Role, &Path)> {
        let mut files = Vec::new();
        if let Some(own) = &self.own {
            files.extend(own.files(Role::ServerCertificate, Role::ServerKey));
        }
        files.extend(self.ca.as_deref().map(|ca| (Role::ServerCa, ca)));
        files
    }

    fn build(&self, contents: &Contents, clock: &Clock) -> Result<Built<ClientConfig>, Error> {
        let (roots, mut facts) = match self.ca {
            Some(_) => contents.roots(Role::ServerCa)?,
            None => (of_the_system()?, Vec::new()),
        };
        let time = Arc::new(Time(clock.clone()));
        let builder = ClientConfig::builder_with_details(provider(), time);
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Setup(error.to_string()))?;
        let builder = builder.with_root_certificates(roots);
        let mut config = if self.own.is_some() {
            let (own, said) = contents.pair(Role::ServerCertificate, Role::ServerKey)?;
            facts.extend(said);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        } else {
            builder.with_no_client_auth()
        };
        config.resumption = Resumption::disabled();
        Ok(Built {
            config: Arc::new(config),
            facts,
            warnings: Vec::new(),
        })
    }
}

impl ServerTls {
    /// The name that the certificate of the server at `host` must be valid for.
    ///
    /// # Errors
    /// When it is neither a host name nor an IP address.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
        // No certificate has the zone of an IPv6 address.
        let (host, _zone) = host.split_once('%').unwrap_or((host, ""));
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
    }
}

/// The system's trusted CAs, as far as they can be read.
fn of_the_system() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(
            || "this system has no list of CAs".to_owned(),
            ToString::to_string,
        );
        return Err(Error::NoRoots(why));
    }
    Ok(roots)
}
