//! The one writer of the catalogue and of the snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::catalogue::{Catalogue, Switched};
use crate::clock::Clock;
use crate::envelope::{Kid, Suite};
use crate::keyring::{Keys, Miss, Snapshot, Verdict};
use crate::policy::{KeyringName, Policy};

use super::loaded::{Found, Loaded};
use super::{Config, KeyringStatus, RotateError, Rotated, StartError, VersionStatus};

/// A miss reads the catalogue again at most this often: kids are the bus's to make up.
const REREAD: Duration = Duration::from_secs(1);

/// Keeps the catalogue and the snapshot in step.
pub(super) struct Driver {
    policy: Arc<Policy>,
    suites: Vec<Suite>,
    catalogue: Catalogue,
    loaded: Loaded,
    clock: Clock,
    reread: Option<Instant>,
}

/// What operators ask for.
pub(super) enum Request {
    Rotate {
        keyring: String,
        why: String,
        answer: oneshot::Sender<Result<Rotated, RotateError>>,
    },
    Status {
        answer: oneshot::Sender<Vec<KeyringStatus>>,
    },
    Stop,
}

impl Driver {
    pub(super) fn new(
        config: Config,
        catalogue: Catalogue,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let Config {
            policy,
            suites,
            workers,
        } = config;
        let loaded = Loaded::new(Arc::clone(&policy), workers);
        let mut driver = Self {
            policy,
            suites,
            catalogue,
            loaded,
            clock,
            reread: None,
        };
        driver.ensure_active()?;
        driver.loaded.load_all(&driver.catalogue)?;
        Ok(driver)
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.loaded.snapshot(&self.catalogue)
    }

    /// Serves until every handle is dropped.
    pub(super) async fn run(
        mut self,
        keys: &Keys,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Rotate { keyring, why, answer }) => self.serve_rotate((&keyring, &why), answer, keys),
                    Some(Request::Status { answer }) => give(answer, self.status()),
                    Some(Request::Stop) | None => return,
                },
                Some(miss) = misses.recv() => {
                    let verdict = self.look_for(miss.kid, keys);
                    miss.answer(verdict);
                }
            }
        }
    }

    fn serve_rotate(
        &mut self,
        (keyring, why): (&str, &str),
        answer: oneshot::Sender<Result<Rotated, RotateError>>,
        keys: &Keys,
    ) {
        let outcome = self.rotate(keyring, keys);
        log(keyring, why, &outcome);
        give(answer, outcome);
    }

    /// Prepared and loaded first, so that nothing but the write itself can fail once it is to be activated; durable, then in the
    /// snapshot: a crash between the two leaves a start that goes on with the new version.
    fn rotate(&mut self, asked: &str, keys: &Keys) -> Result<Rotated, RotateError> {
        let (keyring, suite) = self.keyring(asked)?;
        let outcome = self.switch(&keyring, suite);
        // After a failure too: a write may have taken effect although it was not confirmed.
        self.install(keys);
        let Switched {
            active,
            predecessor,
        } = outcome?;
        let label = |number: Option<u32>| {
            let record = self.catalogue.record(&keyring)?;
            let version = record.version(number?)?;
            Some((version.label.as_str().to_owned(), version.kid))
        };
        let from = label(predecessor).map(|(label, _kid)| label);
        let (to, kid) = label(Some(active)).ok_or(RotateError::Stopping)?;
        Ok(Rotated {
            keyring,
            from,
            to,
            kid,
        })
    }

    fn switch(&mut self, keyring: &KeyringName, suite: Suite) -> Result<Switched, RotateError> {
        let number = self.catalogue.prepare(keyring, suite, &self.clock)?;
        self.loaded
            .hold_prepared(&self.catalogue, keyring, number)?;
        Ok(self.catalogue.activate(keyring, number, &self.clock)?)
    }

    /// Everything that opens, and what seals, as the catalogue has it now.
    fn install(&mut self, keys: &Keys) {
        if let Err(error) = self.loaded.load_all(&self.catalogue) {
            tracing::error!(%error, "a key version that should open cannot be loaded");
        }
        keys.install(self.loaded.snapshot(&self.catalogue));
    }

    fn look_for(&mut self, kid: Kid, keys: &Keys) -> Verdict {
        if self.catalogue.find_by_kid(kid).is_none() {
            self.read_again();
        }
        match self.loaded.load(&self.catalogue, kid) {
            Ok(Found::Newly) => {
                self.install(keys);
                Verdict::Loaded
            }
            Ok(Found::Already) => Verdict::Loaded,
            Ok(Found::Nothing) => Verdict::Absent,
            Err(error) => {
                tracing::warn!(%kid, %error, "a key version cannot be loaded");
                Verdict::Absent
            }
        }
    }

    /// A record that somebody put into the directory, from another copy of it, counts from now on.
    fn read_again(&mut self) {
        let now = self.clock.instant();
        if self
            .reread
            .is_some_and(|last| now.saturating_duration_since(last) < REREAD)
        {
            return;
        }
        self.reread = Some(now);
        if let Err(error) = self.catalogue.refresh() {
            tracing::warn!(%error, "the catalogue cannot be read again; going on with what was read before");
        }
    }

    fn keyring(&self, asked: &str) -> Result<(KeyringName, Suite), RotateError> {
        let rules = self.policy.keyrings();
        let found = rules
            .iter()
            .zip(&self.suites)
            .find(|(rule, _suite)| rule.name.as_str() == asked);
        found
            .map(|(rule, suite)| (rule.name.clone(), *suite))
            .ok_or_else(|| RotateError::UnknownKeyring {
                asked: asked.to_owned(),
                known: rules
                    .iter()
                    .map(|rule| format!("`{}`", rule.name))
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    fn ensure_active(&mut self) -> Result<(), StartError> {
        let policy = Arc::clone(&self.policy);
        for (rule, suite) in policy.keyrings().iter().zip(self.suites.clone()) {
            self.catalogue
                .ensure_active(&rule.name, suite, &self.clock)
                .map_err(|source| StartError::NoActiveVersion {
                    keyring: rule.name.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    fn status(&self) -> Vec<KeyringStatus> {
        let rules = self.policy.keyrings().iter().zip(&self.suites);
        rules
            .map(|(rule, suite)| KeyringStatus {
                keyring: rule.name.clone(),
                suite: *suite,
                versions: self.versions(&rule.name),
            })
            .collect()
    }

    fn versions(&self, keyring: &KeyringName) -> Vec<VersionStatus> {
        let versions = self
            .catalogue
            .record(keyring)
            .map(|record| record.versions.as_slice())
            .unwrap_or_default();
        versions
            .iter()
            .map(|version| VersionStatus {
                number: version.number,
                label: version.label.as_str().to_owned(),
                kid: version.kid,
                suite: version.suite,
                state: version.state,
                created: version.created,
                activated: version.activated,
                sealed: self
                    .loaded
                    .get(version.kid)
                    .map(|loaded| loaded.usage.total()),
            })
            .collect()
    }
}

fn log(keyring: &str, why: &str, outcome: &Result<Rotated, RotateError>) {
    match outcome {
        Ok(rotated) => {
            let from = rotated.from.as_deref().unwrap_or("none");
            tracing::info!(keyring, why, from, to = %rotated.to, kid = %rotated.kid, "rotated");
        }
        Err(error) => tracing::error!(keyring, why, %error, "not rotated"),
    }
}

fn give<T>(answer: oneshot::Sender<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::debug!("whoever asked has gone");
    }
}
