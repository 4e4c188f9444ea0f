//! The records as last read: for readers, and as the writer's cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::json::{self, SeenEpochs};
use super::records::Answer;
use super::signed::{FileKind, Signer, damaged, unreadable};
use super::time::{Anchor, ClockChange, ClockState, Moment};
use super::verified::VerifiedRecord;
use super::{KeyError, LoadError, Opens, Record, Version};
use crate::audit::{Head, LoggedState, RecordRef};
use crate::clock::Clock;
use crate::custodian::Custodian;
use crate::disk::names::{CATALOGUE_KEY, CLOCK, RECORDS, SEEN};
use crate::disk::{Action, Error, Files, StateDir, read_if_present};
use crate::envelope::{Kid, VersionKey};
use crate::later::Later;
use crate::policy::KeyringName;

/// A verified reading of the catalogue. Holds no secret but the signing key. Clones share it.
#[derive(Clone)]
pub struct View {
    pub(super) dir: StateDir,
    pub(super) files: Arc<dyn Files>,
    pub(super) custodian: Arc<dyn Custodian>,
    pub(super) signer: Arc<Signer>,
    pub(super) records: BTreeMap<KeyringName, Arc<VerifiedRecord>>,
    /// The highest epoch known of every keyring, on disk or in memory: only grows.
    pub(super) seen: SeenEpochs,
    /// The last entry of the audit log about each record.
    pub(super) audited_records: BTreeMap<KeyringName, RecordRef>,
    /// How far the audit log has come, for the next write.
    pub(super) audit_head: Option<Head>,
    /// The content of `clock.json`; `None` before the first start.
    pub(super) clock_state: Option<ClockState>,
    /// From where catalogue time continues in this process; `None` in a reader.
    pub(super) anchor: Option<Anchor>,
}

impl View {
    /// The keyrings that have a record.
    pub fn keyrings(&self) -> impl Iterator<Item = &KeyringName> {
        self.records.keys()
    }

    /// A keyring's record.
    #[must_use]
    pub fn record(&self, keyring: &KeyringName) -> Option<&Record> {
        self.records.get(keyring).map(|known| &known.record)
    }

    /// The epoch and hash of a keyring's record, for the audit log.
    #[must_use]
    pub fn reference(&self, keyring: &KeyringName) -> Option<RecordRef> {
        self.records.get(keyring).map(|known| known.reference())
    }

    /// From now on a record is refused that is older than the audit log's last entry about it, or differs at the same epoch. A
    /// newer record is accepted: the log is written after the records.
    pub fn compare_with(&mut self, last: &LoggedState) {
        for record in last.records() {
            // An invalid name has no record here.
            let Ok(keyring) = record.keyring.as_str().parse::<KeyringName>() else {
                continue;
            };
            raise_epoch(&mut self.seen, &keyring, record.epoch);
            self.audited_records.insert(keyring, record.clone());
        }
    }

    /// Every version that a gateway keeps loaded: its state is [`Opens::Yes`].
    pub fn versions_that_open(&self) -> impl Iterator<Item = (&KeyringName, &Version)> {
        self.versions()
            .filter(|(_, v)| v.state.opens() == Opens::Yes)
    }

    /// Every version, keyring by keyring, oldest first.
    pub fn versions(&self) -> impl Iterator<Item = (&KeyringName, &Version)> {
        self.records
            .values()
            .map(|known| &known.record)
            .flat_map(|record| record.versions.iter().map(|v| (&record.keyring, v)))
    }

    /// The version of this kid, in any state.
    #[must_use]
    pub fn find_by_kid(&self, kid: Kid) -> Option<(&KeyringName, &Version)> {
        self.versions().find(|(_, version)| version.kid == kid)
    }

    /// The catalogue's id, in signatures and status.
    #[must_use]
    pub fn id(&self) -> &str {
        self.signer.id()
    }

    /// The state directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The custodian of the key-encryption key.
    #[must_use]
    pub fn custodian(&self) -> Arc<dyn Custodian> {
        Arc::clone(&self.custodian)
    }

    /// Has the custodian unwrap a version's secret, and derives its key. The caller checks that the state allows it. A secret that
    /// the record does not commit to is refused.
    #[must_use]
    pub fn version_key(
        &self,
        keyring: &KeyringName,
        number: u32,
    ) -> Later<'static, Result<VersionKey, KeyError>> {
        let record = self.record(keyring);
        let version = record.and_then(|record| record.version(number)).cloned();
        let (keyring, custodian) = (keyring.clone(), self.custodian());
        Box::pin(async move {
            let version = version.ok_or_else(|| KeyError::Unknown(keyring.clone(), number))?;
            unwrap_version(&*custodian, &keyring, &version).await
        })
    }

    /// Takes what the writer knows: the newer of two records.
    ///
    /// # Errors
    /// That with which the writer has answered.
    pub fn adopt<E>(&mut self, answer: Answer<E>) -> Result<(), E> {
        let Answer { records, result } = answer;
        for (keyring, known) in records {
            let epoch = known.record.epoch;
            raise_epoch(&mut self.seen, &keyring, epoch);
            if self
                .record(&keyring)
                .is_none_or(|record| record.epoch <= epoch)
            {
                self.records.insert(keyring, known);
            }
        }
        result
    }

    /// As whoever follows another writer reads it: catalogue time is that of the records.
    #[must_use]
    pub fn following(self) -> Self {
        Self {
            anchor: None,
            ..self
        }
    }

    /// Reads everything again; on an error what was read before stays.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn refresh(&mut self) -> Result<(), LoadError> {
        let (records, seen) = self.load()?;
        self.clock_state = self.load_clock()?;
        (self.records, self.seen) = (records, seen);
        Ok(())
    }

    /// Whether the records on disk are byte for byte those last read or written.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let listed = self.keyrings_on_disk();
        let known = listed.is_ok_and(|listed| listed.len() == self.records.len());
        known
            && self.load_seen().is_ok()
            && self.records.iter().all(|(keyring, known)| {
                let file = read_if_present(&*self.files, &self.record_path(keyring));
                file.is_ok_and(|file| file.is_some_and(|file| known.is_same_file(&file)))
            })
    }

    /// Now, by the wall clock and the catalogue time.
    #[must_use]
    pub fn now(&self, clock: &Clock) -> Moment {
        self.anchor(clock).now(clock)
    }

    /// The latest configured date that has passed for a keyring, even if the wall clock was set back since.
    #[must_use]
    pub fn passed_date(&self, keyring: &KeyringName) -> Option<Timestamp> {
        self.clock_state.as_ref()?.passed.get(keyring).copied()
    }

    /// Starts catalogue time in this process; returns how the clocks changed since the last one.
    pub fn start_clock(&mut self, clock: &Clock) -> ClockChange {
        let clock_state = self.clock_state.as_ref();
        let resumed = clock_state.map_or(ClockChange::Agrees, |clock_state| {
            clock_state.compare(clock)
        });
        self.anchor = Some(self.anchor(clock));
        resumed
    }

    /// The catalogue's own time as it is to be stored now.
    pub fn clock_to_save(&mut self, clock: &Clock) -> ClockState {
        let moment = self.now(clock);
        let before = self.clock_state.take();
        let (passed, audited) = before
            .map(|clock_state| (clock_state.passed, clock_state.audited))
            .unwrap_or_default();
        let clock_state = ClockState {
            moment,
            uptime: clock.uptime(),
            boot: clock.boot(),
            passed,
            audited: self.audit_head.clone().or(audited),
        };
        self.clock_state = Some(clock_state.clone());
        clock_state
    }

    /// Notes that a configured date has passed for a keyring, for good, once [`Self::clock_to_save`] is stored.
    pub fn record_passed_date(&mut self, keyring: &KeyringName, date: Timestamp, clock: &Clock) {
        let now = self.now(clock);
        let clock_state = self.clock_state.get_or_insert_with(|| ClockState {
            moment: now,
            uptime: clock.uptime(),
            boot: clock.boot(),
            passed: BTreeMap::new(),
            audited: None,
        });
        let passed = clock_state.passed.entry(keyring.clone()).or_insert(date);
        *passed = date.max(*passed);
    }

    /// Sets how far the audit log has come, for the following writes; `None` (a closed log) changes nothing.
    pub fn set_audit_head(&mut self, head: Option<Head>) {
        self.audit_head = head.or_else(|| self.audit_head.take());
    }

    /// The latest catalogue time in the records.
    fn latest_time(&self) -> Option<Timestamp> {
        let entered = self
            .versions()
            .map(|(_keyring, version)| version.monotonic_since());
        entered.max()
    }

    pub(super) fn anchor(&self, clock: &Clock) -> Anchor {
        self.anchor
            .unwrap_or_else(|| Anchor::after(self.clock_state.as_ref(), self.latest_time(), clock))
    }

    /// A view with no records, once the signing key is open.
    pub(super) fn without_records(
        dir: StateDir,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, LoadError> {
        let path = dir.join(CATALOGUE_KEY);
        let Some(content) = read_if_present(&*files, &path)? else {
            return Err(missing_signing_key(&dir, &*files));
        };
        let signer = Signer::open(&path, &content, &*custodian)?;
        Ok(Self::new(dir, files, custodian, signer))
    }

    pub(super) fn new(
        dir: StateDir,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
        signer: Signer,
    ) -> Self {
        Self {
            dir,
            files,
            custodian,
            signer: Arc::new(signer),
            records: BTreeMap::new(),
            seen: SeenEpochs::new(),
            audited_records: BTreeMap::new(),
            audit_head: None,
            clock_state: None,
            anchor: None,
        }
    }

    /// Reads `clock.json`, which older versions did not write.
    pub(super) fn load_clock(&self) -> Result<Option<ClockState>, LoadError> {
        let path = self.dir.join(CLOCK);
        let Some(file) = read_if_present(&*self.files, &path)? else {
            return Ok(None);
        };
        let payload = self.signer.verify(FileKind::Clock, &path, &file)?;
        let clock_state = json::read_clock(payload).map_err(|e| unreadable(&path, e))?;
        Ok(Some(clock_state))
    }

    /// Reads all records and checks them against `seen.json`. That is read first: a concurrent writer writes the record first, so
    /// that the records found can only be newer than the epochs read.
    pub(super) fn load(
        &self,
    ) -> Result<(BTreeMap<KeyringName, Arc<VerifiedRecord>>, SeenEpochs), LoadError> {
        let mut seen = self.load_seen()?;
        for (keyring, epoch) in &self.seen {
            raise_epoch(&mut seen, keyring, *epoch);
        }
        let mut records = BTreeMap::new();
        for keyring in self.keyrings_on_disk()? {
            if let Some(known) = self.load_record(&keyring, &seen)? {
                raise_epoch(&mut seen, &keyring, known.record.epoch);
                records.insert(keyring, known);
            }
        }
        for (keyring, epoch) in &seen {
            if !records.contains_key(keyring) {
                let (path, seen) = (self.record_path(keyring), *epoch);
                return Err(LoadError::MissingRecord(path, seen));
            }
        }
        Ok((records, seen))
    }

    pub(super) fn load_seen(&self) -> Result<SeenEpochs, LoadError> {
        let path = self.dir.join(SEEN);
        let Some(file) = read_if_present(&*self.files, &path)? else {
            return Err(LoadError::MissingSeen(path));
        };
        let payload = self.signer.verify(FileKind::Seen, &path, &file)?;
        json::read_seen(payload).map_err(|e| unreadable(&path, e))
    }

    /// Reads one record, and refuses one older than `seen`. It is verified and parsed unless the file is byte for byte the one
    /// that this process verified or wrote last.
    pub(super) fn load_record(
        &self,
        keyring: &KeyringName,
        seen: &SeenEpochs,
    ) -> Result<Option<Arc<VerifiedRecord>>, LoadError> {
        let seen = seen.get(keyring).copied().unwrap_or(0);
        let path = self.record_path(keyring);
        let Some(file) = read_if_present(&*self.files, &path)? else {
            return match seen {
                0 => Ok(None),
                seen => Err(LoadError::MissingRecord(path, seen)),
            };
        };
        let known = self.records.get(keyring);
        if let Some(known) = known.filter(|known| known.is_same_file(&file)) {
            check_not_older(&known.record, seen, &path)?;
            self.check_not_exchanged(known, &path)?;
            return Ok(Some(Arc::clone(known)));
        }
        let payload = self.signer.verify(FileKind::Record, &path, &file)?;
        let record = json::read_record(payload).map_err(|e| unreadable(&path, e))?;
        if record.keyring != *keyring {
            let what = format!("it is the record of keyring {}", record.keyring);
            return Err(damaged(&path, &what));
        }
        check_not_older(&record, seen, &path)?;
        if let Err(rule) = record.check() {
            return Err(LoadError::Invalid(path, rule));
        }
        let found = VerifiedRecord::read(record, file);
        self.check_not_exchanged(&found, &path)?;
        Ok(Some(Arc::new(found)))
    }

    /// Refuses a record that differs, at the same epoch, from the one in memory or in the audit log.
    fn check_not_exchanged(&self, found: &VerifiedRecord, path: &Path) -> Result<(), LoadError> {
        let Record { keyring, epoch, .. } = &found.record;
        let known = self.records.get(keyring);
        let is_known =
            known.is_none_or(|known| known.record.epoch != *epoch || known.has_same_bytes(found));
        let audited = self.audited_records.get(keyring);
        let is_audited =
            audited.is_none_or(|audited| audited.epoch != *epoch || *audited == found.reference());
        if is_known && is_audited {
            return Ok(());
        }
        Err(LoadError::Exchanged(path.to_owned(), *epoch))
    }

    pub(super) fn record_path(&self, keyring: &KeyringName) -> PathBuf {
        self.dir.join(RECORDS).join(format!("{keyring}.json"))
    }

    /// The keyrings that have a file. Hidden files are left-overs of a crash before the rename.
    fn keyrings_on_disk(&self) -> Result<Vec<KeyringName>, LoadError> {
        let dir = self.dir.join(RECORDS);
        let names = match self.files.names(&dir) {
            Ok(names) => names,
            // The comparison with `seen.json` notices it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::from_io(&dir, Action::List, e).into()),
        };
        names
            .iter()
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| name.strip_suffix(".json").map(|stem| (name, stem)))
            .map(|(name, stem)| {
                let odd = |e| damaged(&dir.join(name), &format!("its name: {e}"));
                stem.parse().map_err(odd)
            })
            .collect()
    }
}

/// Unwraps the secret of a version, and derives its key, to which the record must commit.
pub(super) async fn unwrap_version(
    custodian: &dyn Custodian,
    keyring: &KeyringName,
    version: &Version,
) -> Result<VersionKey, KeyError> {
    let number = version.number;
    let wrapped = version
        .wrapped
        .as_ref()
        .ok_or_else(|| KeyError::Destroyed(keyring.clone(), number))?;
    let context = context(keyring, number, &version.commitment.0);
    let unwrapped = custodian.unwrap(wrapped, &context).await;
    let root = unwrapped.map_err(|source| KeyError::Unwrap {
        keyring: keyring.clone(),
        number,
        source,
    })?;
    let key = VersionKey::derive(keyring.as_str(), number, &root);
    if key.commitment() == version.commitment {
        return Ok(key);
    }
    Err(KeyError::Commitment(keyring.clone(), number))
}

/// The context that a version's secret is wrapped with: keyring, number and commitment.
pub(super) fn context(keyring: &KeyringName, number: u32, commitment: &[u8; 32]) -> Vec<u8> {
    // The name ends at the only zero byte before the fixed-length rest.
    let name = keyring.as_str().as_bytes();
    [
        b"key version\0",
        name,
        b"\0",
        &number.to_be_bytes(),
        commitment,
    ]
    .concat()
}

fn check_not_older(record: &Record, seen: u64, path: &Path) -> Result<(), LoadError> {
    if record.epoch >= seen {
        return Ok(());
    }
    Err(LoadError::RolledBack {
        path: path.to_owned(),
        found: record.epoch,
        seen,
    })
}

pub(super) fn raise_epoch(seen: &mut SeenEpochs, keyring: &KeyringName, epoch: u64) {
    let known = seen.entry(keyring.clone()).or_default();
    *known = epoch.max(*known);
}

/// No signing key: a directory that never had one, or one that lost it.
fn missing_signing_key(dir: &StateDir, files: &dyn Files) -> LoadError {
    let records = files.names(&dir.join(RECORDS)).unwrap_or_default();
    if records.iter().any(|name| name.ends_with(".json")) {
        LoadError::NoSigningKey(dir.join(CATALOGUE_KEY))
    } else {
        LoadError::NotInitialised(dir.path().to_owned())
    }
}
