//! The one writer of the records.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::json::{self, RecordText};
use super::records::{Answer, RecordChange, Remember};
use super::signed::{FileKind, Signer};
use super::time::ClockState;
use super::verified::VerifiedRecord;
use super::view::{View, raise_epoch};
use super::{CreateError, Invalid, LoadError, Record, SetError, Version};
use crate::audit::LoggedState;
use crate::custodian::Custodian;
use crate::disk::names::{CATALOGUE_KEY, CLOCK, NEW_CATALOGUE_KEY, RECORDS, SEEN};
use crate::disk::{self, Action, Error, Files, Lock, Real, StateDir};
use crate::policy::KeyringName;

/// The catalogue, open for writing; holds the state directory's lock. Dereferences to its [`View`] for reading.
pub struct Catalogue {
    pub(super) view: View,
    _lock: Lock,
}

impl Catalogue {
    /// Creates an empty catalogue; continues an interrupted attempt.
    ///
    /// # Errors
    /// [`CreateError`]; a catalogue that exists is not touched.
    pub fn create(lock: Lock, custodian: Arc<dyn Custodian>) -> Result<Self, CreateError> {
        Self::create_on(lock, Arc::new(Real), custodian)
    }

    /// Opens a catalogue for writing.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open(lock: Lock, custodian: Arc<dyn Custodian>) -> Result<Self, LoadError> {
        Self::open_on(lock, Arc::new(Real), custodian)
    }

    /// Opens it with its signing key only, so that [`Self::compare_with`] can come before [`Self::refresh`] reads the records.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open_without_records(
        lock: Lock,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, LoadError> {
        let view = View::without_records(lock.dir().clone(), Arc::new(Real), custodian)?;
        Ok(Self { view, _lock: lock })
    }

    /// See [`View::compare_with`].
    pub fn compare_with(&mut self, last: &LoggedState) {
        self.view.compare_with(last);
    }

    /// Reads a catalogue without its lock, which another process may hold.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open_read_only(dir: StateDir, custodian: Arc<dyn Custodian>) -> Result<View, LoadError> {
        Self::open_read_only_on(dir, Arc::new(Real), custodian)
    }

    /// Whether the directory holds a complete catalogue.
    #[must_use]
    pub fn exists(dir: &StateDir) -> bool {
        std::fs::symlink_metadata(dir.join(CATALOGUE_KEY)).is_ok()
    }

    /// Reads everything again, as after an error, and saves new epochs.
    ///
    /// # Errors
    /// [`LoadError`]; what was read before stays, or new epochs are known and not saved.
    pub fn refresh(&mut self) -> Result<(), LoadError> {
        // A rename whose write failed later becomes durable before it is acted on.
        sync(&*self.view.files, &self.view.dir.join(RECORDS))?;
        let (records, seen) = self.view.load()?;
        if self.view.clock_state.is_none() {
            self.view.clock_state = self.view.load_clock()?;
        }
        (self.view.records, self.view.seen) = (records, seen);
        let remembered = self.view.load_seen()?;
        if remembered != self.view.seen {
            self.view.write_seen()?;
        }
        Ok(())
    }

    /// The same for one keyring, whatever is wrong with others.
    ///
    /// # Errors
    /// [`LoadError`]; what was read before stays.
    pub fn refresh_one(&mut self, keyring: &KeyringName) -> Result<(), LoadError> {
        sync(&*self.view.files, &self.view.dir.join(RECORDS))?;
        self.reload_record(keyring).map(drop)
    }

    /// Changes a record, see [`Records::set`](super::Records::set).
    pub fn apply(&mut self, change: RecordChange) -> Answer<SetError> {
        let result = self.set(change).map(drop);
        self.answer(result)
    }

    /// Reads again, see [`Records::read`](super::Records::read).
    pub fn read(&mut self, which: Option<KeyringName>) -> Answer<LoadError> {
        let result = match which {
            Some(keyring) => self.refresh_one(&keyring),
            None => self.refresh(),
        };
        self.answer(result)
    }

    fn answer<E>(&self, result: Result<(), E>) -> Answer<E> {
        let records = self.view.records.clone();
        Answer { records, result }
    }

    /// Replaces the record of a keyring, durably, if its epoch is the expected one (0: there is none yet); the epoch grows by one.
    ///
    /// Steps: read what is on disk and compare; check the rules; write and fsync a sibling, rename it, fsync the directory; read
    /// it back; remember the epoch in `seen.json` in the same way.
    ///
    /// # Errors
    /// [`SetError`]. After [`SetError::Disk`] either record may be on disk; calling again or [`Self::refresh`] tells which.
    pub(super) fn set(&mut self, change: RecordChange) -> Result<&Record, SetError> {
        let RecordChange {
            expected,
            mut record,
            remember,
            proven,
        } = change;
        let keyring = record.keyring.clone();
        let old = self.reload_record(&keyring)?;
        if old.record.epoch != expected {
            return Err(SetError::Conflict {
                keyring,
                expected,
                found: old.record.epoch,
            });
        }
        // After 2^64 writes the epoch would stop growing and the next write would conflict, which is safe.
        record.epoch = expected.saturating_add(1);
        self.check(&old.record, &record, proven)?;
        let path = self.view.record_path(&keyring);
        let RecordText { payload, ranges } = json::write_record(&record, &old)?;
        let bytes = self.view.signer.sign(FileKind::Record, payload);
        disk::replace(&*self.view.files, &path, &bytes)?;
        if disk::read_if_present(&*self.view.files, &path)?.as_ref() != Some(&bytes) {
            return Err(SetError::ReadBack(path));
        }
        raise_epoch(&mut self.view.seen, &keyring, record.epoch);
        if remember == Remember::Now {
            self.view.write_seen()?;
        }
        let known = Arc::new(VerifiedRecord::written(record, bytes, ranges));
        let entry = self.view.records.entry(keyring).insert_entry(known);
        Ok(&entry.into_mut().record)
    }

    /// Writes `clock.json`.
    ///
    /// # Errors
    /// [`Error`]; after a reboot catalogue time continues from the last file that was written.
    pub fn write_clock(&self, state: &ClockState) -> Result<(), Error> {
        let path = self.view.dir.join(CLOCK);
        let payload =
            json::write_clock(state).map_err(|e| Error::from_io(&path, Action::Write, e.into()))?;
        let bytes = self.view.signer.sign(FileKind::Clock, payload);
        disk::replace(&*self.view.files, &path, &bytes)
    }

    /// Writes `seen.json` again, as every change of a record does.
    ///
    /// # Errors
    /// What would keep a record from being written.
    pub fn rehearse_disk(&self) -> Result<(), Error> {
        self.view.write_seen()
    }

    /// Reads a record, which may be newer than the one in memory after a failed write, and updates memory.
    fn reload_record(&mut self, keyring: &KeyringName) -> Result<Arc<VerifiedRecord>, LoadError> {
        let view = &mut self.view;
        let Some(found) = view.load_record(keyring, &view.seen)? else {
            return Ok(Arc::new(VerifiedRecord::absent(keyring.clone())));
        };
        let epoch = found.record.epoch;
        if view.record(keyring).map_or(0, |known| known.epoch) < epoch {
            sync(&*view.files, &view.dir.join(RECORDS))?;
            raise_epoch(&mut view.seen, keyring, epoch);
            view.records.insert(keyring.clone(), Arc::clone(&found));
            self.view.write_seen()?;
        }
        Ok(found)
    }

    /// Checks every rule for the new record. Whoever changes a secret must have shown that it unwraps.
    fn check(&self, old: &Record, new: &Record, proven: Option<u32>) -> Result<(), SetError> {
        let refused = |rule| SetError::Refused {
            keyring: new.keyring.clone(),
            rule,
        };
        new.check_after(&old.versions).map_err(refused)?;
        new.check_step(old).map_err(refused)?;
        // The old record's versions come first, in the same order: `check_step` has checked that.
        for (index, version) in new.versions.iter().enumerate() {
            let before = old.versions.get(index);
            let unchanged = before.is_some_and(|before| before.wrapped == version.wrapped);
            if unchanged || version.wrapped.is_none() {
                continue;
            }
            if self.kid_is_taken(&new.keyring, version) {
                return Err(refused(Invalid::SameKid(version.number)));
            }
            if proven != Some(version.number) {
                return Err(refused(Invalid::Unproven(version.number)));
            }
        }
        Ok(())
    }

    /// Whether another keyring has a version of this kid.
    fn kid_is_taken(&self, keyring: &KeyringName, version: &Version) -> bool {
        let found = self.view.find_by_kid(version.kid);
        found.is_some_and(|(other, _)| other != keyring)
    }

    pub(crate) fn open_on(
        lock: Lock,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, LoadError> {
        let view = View::without_records(lock.dir().clone(), files, custodian)?;
        let mut catalogue = Self { view, _lock: lock };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    pub(crate) fn open_read_only_on(
        dir: StateDir,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<View, LoadError> {
        let mut view = View::without_records(dir, files, custodian)?;
        view.refresh()?;
        Ok(view)
    }

    /// Renames the signing key last: without its final name there is no catalogue.
    pub(crate) fn create_on(
        lock: Lock,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, CreateError> {
        let dir = lock.dir().clone();
        refuse_leftovers(&dir, &*files)?;
        dir.subdirectory(RECORDS).map_err(LoadError::from)?;
        let staged = dir.join(NEW_CATALOGUE_KEY);
        let signer = match disk::read_if_present(&*files, &staged).map_err(LoadError::from)? {
            Some(content) => Signer::open(&staged, &content, &*custodian)?,
            None => {
                let (signer, content) = Signer::create(&*custodian)?;
                disk::create(&*files, &staged, &content).map_err(LoadError::from)?;
                signer
            }
        };
        let view = View::new(
            dir.clone(),
            Arc::clone(&files),
            Arc::clone(&custodian),
            signer,
        );
        view.write_seen().map_err(LoadError::from)?;
        let path = dir.join(CATALOGUE_KEY);
        disk::rename(&*files, &staged, &path).map_err(LoadError::from)?;
        Ok(Self::open_on(lock, files, custodian)?)
    }
}

impl Deref for Catalogue {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// Refuses files of an older catalogue: with a new signing key its records could not be verified.
fn refuse_leftovers(dir: &StateDir, files: &dyn Files) -> Result<(), LoadError> {
    let path = dir.join(CATALOGUE_KEY);
    if disk::read_if_present(files, &path)?.is_some() {
        return Err(Error::Exists(path).into());
    }
    let records = files.names(&dir.join(RECORDS)).unwrap_or_default();
    if records.iter().any(|name| name.ends_with(".json")) {
        return Err(LoadError::NoSigningKey(path));
    }
    // `seen.json` without a staged key is what is left of an older catalogue.
    let (seen, staged) = (dir.join(SEEN), dir.join(NEW_CATALOGUE_KEY));
    if disk::read_if_present(files, &seen)?.is_some()
        && disk::read_if_present(files, &staged)?.is_none()
    {
        return Err(LoadError::NoSigningKey(path));
    }
    Ok(())
}

impl View {
    fn write_seen(&self) -> Result<(), Error> {
        let path = self.dir.join(SEEN);
        let payload = json::write_seen(&self.seen)
            .map_err(|e| Error::from_io(&path, Action::Write, e.into()))?;
        let bytes = self.signer.sign(FileKind::Seen, payload);
        disk::replace(&*self.files, &path, &bytes)
    }
}

/// Makes the renames of records durable. Without their directory the next read reports what is missing.
pub(super) fn sync(files: &dyn Files, dir: &Path) -> Result<(), Error> {
    disk::sync(files, dir).or_else(|error| {
        if error.is_missing() {
            Ok(())
        } else {
            Err(error)
        }
    })
}
