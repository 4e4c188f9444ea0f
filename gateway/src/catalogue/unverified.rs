//! Reading records without the signing key, to compare them with an audit log: signatures are not verified, hashes are.

use std::path::Path;

use serde::Deserialize;

use super::LoadError;
use super::signed::damaged;
use crate::audit::{Head, LoggedState, RecordRef};
use crate::disk::names::{CLOCK, RECORDS};
use crate::disk::{Files, read_if_present};
use crate::policy::KeyringName;

#[derive(Deserialize)]
struct Epoch {
    epoch: u64,
}

#[derive(Deserialize)]
struct Audited {
    audited: Option<Head>,
}

/// How far the audit log had come, according to the records and `clock.json`. Call it before the log is read, which only grows.
/// Unreadable files are left out: reading the records reports them.
#[must_use]
pub fn audit_heads(files: &dyn Files, state: &Path) -> Vec<Head> {
    let records = state.join(RECORDS);
    let names = files.names(&records).unwrap_or_default();
    let named = names
        .iter()
        .filter(|name| !name.starts_with('.') && name.ends_with(".json"));
    let paths = named.map(|name| records.join(name));
    let head = |path: std::path::PathBuf| {
        let file = files.read(&path).ok()?;
        let documents = serde_json::Deserializer::from_slice(&file).into_iter::<Audited>();
        documents
            .take(1)
            .find_map(|document| document.ok()?.audited)
    };
    paths.chain([state.join(CLOCK)]).filter_map(head).collect()
}

/// Compares the records of a state directory with the last entries of its audit log, which was read before them.
///
/// # Errors
/// [`LoadError`]: the first record that is older than its entry, differs at the same epoch, is missing or is no record.
pub fn compare_records(
    files: &dyn Files,
    state: &Path,
    last: &LoggedState,
) -> Result<(), LoadError> {
    last.records()
        .try_for_each(|record| compare_record(files, state, record))
}

fn compare_record(files: &dyn Files, state: &Path, audited: &RecordRef) -> Result<(), LoadError> {
    // An invalid name has no file.
    let Ok(keyring) = audited.keyring.as_str().parse::<KeyringName>() else {
        return Ok(());
    };
    let path = state.join(RECORDS).join(format!("{keyring}.json"));
    let seen = audited.epoch;
    let Some(file) = read_if_present(files, &path)? else {
        return Err(LoadError::MissingRecord(path, seen));
    };
    let mut documents = serde_json::Deserializer::from_slice(&file).into_iter::<Epoch>();
    let Some(Ok(Epoch { epoch })) = documents.next() else {
        return Err(damaged(&path, "it does not begin with a record"));
    };
    let found = RecordRef::of(keyring.as_str(), epoch, &file);
    if epoch < seen {
        let found = epoch;
        return Err(LoadError::RolledBack { path, found, seen });
    }
    if epoch == seen && found != *audited {
        return Err(LoadError::Exchanged(path, epoch));
    }
    Ok(())
}
