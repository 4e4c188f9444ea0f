//! The state machine of key versions: decides what is to be done; the driver does it.
//!
//! [`step`] is a pure function from a state, the time and an event to the next state and the actions to take; the caller carries
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

mod consent;
mod deed;
mod life;
mod order;
mod pace;
mod plan;
mod ring;
mod take;
#[cfg(test)]
mod tests;
mod usage;

pub use deed::{Action, Deed, drawing, leads};
pub use life::{Life, Member, Now};
pub use order::{Asked, Order, Refused};
pub use ring::{Failure, Gate, Outlook, Ring, Stage, Verdict};

use crate::envelope::Used;

use super::terms::Terms;

/// What is left to reserve of a version's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supply {
    /// As much as lanes ask for.
    #[default]
    Lasts,
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
        sealed: Used,
        /// The same and what killed processes had reserved; compared with the hard limit.
        used: Used,
        /// Envelopes that did not open.
        failed_opens: u64,
        /// What is left to reserve of the limit.
        supply: Supply,
    },
    /// A gateway has joined the fleet, or come back.
    Joined(Member),
    /// A gateway has left the fleet, or is counted as lost.
    Left(Member),
    /// The member has proven that it holds the version.
    Proven(Member, u32),
    /// An order that [`Ring::judge`] has accepted.
    Asked(Asked),
    /// The caller was told that the order has failed: it must not happen later, except for a revocation.
    Withdrawn(Order),
    /// An earlier process has left this successor of a withdrawn rotation behind.
    LeftOver(u32),
    /// The action under way has ended; the versions in the record now.
    Ended(Result<(), Failure>, Vec<Life>),
    /// The record was read again; the versions in it.
    Record(Vec<Life>),
    /// The answer to [`Deed::Inspect`].
    Inspected(u32, Verdict),
    /// The configuration has changed.
    Terms(Terms),
}

/// The next state and the actions to take. Every action but [`Deed::Inspect`] and [`Deed::Challenge`] must be followed by one
/// [`Event::Ended`]. Any event may come at any time.
#[must_use]
pub fn step(mut ring: Ring, now: Now, event: Event) -> (Ring, Vec<Action>) {
    ring.take(now, event);
    ring.pace.look(now, &ring.lives);
    let actions = ring.decide(now);
    (ring, actions)
}
