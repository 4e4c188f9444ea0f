//! The one writer of the records.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::believed::Believed;
use super::json::{self, Written};
use super::signed::{Kind, Signer, read};
use super::time::{Kept, Resumed};
use super::view::{CLOCK, KEY, RECORDS, SEEN, View, raise};
use super::{CreateError, Invalid, LoadError, Record, RotateError, SetError, Version};
use crate::audit::{Head, LastWord};
use crate::clock::Clock;
use crate::custody::{Custodian, UnwrapFailed};
use crate::disk::{self, Action, Error, Files, Lock, Real, StateDir};
use crate::policy::KeyringName;
use crate::secret::Secret;

/// The signing key until everything else that a catalogue needs is there; then it is renamed to [`KEY`].
const STAGED: &str = ".catalogue.key.new";

/// What a rehearsal wraps a secret for.
const REHEARSAL: &[u8] = b"rehearsal";

/// When the epoch of a new record goes to `seen.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remember {
    /// Before anybody acts on the record.
    Now,
    /// With the next record that is acted on: nothing is ever sealed under what this one says, so that nothing is lost with it.
    Later,
}

/// The catalogue, open for writing: whoever has it holds the lock. Reads like the [`View`] that it is.
pub struct Catalogue {
    pub(super) view: View,
    _lock: Lock,
}

impl Catalogue {
    /// Creates an empty catalogue; goes on where an interrupted attempt stopped.
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

    /// The same before anything but its signing key was read: [`Self::refresh`] does that, once what it is compared with is known.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn unread(lock: Lock, custodian: Arc<dyn Custodian>) -> Result<Self, LoadError> {
        Self::unread_on(lock, Arc::new(Real), custodian)
    }

    /// See [`View::compare_with`].
    pub fn compare_with(&mut self, last: &LastWord) {
        self.view.compare_with(last);
    }

    /// From now on what is written says that the audit log had come so far; a log that is closed says nothing new.
    pub fn audited(&mut self, head: Option<Head>) {
        self.view.head = head.or_else(|| self.view.head.take());
    }

    /// Reads a catalogue that another process may hold.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open_read_only(dir: StateDir, custodian: Arc<dyn Custodian>) -> Result<View, LoadError> {
        Self::open_read_only_on(dir, Arc::new(Real), custodian)
    }

    /// Lets go of the lock: from now on another process may write what this reads.
    #[must_use]
    pub fn release(self) -> View {
        View {
            anchor: None,
            ..self.view
        }
    }

    /// Whether the directory holds a whole catalogue.
    #[must_use]
    pub fn exists(dir: &StateDir) -> bool {
        std::fs::symlink_metadata(dir.join(KEY)).is_ok()
    }

    /// Reads everything again, as after an error, and remembers what is new.
    ///
    /// # Errors
    /// [`LoadError`]; what was read before stays then, or what is new is known and not remembered yet.
    pub fn refresh(&mut self) -> Result<(), LoadError> {
        // A rename that a failed write left behind becomes durable before anybody acts on it.
        sync(&*self.view.files, &self.view.dir.join(RECORDS))?;
        self.view.refresh()?;
        let remembered = self.view.load_seen()?;
        if remembered != self.view.seen {
            self.write_seen()?;
        }
        Ok(())
    }

    /// The same for one keyring, whatever is wrong with others.
    ///
    /// # Errors
    /// [`LoadError`]; what was read before stays then.
    pub fn refresh_one(&mut self, keyring: &KeyringName) -> Result<(), LoadError> {
        sync(&*self.view.files, &self.view.dir.join(RECORDS))?;
        self.reread(keyring).map(drop)
    }

    /// Replaces the record of a keyring, durably, if its epoch is `expected` (0: there is none yet); the epoch grows by one.
    ///
    /// Steps: read what is on disk and compare; check the rules and every new secret; write and fsync a sibling, rename it,
    /// fsync the directory; read it back; remember the epoch in `seen.json` in the same way.
    ///
    /// # Errors
    /// [`SetError`]. After [`SetError::Disk`] either record may be in force on disk; calling again or [`Self::refresh`] settles
    /// which.
    pub fn compare_and_set(&mut self, expected: u64, record: Record) -> Result<&Record, SetError> {
        self.set(expected, record, Remember::Now)
    }

    /// The same; says when the epoch is remembered.
    pub(super) fn set(
        &mut self,
        expected: u64,
        mut record: Record,
        remember: Remember,
    ) -> Result<&Record, SetError> {
        let keyring = record.keyring.clone();
        let old = self.reread(&keyring)?;
        if old.record.epoch != expected {
            return Err(SetError::Conflict {
                keyring,
                expected,
                found: old.record.epoch,
            });
        }
        // Beyond 2^64 writes the epoch would stop growing, and the next write would conflict: never reached, and safe.
        record.epoch = expected.saturating_add(1);
        record.audited = self.view.head.clone().or(record.audited);
        self.check(&old.record, &record)?;
        let path = self.view.record_path(&keyring);
        let Written { payload, places } = json::write_record(&record, &old)?;
        let bytes = self.view.signer.sign(Kind::Record, payload);
        disk::replace(&*self.view.files, &path, &bytes)?;
        if read(&*self.view.files, &path)?.as_ref() != Some(&bytes) {
            return Err(SetError::ReadBack { path });
        }
        raise(&mut self.view.seen, &keyring, record.epoch);
        if remember == Remember::Now {
            self.write_seen()?;
        }
        let known = Arc::new(Believed::written(record, bytes, places));
        let entry = self.view.records.entry(keyring).insert_entry(known);
        Ok(&entry.into_mut().record)
    }

    /// From now on time goes on in this process. Says what has become of the clocks since the one before.
    pub fn start_clock(&mut self, clock: &Clock) -> Resumed {
        let kept = self.view.kept.as_ref();
        let resumed = kept.map_or(Resumed::Agrees, |kept| kept.compare(clock));
        self.view.anchor = Some(self.view.anchor(clock));
        resumed
    }

    /// Writes down how far time has come.
    ///
    /// # Errors
    /// [`Error`]; after a start of the host, time would go on from where it was last written down.
    pub fn keep_time(&mut self, clock: &Clock) -> Result<(), Error> {
        let moment = self.view.now(clock);
        let before = self.view.kept.take();
        let (passed, audited) = before
            .map(|kept| (kept.passed, kept.audited))
            .unwrap_or_default();
        let kept = Kept {
            moment,
            uptime: clock.uptime(),
            boot: clock.boot(),
            passed,
            audited: self.view.head.clone().or(audited),
        };
        let path = self.view.dir.join(CLOCK);
        let payload = json::write_clock(&kept);
        self.view.kept = Some(kept);
        let payload = payload.map_err(|e| Error::from_io(&path, Action::Write, e.into()))?;
        let bytes = self.view.signer.sign(Kind::Clock, payload);
        disk::replace(&*self.view.files, &path, &bytes)
    }

    /// A date of the configuration has passed for a keyring, for good; it is written down with the time.
    pub fn pass(&mut self, keyring: &KeyringName, date: Timestamp, clock: &Clock) {
        let now = self.view.now(clock);
        let kept = self.view.kept.get_or_insert_with(|| Kept {
            moment: now,
            uptime: clock.uptime(),
            boot: clock.boot(),
            passed: std::collections::BTreeMap::new(),
            audited: None,
        });
        let passed = kept.passed.entry(keyring.clone()).or_insert(date);
        *passed = date.max(*passed);
    }

    /// Has the custodian wrap and unwrap a secret that nobody uses.
    ///
    /// # Errors
    /// What would keep a new version from being made.
    pub fn rehearse_custody(&self) -> Result<(), RotateError> {
        let secret = Secret::random()?;
        let wrapped = self.view.custodian.wrap(&secret, REHEARSAL)?;
        let unwrapped = self.view.custodian.unwrap(&wrapped, REHEARSAL)?;
        if unwrapped.expose() == secret.expose() {
            Ok(())
        } else {
            Err(UnwrapFailed::Damaged.into())
        }
    }

    /// Writes what is remembered of the epochs once more, as every change of a record does.
    ///
    /// # Errors
    /// What would keep a record from being written.
    pub fn rehearse_disk(&self) -> Result<(), Error> {
        self.write_seen()
    }

    /// What is on disk now, which may be newer than our memory after a failed write; then memory follows.
    fn reread(&mut self, keyring: &KeyringName) -> Result<Arc<Believed>, LoadError> {
        let view = &mut self.view;
        let Some(found) = view.load_record(keyring, &view.seen)? else {
            return Ok(Arc::new(Believed::absent(keyring.clone())));
        };
        let epoch = found.record.epoch;
        if view.record(keyring).map_or(0, |known| known.epoch) < epoch {
            sync(&*view.files, &view.dir.join(RECORDS))?;
            raise(&mut view.seen, keyring, epoch);
            view.records.insert(keyring.clone(), Arc::clone(&found));
            self.write_seen()?;
        }
        Ok(found)
    }

    /// Every rule that the new record must keep.
    fn check(&self, old: &Record, new: &Record) -> Result<(), SetError> {
        let refused = |rule| SetError::Refused {
            keyring: new.keyring.clone(),
            rule,
        };
        new.check_after(&old.versions).map_err(refused)?;
        new.check_step(old).map_err(refused)?;
        // Those of the old record come first, in its order: the step was checked.
        for (index, version) in new.versions.iter().enumerate() {
            let before = old.versions.get(index);
            let unchanged = before.is_some_and(|before| before.wrapped == version.wrapped);
            if unchanged || version.wrapped.is_none() {
                continue;
            }
            if self.elsewhere(&new.keyring, version) {
                return Err(refused(Invalid::SameKid(version.number)));
            }
            self.view
                .unwrap_version(&new.keyring, version)
                .map_err(|source| SetError::Secret {
                    keyring: new.keyring.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Whether another keyring has a version of this kid.
    fn elsewhere(&self, keyring: &KeyringName, version: &Version) -> bool {
        let found = self.view.find_by_kid(version.kid);
        found.is_some_and(|(other, _)| other != keyring)
    }

    fn write_seen(&self) -> Result<(), Error> {
        write_seen(&self.view)
    }

    pub(crate) fn open_on(
        lock: Lock,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, LoadError> {
        let mut catalogue = Self::unread_on(lock, files, custodian)?;
        catalogue.refresh()?;
        Ok(catalogue)
    }

    pub(crate) fn unread_on(
        lock: Lock,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, LoadError> {
        let view = View::bare(lock.dir().clone(), files, custodian)?;
        Ok(Self { view, _lock: lock })
    }

    pub(crate) fn open_read_only_on(
        dir: StateDir,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<View, LoadError> {
        let mut view = View::bare(dir, files, custodian)?;
        view.refresh()?;
        Ok(view)
    }

    /// The signing key gets its final name last: while that is missing, there is no catalogue yet.
    pub(crate) fn create_on(
        lock: Lock,
        files: Arc<dyn Files>,
        custodian: Arc<dyn Custodian>,
    ) -> Result<Self, CreateError> {
        let dir = lock.dir().clone();
        refuse_remains(&dir, &*files)?;
        dir.subdirectory(RECORDS).map_err(LoadError::from)?;
        let staged = dir.join(STAGED);
        let signer = match read(&*files, &staged).map_err(LoadError::from)? {
            Some(content) => Signer::open(&staged, &content, &*custodian)?,
            None => {
                let (signer, content) = Signer::create(&*custodian)?;
                disk::create(&*files, &staged, &content).map_err(LoadError::from)?;
                signer
            }
        };
        let view = View {
            dir: dir.clone(),
            files: Arc::clone(&files),
            custodian: Arc::clone(&custodian),
            signer,
            records: std::collections::BTreeMap::new(),
            seen: json::Seen::new(),
            audited: std::collections::BTreeMap::new(),
            head: None,
            kept: None,
            anchor: None,
        };
        write_seen(&view).map_err(LoadError::from)?;
        let path = dir.join(KEY);
        files
            .rename(&staged, &path)
            .map_err(|e| LoadError::from(Error::from_io(&path, Action::Rename, e)))?;
        sync(&*files, dir.path()).map_err(LoadError::from)?;
        Ok(Self::open_on(lock, files, custodian)?)
    }
}

impl Deref for Catalogue {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// A new signing key beside old records would make them worthless.
fn refuse_remains(dir: &StateDir, files: &dyn Files) -> Result<(), LoadError> {
    let path = dir.join(KEY);
    if read(files, &path)?.is_some() {
        return Err(Error::Exists { path }.into());
    }
    let records = files.names(&dir.join(RECORDS)).unwrap_or_default();
    if records.iter().any(|name| name.ends_with(".json")) {
        return Err(LoadError::NoSigningKey { path });
    }
    // Epochs without a key that was being made are all that is left of a catalogue that was.
    let (seen, staged) = (dir.join(SEEN), dir.join(STAGED));
    if read(files, &seen)?.is_some() && read(files, &staged)?.is_none() {
        return Err(LoadError::NoSigningKey { path });
    }
    Ok(())
}

fn write_seen(view: &View) -> Result<(), Error> {
    let path = view.dir.join(SEEN);
    let payload =
        json::write_seen(&view.seen).map_err(|e| Error::from_io(&path, Action::Write, e.into()))?;
    let bytes = view.signer.sign(Kind::Seen, payload);
    disk::replace(&*view.files, &path, &bytes)
}

pub(super) fn sync(files: &dyn Files, dir: &Path) -> Result<(), Error> {
    match files.sync_dir(dir) {
        // No directory of records: whoever reads them next says which are missing.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|e| Error::from_io(dir, Action::SyncDir, e)),
    }
}
