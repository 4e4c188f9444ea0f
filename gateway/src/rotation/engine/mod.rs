//! The state machine of key versions: decides what is to be done; the driver does it.
//!
//! [`decide`] is a pure function from a state, the time and an event to the next state and the actions to take; the caller carries
//! them out and reports the outcome. One action is under way at a time, so that a crash leaves at most one half done. The state
//! after a restart is made from the record alone.
//!
//! A rotation has six steps, and the engine knows from the record which is next:
//!
//! | step | what is done | the record says |
//! |---|---|---|
//! | 1 generate | a secret is drawn, wrapped, written down, read back | `pre-active` |
//! | 2 distribute | every member gets the version | |
//! | 3 prove | every member proves that it holds this very secret | `ready` |
//! | 4 activate | at the agreed time it seals, and its predecessor only opens, in one write | `active`, `decrypt-only` |
//! | 5 overlap | the predecessor opens what is still on its way | |
//! | 6 archive or destroy | it opens on demand; or, once nothing stored needs it, its secret goes | `archived`, `destroyed` |

mod apply;
mod approval;
mod order;
mod plan;
mod spacing;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod usage;
mod version;

pub use order::{Order, OrderRequest, Refused};
pub use state::{DestroyCheck, Failure, KeyringState, Outlook, RetentionVerdict, RotationStage};
pub use step::{Action, Step, state_diagram, transition_label};
pub use version::{Member, Now, VersionView};

use crate::envelope::Volume;

use super::terms::Terms;

/// What is left to reserve of a version's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitHeadroom {
    /// As much as lanes ask for.
    #[default]
    Enough,
    /// Less than they ask for.
    Spent,
}

/// An input of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The use of the active version.
    Usage {
        /// The version.
        number: u32,
        /// Messages and bytes known to be sealed; compared with the soft thresholds.
        sealed: Volume,
        /// The same and what killed processes had reserved; compared with the hard limit.
        used: Volume,
        /// Envelopes that did not open.
        failed_opens: u64,
        /// What is left to reserve of the limit.
        headroom: LimitHeadroom,
    },
    /// A gateway has joined the fleet, or come back.
    Joined(Member),
    /// A gateway has left the fleet, or is counted as lost.
    Left(Member),
    /// The member has proven that it holds the version.
    Proven(Member, u32),
    /// An order that [`KeyringState::check_order`] has accepted.
    Ordered(OrderRequest),
    /// The caller was told that the order has failed: it must not happen later, except for a revocation.
    Withdrawn(Order),
    /// An earlier process has left this successor of a withdrawn rotation behind.
    LeftOver(u32),
    /// The action under way has ended; the versions in the record now.
    Ended(Result<(), Failure>, Vec<VersionView>),
    /// The record was read again; the versions in it.
    Record(Vec<VersionView>),
    /// The answer to [`Step::Inspect`].
    Inspected(u32, RetentionVerdict),
    /// The configuration has changed.
    Terms(Terms),
}

/// The next state and the actions to take. Every action but [`Step::Inspect`] and [`Step::Challenge`] must be followed by one
/// [`Event::Ended`]. Any event may come at any time.
#[must_use]
pub fn decide(mut state: KeyringState, now: Now, event: Event) -> (KeyringState, Vec<Action>) {
    state.apply(now, event);
    state.spacing.look(now, &state.versions);
    let actions = state.plan(now);
    (state, actions)
}
