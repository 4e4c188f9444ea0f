//! Opening an envelope: by kid to the version, by lane to the key, by subject to the proof.

use std::sync::Arc;

use crate::envelope::{Header, Kid, LaneKey, OpenFailed, Refused};
use crate::metrics::LaneSource;
use crate::policy::KeyringId;

use super::lane_cache::Entry;
use super::{LaneCache, Snapshot};

/// An envelope was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The keyring it was sealed under.
    pub keyring: KeyringId,
    /// Where its lane was found.
    pub source: LaneSource,
}

/// Why an envelope was not opened; the output is cleared then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// It is no envelope of ours.
    #[error(transparent)]
    NotAnEnvelope(Refused),
    /// Its version is not in the snapshot.
    #[error("key version {0} is not loaded")]
    Miss(Kid),
    /// Its version belongs to another keyring than the subject.
    #[error("sealed under a keyring that does not serve this subject")]
    WrongKeyring,
    /// The tag does not fit: altered, or sealed for another subject than the one given.
    #[error("not authentic for this subject")]
    Unauthentic(KeyringId),
}

impl OpenRefused {
    /// The keyring whose key was tried.
    #[must_use]
    pub const fn keyring(&self) -> Option<KeyringId> {
        match self {
            Self::Unauthentic(keyring) => Some(*keyring),
            Self::NotAnEnvelope(_) | Self::Miss(_) | Self::WrongKeyring => None,
        }
    }
}

/// Opens `envelope` into `out`, which is shorter by [`crate::envelope::OVERHEAD`]. With `expected`, only that keyring's versions
/// are tried. `subject` is the normalised subject that a bound envelope must have been sealed for. No key but the one that the
/// envelope names is tried, whatever happens. Success is counted here; failure by [`LaneCache::count_failed`], once no other subject
/// is left to try.
///
/// # Errors
/// [`OpenRefused`]; `out` holds no plaintext then.
pub fn open(
    snapshot: &Snapshot,
    cache: &mut LaneCache,
    expected: Option<KeyringId>,
    subject: &[u8],
    message: (&[u8], &mut [u8]),
) -> Result<Opened, OpenRefused> {
    let (envelope, out) = message;
    let header = Header::parse(envelope).map_err(OpenRefused::NotAnEnvelope)?;
    if let Some(entry) = cache.get(header.kid, header.lane) {
        let keyring = allowed(entry.keyring, expected)?;
        authenticate(&entry.key, &header, subject, envelope, out)
            .map_err(|OpenFailed| OpenRefused::Unauthentic(keyring))?;
        entry.usage.count_opened(cache.worker());
        return Ok(Opened {
            keyring,
            source: LaneSource::Connection,
        });
    }
    let version = snapshot
        .by_kid(header.kid)
        .ok_or(OpenRefused::Miss(header.kid))?;
    let keyring = allowed(version.keyring, expected)?;
    let (key, source) = version.lanes.get(header.lane).map_or_else(
        || {
            (
                Arc::new(version.key.lane(header.suite, header.lane)),
                LaneSource::Derived,
            )
        },
        |key| (key, LaneSource::Shared),
    );
    authenticate(&key, &header, subject, envelope, out)
        .map_err(|OpenFailed| OpenRefused::Unauthentic(keyring))?;
    if source == LaneSource::Derived {
        version.lanes.admit(header.lane, Arc::clone(&key));
    }
    version.usage.count_opened(cache.worker());
    cache.put(Entry {
        kid: header.kid,
        lane: header.lane,
        keyring,
        key,
        usage: version.usage.clone(),
    });
    Ok(Opened { keyring, source })
}

/// The keyring of the key version that an envelope names, if it is loaded. Nothing is proven by it.
#[must_use]
pub fn named(snapshot: &Snapshot, envelope: &[u8]) -> Option<KeyringId> {
    let header = Header::parse(envelope).ok()?;
    snapshot.by_kid(header.kid).map(|version| version.keyring)
}

fn allowed(keyring: KeyringId, expected: Option<KeyringId>) -> Result<KeyringId, OpenRefused> {
    if expected.is_none_or(|expected| expected == keyring) {
        Ok(keyring)
    } else {
        Err(OpenRefused::WrongKeyring)
    }
}

fn authenticate(
    key: &LaneKey,
    header: &Header,
    subject: &[u8],
    envelope: &[u8],
    out: &mut [u8],
) -> Result<(), OpenFailed> {
    key.open(header, header.bound.then_some(subject), envelope, out)
}
