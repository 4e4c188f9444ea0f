//! A worker's lanes, which seal.
//!
//! No two messages may share key and nonce (NIST SP 800-38D, section 8.2.1). Each lane has a fresh key, its counter is a plain
//! integer, and the lane never leaves its worker: uniqueness needs neither a lock nor a write to disk. The lane also holds a
//! grant of its version's budget, so that a message costs two more comparisons and touches nothing shared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::{Binding, BoundSealer, EnvelopeId, SealFailed, Sealer};
use crate::policy::KeyringId;
use crate::secret::NoEntropy;

use super::grant::Grant;
use super::{Snapshot, Version, Volume, WorkerId};

/// The lifetime of a lane.
const LANE_LIFE: Duration = Duration::from_secs(60);

/// The lanes of one worker, one at most per keyring.
pub struct Lanes {
    worker: WorkerId,
    current: Vec<Option<Lane>>,
    generation: u64,
    now: Instant,
}

/// Why nothing was sealed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealRefused {
    /// The keyring has no active version: the publish has to wait for one.
    #[error("the keyring has no active key version")]
    NoActiveVersion,
    /// The active version's reserved budget is sealed or granted to other lanes: the publish has to wait for more, or for a
    /// successor.
    #[error("the budget reserved for the active key version is used up")]
    BudgetExhausted,
    /// The random generator failed, so that no lane can be drawn.
    #[error("no lane can be drawn: the system's random generator failed")]
    NoEntropy,
    /// The subject is too long to bind the envelope to.
    #[error("the subject is too long to bind an envelope to")]
    SubjectTooLong,
}

/// A message was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The envelope's id: lane and counter.
    pub id: EnvelopeId,
    /// Whether a new lane was drawn.
    pub lane_drawn: bool,
}

/// A keyring's lane for successive messages of a batch with the same binding.
pub struct BoundLane<'l> {
    sealer: BoundSealer<'l>,
    grant: &'l mut Grant,
    unreported: &'l mut Volume,
}

/// Why a lane did not seal a message.
enum Stopped {
    /// The budget is used up.
    Budget,
    /// The lane has ended, or the message cannot be sealed.
    Seal(SealFailed),
}

struct Lane {
    worker: WorkerId,
    version: Arc<Version>,
    sealer: Sealer,
    grant: Grant,
    /// The end of its lifetime.
    until: Instant,
    unreported: Volume,
}

impl Lanes {
    /// No lanes yet.
    #[must_use]
    pub const fn new(worker: WorkerId, now: Instant) -> Self {
        Self {
            worker,
            current: Vec::new(),
            generation: 0,
            now,
        }
    }

    /// Begins a batch at `now`. Drops lanes of versions that no longer seal: wipes their keys, and gives their grants back.
    pub fn begin(&mut self, snapshot: &Snapshot, now: Instant) {
        self.now = now;
        if self.generation == snapshot.generation() {
            return;
        }
        self.generation = snapshot.generation();
        for place in &mut self.current {
            let seals = |lane: &mut Lane| {
                let active = snapshot.active(lane.version.keyring);
                active.is_some_and(|active| Arc::ptr_eq(active, &lane.version))
            };
            *place = place.take_if(seals);
        }
    }

    /// Seals `plaintext` under the keyring's active version into `out`, which is longer by [`crate::envelope::OVERHEAD`] and is
    /// overwritten as a whole.
    ///
    /// # Errors
    /// [`SealRefused`]; `out` is unchanged then.
    pub fn seal(
        &mut self,
        snapshot: &Snapshot,
        keyring: KeyringId,
        binding: Binding<'_>,
        message: (&[u8], &mut [u8]),
    ) -> Result<Sealed, SealRefused> {
        let (plaintext, out) = message;
        let active = snapshot
            .active(keyring)
            .ok_or(SealRefused::NoActiveVersion)?;
        if let Some(lane) = self.usable(keyring, active) {
            match lane.seal(binding, plaintext, out) {
                Ok(id) => {
                    return Ok(Sealed {
                        id,
                        lane_drawn: false,
                    });
                }
                Err(Stopped::Budget) => return Err(SealRefused::BudgetExhausted),
                Err(Stopped::Seal(SealFailed::LaneEnded)) => {}
                Err(Stopped::Seal(
                    SealFailed::SubjectTooLong(_) | SealFailed::OutputLength(..),
                )) => {
                    return Err(SealRefused::SubjectTooLong);
                }
            }
        }
        // A fresh lane has room for any message that fits a connection.
        let bytes = u64::try_from(plaintext.len()).unwrap_or(u64::MAX);
        let lane = self.draw(keyring, active, bytes)?;
        let id = lane
            .seal(binding, plaintext, out)
            .map_err(|_stopped| SealRefused::SubjectTooLong)?;
        Ok(Sealed {
            id,
            lane_drawn: true,
        })
    }

    /// Draws a lane for each keyring that has none, and puts its opening key into the version's map: the first message under a
    /// version then derives no key. Takes no grants. Calls `drawn` for each.
    ///
    /// A failing random generator is reported by [`Self::seal`].
    pub fn prepare(&mut self, snapshot: &Snapshot, now: Instant, mut drawn: impl FnMut(KeyringId)) {
        self.begin(snapshot, now);
        for active in snapshot.sealing() {
            let keyring = active.keyring;
            if self.usable(keyring, active).is_some() {
                continue;
            }
            let nothing = Grant::new(&active.budget);
            if let Ok(lane) = self.put(keyring, active, nothing) {
                let id = lane.sealer.lane();
                let key = active.key.lane(active.suite, id);
                active.lanes.admit(id, Arc::new(key));
                drawn(keyring);
            }
        }
    }

    /// The keyring's current lane with this binding; `None` if there is none, or the subject is too long: then use
    /// [`Self::seal`].
    #[inline]
    pub fn bound<'l>(
        &'l mut self,
        snapshot: &Snapshot,
        keyring: KeyringId,
        binding: Binding<'l>,
    ) -> Option<BoundLane<'l>> {
        let active = snapshot.active(keyring)?;
        self.usable(keyring, active)?.on(binding).ok()
    }

    /// Ends a batch: counts what was sealed, and gives back what others may be waiting for.
    pub fn report(&mut self) {
        for lane in self.current.iter_mut().flatten() {
            if lane.unreported.messages != 0 {
                lane.report();
                lane.grant.settle();
            }
        }
    }

    fn usable(&mut self, keyring: KeyringId, active: &Arc<Version>) -> Option<&mut Lane> {
        let now = self.now;
        let lane = self.current.get_mut(keyring.index())?.as_mut()?;
        let lives = now < lane.until || lane.begins(now);
        (lives && Arc::ptr_eq(&lane.version, active)).then_some(lane)
    }

    /// Replaces the lane by a new one with a grant for `bytes`; the old grant is given back first.
    fn draw(
        &mut self,
        keyring: KeyringId,
        active: &Arc<Version>,
        bytes: u64,
    ) -> Result<&mut Lane, SealRefused> {
        if let Some(place) = self.current.get_mut(keyring.index()) {
            *place = None;
        }
        let mut grant = Grant::new(&active.budget);
        if !grant.cover(bytes) {
            return Err(SealRefused::BudgetExhausted);
        }
        self.put(keyring, active, grant)
    }

    fn put(
        &mut self,
        keyring: KeyringId,
        active: &Arc<Version>,
        grant: Grant,
    ) -> Result<&mut Lane, SealRefused> {
        if self.current.len() <= keyring.index() {
            self.current
                .resize_with(keyring.index().saturating_add(1), || None);
        }
        let place = self
            .current
            .get_mut(keyring.index())
            .ok_or(SealRefused::NoActiveVersion)?;
        let sealer =
            Sealer::new(&active.key, active.suite).map_err(|NoEntropy| SealRefused::NoEntropy)?;
        active.usage.count_lane(self.worker);
        Ok(place.insert(Lane {
            worker: self.worker,
            version: Arc::clone(active),
            sealer,
            grant,
            until: end_of_life(self.now),
            unreported: Volume::default(),
        }))
    }
}

impl BoundLane<'_> {
    /// As [`Lanes::seal`], which has to be called where this returns `None`.
    #[inline]
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Option<EnvelopeId> {
        self.try_seal(plaintext, out).ok()
    }

    #[inline]
    fn try_seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<EnvelopeId, Stopped> {
        let bytes = u64::try_from(plaintext.len()).unwrap_or(u64::MAX);
        if !self.grant.cover(bytes) {
            return Err(Stopped::Budget);
        }
        let id = self.sealer.seal(plaintext, out).map_err(Stopped::Seal)?;
        self.grant.spend(bytes);
        *self.unreported = self.unreported.plus(Volume { messages: 1, bytes });
        Ok(id)
    }
}

fn end_of_life(now: Instant) -> Instant {
    now.checked_add(LANE_LIFE).unwrap_or(now)
}

impl Lane {
    /// Starts the lifetime of a prepared lane with its first message; false if it was used before.
    #[cold]
    fn begins(&mut self, now: Instant) -> bool {
        let unused = self.sealer.messages() == 0;
        if unused {
            self.until = end_of_life(now);
        }
        unused
    }

    #[inline]
    fn on<'l>(&'l mut self, binding: Binding<'l>) -> Result<BoundLane<'l>, SealFailed> {
        Ok(BoundLane {
            sealer: self.sealer.bind(binding)?,
            grant: &mut self.grant,
            unreported: &mut self.unreported,
        })
    }

    fn seal(
        &mut self,
        binding: Binding<'_>,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<EnvelopeId, Stopped> {
        let mut lane = self.on(binding).map_err(Stopped::Seal)?;
        lane.try_seal(plaintext, out)
    }

    fn report(&mut self) {
        let sealed = std::mem::take(&mut self.unreported);
        self.version.usage.count_sealed(self.worker, sealed);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.report();
    }
}
