//! The terms of a keyring: cryptoperiod, limits, overlap and retention of its key versions.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::catalogue::State;
use crate::envelope::{Kid, Suite, Volume};

/// The configuration of a keyring's key versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What new key versions seal with.
    pub suite: Suite,
    /// When a version is replaced.
    pub rotate: Rotate,
    /// What a version may seal at most.
    pub limit: Limit,
    /// How long a replaced version stays loaded and opens (decrypt-only).
    pub overlap: Duration,
    /// What becomes of it afterwards.
    pub retain: Retain,
    /// How long after the overlap a version is kept before it may be destroyed.
    pub hold: Duration,
    /// Who has to approve of a destruction.
    pub destroy: DestroyApproval,
    /// Whether suspended and compromised versions still open.
    pub open: OpenPolicy,
}

/// Which suspended or compromised versions still open what was sealed under them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPolicy {
    /// Neither.
    Nothing,
    /// Suspended ones.
    Suspended,
    /// Compromised ones.
    Compromised,
    /// Both.
    Both,
}

/// Soft thresholds: the first one reached starts a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// The cryptoperiod.
    pub after: Duration,
    /// How much earlier it may be, in percent: each version draws its own share, so that keyrings do not rotate all at once.
    pub jitter: u8,
    /// Messages sealed.
    pub messages: u64,
    /// Bytes of payload sealed.
    pub bytes: u64,
}

/// Hard limits: never exceeded, not even by one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Messages sealed.
    pub messages: u64,
    /// Bytes of payload sealed.
    pub bytes: u64,
}

impl Rotate {
    /// The soft thresholds.
    #[must_use]
    pub const fn volume(self) -> Volume {
        Volume {
            messages: self.messages,
            bytes: self.bytes,
        }
    }
}

impl Limit {
    /// What it allows.
    #[must_use]
    pub const fn volume(self) -> Volume {
        Volume {
            messages: self.messages,
            bytes: self.bytes,
        }
    }
}

/// What becomes of a key version after its overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Retain {
    /// Destroyed once nothing stored can need it.
    Destroy,
    /// Never destroyed by itself.
    Archive,
    /// Destroyed at the end of the overlap, whatever is stored.
    Shred,
}

/// Who has to approve before a secret is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum DestroyApproval {
    /// Nobody.
    Automatic,
    /// A second person (dual control).
    Approved,
}

impl Default for Terms {
    /// Those of a keyring for which nothing is configured.
    fn default() -> Self {
        Self {
            suite: Suite::Aes256Gcm,
            rotate: Rotate {
                after: Duration::from_hours(24),
                jitter: 10,
                messages: 1_000_000_000,
                bytes: 1 << 40,
            },
            limit: Limit {
                messages: 1 << 32,
                bytes: 4 << 40,
            },
            overlap: Duration::from_mins(10),
            retain: Retain::Destroy,
            hold: Duration::from_hours(24),
            destroy: DestroyApproval::Automatic,
            open: OpenPolicy::Suspended,
        }
    }
}

impl OpenPolicy {
    /// Whether a version in this state still opens.
    #[must_use]
    pub const fn includes(self, state: State) -> bool {
        match state {
            State::Suspended => matches!(self, Self::Suspended | Self::Both),
            State::Compromised => matches!(self, Self::Compromised | Self::Both),
            State::PreActive
            | State::Ready
            | State::Active
            | State::DecryptOnly
            | State::Archived
            | State::Destroyed => false,
        }
    }
}

impl Rotate {
    /// How long the version with this kid seals: the cryptoperiod, shortened by its own share of the jitter.
    #[must_use]
    pub fn cryptoperiod(&self, kid: Kid) -> Duration {
        // A kid is as good as random, and the same after every start.
        let [first, second, ..] = kid.0;
        let share = u32::from(u16::from_be_bytes([first, second]));
        let most = u128::from(self.jitter.min(100)).saturating_mul(self.after.as_nanos()) / 100;
        let early = most.saturating_mul(u128::from(share)) / 65_535;
        let early = u64::try_from(early).unwrap_or(u64::MAX);
        self.after.saturating_sub(Duration::from_nanos(early))
    }
}
