//! A configuration of TLS that follows its files.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::clock::Clock;

use super::certificate::{self, Doubt, Fact};
use super::error::Error;
use super::read::{Contents, Digest};
use super::settings::Role;

/// Settings from which, and from the files that they name, a configuration of TLS is made.
pub trait Settings {
    /// What a handshake needs.
    type Config;

    /// The files, each once.
    fn files(&self) -> Vec<(Role, &Path)>;

    /// Makes the configuration of their contents.
    ///
    /// # Errors
    /// [`Error`].
    fn build(&self, contents: &Contents, clock: &Clock) -> Result<Built<Self::Config>, Error>;
}

/// What was made of files.
pub struct Built<C> {
    /// For new handshakes.
    pub(super) config: Arc<C>,
    /// What the files say.
    pub(super) facts: Vec<Fact>,
    /// What is to be said of them at any time.
    pub(super) doubts: Vec<Doubt>,
}

/// Whether a reload has found anything new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The files are as they were.
    Nothing,
    /// These have changed; new handshakes go by them.
    Files(Vec<Role>),
}

/// One half of the gateway's TLS. Connections keep the configuration that they began with.
pub struct Live<S: Settings> {
    settings: S,
    clock: Clock,
    current: ArcSwap<Current<S::Config>>,
    /// One reload at a time, so that an older reading never replaces a newer one.
    reloading: Mutex<()>,
}

struct Current<C> {
    built: Built<C>,
    digests: Vec<(Role, Digest)>,
}

impl<S: Settings> Live<S> {
    /// Reads the files. Certificates that are out of date are used, and are a [`Doubt`]: a gateway must be able to start in an
    /// emergency. Waits for the disk.
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

    /// What the configuration file says.
    pub const fn settings(&self) -> &S {
        &self.settings
    }

    /// For a handshake that begins now.
    #[must_use]
    pub fn config(&self) -> Arc<S::Config> {
        Arc::clone(&self.current.load().built.config)
    }

    /// What the files in force say.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        self.current.load().built.facts.clone()
    }

    /// What somebody should look after, as of now.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        let current = self.current.load();
        let mut doubts = certificate::doubts(&current.built.facts, self.clock.wall());
        doubts.extend(current.built.doubts.iter().cloned());
        doubts
    }

    /// For each file with certificates when it stops working: the first of our own to expire, the last of CAs.
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

    /// Reads the files again, and if they have changed, lets new handshakes go by them. Waits for the disk.
    ///
    /// # Errors
    /// [`Error`]; what was in force stays so. A new certificate of ours that is not valid now is an error here.
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
