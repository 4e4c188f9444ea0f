//! The states of a key version, and which may follow which (NIST SP 800-57 part 1, section 7).

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The state of a key version, in the order of the lifecycle. Its word is that in records, status and metrics.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownState, parse_err_fn = unknown)]
pub enum State {
    /// Wrapped and durable, not in use yet.
    PreActive,
    /// Every required member has loaded it: opens, does not seal.
    Ready,
    /// Seals and opens; at most one version of a keyring.
    Active,
    /// Its successor seals; opens for the overlap.
    DecryptOnly,
    /// The overlap is over; loaded on demand.
    Archived,
    /// Does not seal while an operator investigates.
    Suspended,
    /// The secret may have been disclosed; never seals again.
    Compromised,
    /// The secret is gone; the record remains.
    Destroyed,
}

/// Whether a key version in some state opens envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// Never.
    No,
    /// Always loaded.
    Yes,
    /// When an envelope needs it.
    OnDemand,
    /// Only if the keyring's policy says so.
    ByPolicy,
}

impl State {
    /// The corresponding state of NIST SP 800-57 part 1, section 7.
    #[must_use]
    pub const fn nist(self) -> &'static str {
        match self {
            Self::PreActive => "pre-activation",
            Self::Ready => "active (process only)",
            Self::Active => "active",
            Self::DecryptOnly | Self::Archived => "deactivated",
            Self::Suspended => "suspended",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether it may seal.
    #[must_use]
    pub const fn seals(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether it may open.
    #[must_use]
    pub const fn opens(self) -> Opens {
        match self {
            Self::PreActive | Self::Destroyed => Opens::No,
            Self::Ready | Self::Active | Self::DecryptOnly => Opens::Yes,
            Self::Archived => Opens::OnDemand,
            Self::Suspended | Self::Compromised => Opens::ByPolicy,
        }
    }

    /// The states that may follow. [`super::Record::check`] also keeps a deactivated version from becoming active again by way of
    /// `suspended`.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::PreActive => &[
                Self::Ready,
                Self::Suspended,
                Self::Compromised,
                Self::Destroyed,
            ],
            Self::Ready => &[
                Self::Active,
                Self::Suspended,
                Self::Compromised,
                Self::Destroyed,
            ],
            Self::Active => &[Self::DecryptOnly, Self::Suspended, Self::Compromised],
            Self::DecryptOnly => &[
                Self::Archived,
                Self::Suspended,
                Self::Compromised,
                Self::Destroyed,
            ],
            Self::Archived => &[Self::Suspended, Self::Compromised, Self::Destroyed],
            Self::Suspended => &[
                Self::Active,
                Self::DecryptOnly,
                Self::Archived,
                Self::Compromised,
                Self::Destroyed,
            ],
            Self::Compromised => &[Self::Destroyed],
            Self::Destroyed => &[],
        }
    }

    /// Whether `next` may follow; a state may follow itself.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self == next || self.next().contains(&next)
    }
}

/// A text that is no state's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state; known are {}", State::VARIANTS.iter().map(<&str>::from).collect::<Vec<_>>().join(", "))]
pub struct UnknownState;

const fn unknown(_text: &str) -> UnknownState {
    UnknownState
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row: from; column: to; both in the order of [`State`].
    const LEGAL: [&str; 8] = [
        "xx...xxx", // pre-active
        ".xx..xxx", // ready
        "..xx.xx.", // active
        "...xxxxx", // decrypt-only
        "....xxxx", // archived
        "..xxxxxx", // suspended
        "......xx", // compromised
        ".......x", // destroyed
    ];

    #[test]
    fn every_pair_of_states_is_legal_or_not_as_the_table_says() {
        for (from, row) in State::VARIANTS.iter().zip(LEGAL) {
            for (to, cell) in State::VARIANTS.iter().zip(row.chars()) {
                assert_eq!(from.may_become(*to), cell == 'x', "{from} to {to}");
            }
        }
    }

    #[test]
    fn only_active_seals_and_what_seals_opens() {
        for state in State::VARIANTS {
            assert_eq!(state.seals(), *state == State::Active);
            if state.seals() {
                assert_eq!(state.opens(), Opens::Yes);
            }
        }
    }

    #[test]
    fn word_is_read_back() {
        for state in State::VARIANTS {
            assert_eq!(state.to_string().parse(), Ok(*state));
        }
        assert_eq!("Active".parse::<State>(), Err(UnknownState));
        let known = "not a state; known are pre-active, ready, active, decrypt-only, archived, suspended, compromised, destroyed";
        assert_eq!(UnknownState.to_string(), known);
    }
}
