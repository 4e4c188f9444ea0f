//! A TLS configuration that is reloaded from its files.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::clock::Clock;

use super::certificate::{self, CertificateInfo, Warning};
use super::error::Error;
use super::files::{Contents, Digest};
use super::settings::Role;

/// Settings whose files make up a TLS configuration.
pub trait Settings {
    /// The configuration of rustls.
    type Config;

    /// The files, each once.
    fn files(&self) -> Vec<(Role, &Path)>;

    /// Builds the configuration from their contents.
    ///
    /// # Errors
    /// [`Error`].
    fn build(&self, contents: &Contents, clock: &Clock) -> Result<Built<Self::Config>, Error>;
}

/// A configuration built from files.
pub struct Built<C> {
    /// For new handshakes.
    pub(super) config: Arc<C>,
    /// The certificates and revocation lists in the files.
    pub(super) facts: Vec<CertificateInfo>,
    /// Warnings that do not depend on the time.
    pub(super) warnings: Vec<Warning>,
}

/// What a reload has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The files are unchanged.
    Nothing,
    /// These have changed; new handshakes use them.
    Files(Vec<Role>),
}

/// The TLS configuration of one side. Connections keep the configuration that they began with.
pub struct ReloadableConfig<S: Settings> {
    settings: S,
    clock: Clock,
    current: ArcSwap<Current<S::Config>>,
    /// One reload at a time, so that older contents never replace newer ones.
    reloading: Mutex<()>,
}

struct Current<C> {
    built: Built<C>,
    digests: Vec<(Role, Digest)>,
}

impl<S: Settings> ReloadableConfig<S> {
    /// Reads the files. An expired certificate is used, with a [`Warning`]: a gateway must be able to start in an emergency.
    /// Blocks.
    ///
    /// # Errors
    /// [`Error`].
    pub fn load(settings: S, clock: &Clock) -> Result<Self, Error> {
        let current = Current::read(&settings, clock)?;
        Ok(Self {
            settings,
            clock: clock.clone(),
            current: ArcSwap::from_pointee(current),
            reloading: Mutex::default(),
        })
    }

    /// The settings.
    pub const fn settings(&self) -> &S {
        &self.settings
    }

    /// The configuration for a new handshake.
    #[must_use]
    pub fn config(&self) -> Arc<S::Config> {
        Arc::clone(&self.current.load().built.config)
    }

    /// The certificates and revocation lists in use.
    #[must_use]
    pub fn facts(&self) -> Vec<CertificateInfo> {
        self.current.load().built.facts.clone()
    }

    /// Warnings, as of now.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let current = self.current.load();
        let mut warnings = certificate::warnings(&current.built.facts, self.clock.wall());
        warnings.extend(current.built.warnings.iter().cloned());
        warnings
    }

    /// The expiry of each file with certificates: that of the first of our own certificates, or of the last CA.
    #[must_use]
    pub fn expiries(&self) -> Vec<(Role, SystemTime)> {
        let current = self.current.load();
        let files = self.settings.files();
        let certificates = files.iter().filter(|(role, _path)| *role != Role::Crl);
        let expiry = |(role, _path): &(Role, &Path)| {
            Some((*role, certificate::expiry(&current.built.facts, *role)?))
        };
        certificates.filter_map(expiry).collect()
    }

    /// Reads the files again; if they have changed, new handshakes use them. Blocks.
    ///
    /// # Errors
    /// [`Error`]; the configuration in use stays. A new certificate of ours that is not valid now is an error, too.
    pub fn reload(&self) -> Result<Changed, Error> {
        let _one_at_a_time = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let contents = Contents::read(&self.settings.files())?;
        let before = self.current.load_full();
        let digests = contents.digests();
        let new = digests.iter().filter(|file| !before.digests.contains(file));
        let changed: Vec<Role> = new.map(|(role, _digest)| *role).collect();
        if changed.is_empty() {
            return Ok(Changed::Nothing);
        }
        let built = self.settings.build(&contents, &self.clock)?;
        self.check_dates(&built, &changed)?;
        self.current.store(Arc::new(Current { built, digests }));
        Ok(Changed::Files(changed))
    }

    fn check_dates(&self, built: &Built<S::Config>, changed: &[Role]) -> Result<(), Error> {
        let now = self.clock.wall();
        let own = built.facts.iter().filter(|fact| {
            matches!(fact.role, Role::Certificate | Role::ServerCertificate)
                && changed.contains(&fact.role)
        });
        for fact in own {
            if let Some(not_after) = fact.not_after.filter(|_| !fact.holds_at(now)) {
                return Err(Error::OutOfDate {
                    role: fact.role,
                    path: fact.path.clone(),
                    subject: fact.subject.clone(),
                    not_before: fact.not_before,
                    not_after,
                });
            }
        }
        Ok(())
    }
}

impl<C> Current<C> {
    fn read(settings: &impl Settings<Config = C>, clock: &Clock) -> Result<Self, Error> {
        let contents = Contents::read(&settings.files())?;
        let built = settings.build(&contents, clock)?;
        let digests = contents.digests();
        Ok(Self { built, digests })
    }
}
