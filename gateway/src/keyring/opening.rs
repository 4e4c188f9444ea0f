//! Opening envelopes: the kid selects the version, the lane id the key; the subject is authenticated.

use std::sync::Arc;

use crate::envelope::{Aad, Binding, Flags, Header, HeaderError, Kid, OpenFailed};
use crate::metrics::LaneSource;
use crate::policy::KeyringId;

use super::lane_cache::Entry;
use super::{LaneCache, Snapshot};

/// An envelope was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The keyring it was sealed under.
    pub keyring: KeyringId,
    /// Where its lane key was found.
    pub source: LaneSource,
    /// Its authenticated header.
    pub header: Header,
}

/// Why an envelope was not opened; the output is cleared then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// It is not an envelope of a known format.
    #[error(transparent)]
    NotAnEnvelope(HeaderError),
    /// Its version is not in the snapshot.
    #[error("key version {0} is not loaded")]
    Miss(Kid),
    /// Its version belongs to a keyring that does not serve the subject.
    #[error("sealed under a keyring that does not serve this subject")]
    WrongKeyring,
    /// Authentication failed: it was altered, or sealed for another subject.
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

/// Opens successive envelopes with the same binding.
pub struct Opener<'o> {
    snapshot: &'o Snapshot,
    cache: &'o mut LaneCache,
    expected: Option<KeyringId>,
    aad: Aad<'o>,
}

/// Opens one envelope; see [`Opener`].
///
/// # Errors
/// As of [`Opener::open`].
pub fn open(
    snapshot: &Snapshot,
    cache: &mut LaneCache,
    expected: Option<KeyringId>,
    known: Binding<'_>,
    message: (&[u8], &mut [u8]),
) -> Result<Opened, OpenRefused> {
    let (envelope, out) = message;
    Opener::new(snapshot, cache, expected, known).open(envelope, out)
}

impl<'o> Opener<'o> {
    /// With `expected`, only versions of that keyring open. `known` is the binding that the envelopes must have been sealed with.
    #[inline]
    pub fn new(
        snapshot: &'o Snapshot,
        cache: &'o mut LaneCache,
        expected: Option<KeyringId>,
        known: Binding<'o>,
    ) -> Self {
        Self {
            snapshot,
            cache,
            expected,
            aad: Aad::new(known),
        }
    }

    /// Opens `envelope` into `out`, which is shorter by [`crate::envelope::OVERHEAD`]. Only the key that the envelope names is
    /// tried. Success is counted here; failure by [`LaneCache::count_failed`], when no other subject is left to try.
    ///
    /// # Errors
    /// [`OpenRefused`]; `out` holds no plaintext then.
    #[inline]
    pub fn open(&mut self, envelope: &[u8], out: &mut [u8]) -> Result<Opened, OpenRefused> {
        let header = Header::parse(envelope).map_err(OpenRefused::NotAnEnvelope)?;
        let Some(entry) = self.cache.get(header.kid, header.lane) else {
            return self.open_uncached(&header, envelope, out);
        };
        let keyring = allowed(entry.keyring, self.expected)?;
        entry
            .key
            .open_with(&header, &mut self.aad, envelope, out)
            .map_err(|OpenFailed| OpenRefused::Unauthentic(keyring))?;
        entry.usage.count_opened(self.cache.worker());
        Ok(Opened {
            keyring,
            source: LaneSource::Connection,
            header,
        })
    }

    #[inline(never)]
    fn open_uncached(
        &mut self,
        header: &Header,
        envelope: &[u8],
        out: &mut [u8],
    ) -> Result<Opened, OpenRefused> {
        let version = self
            .snapshot
            .by_kid(header.kid)
            .ok_or(OpenRefused::Miss(header.kid))?;
        let keyring = allowed(version.keyring, self.expected)?;
        let (key, source) = version.lanes.get(header.lane).map_or_else(
            || {
                (
                    Arc::new(version.key.lane(header.suite, header.lane)),
                    LaneSource::Derived,
                )
            },
            |key| (key, LaneSource::Shared),
        );
        key.open_with(header, &mut self.aad, envelope, out)
            .map_err(|OpenFailed| OpenRefused::Unauthentic(keyring))?;
        if source == LaneSource::Derived {
            version.lanes.admit(header.lane, Arc::clone(&key));
        }
        version.usage.count_opened(self.cache.worker());
        self.cache.put(Entry {
            kid: header.kid,
            lane: header.lane,
            keyring,
            key,
            usage: version.usage.clone(),
        });
        Ok(Opened {
            keyring,
            source,
            header: *header,
        })
    }
}

/// The flags of an envelope, not authenticated; none for anything else.
#[must_use]
pub fn flags(envelope: &[u8]) -> Flags {
    Header::parse(envelope).map_or_else(|_refused| Flags::default(), |header| header.flags)
}

/// The keyring of the key version that an envelope names, if it is loaded; not authenticated.
#[must_use]
pub fn keyring_of(snapshot: &Snapshot, envelope: &[u8]) -> Option<KeyringId> {
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
