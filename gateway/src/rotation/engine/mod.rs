//! When a key version is born, active, decrypt-only, gone: decided here, done elsewhere.
//!
//! [`step`] is a function from a state, the time and an event to the next state and what is to be done. It asks no clock, no
//! disk and no custodian; whoever calls does what is asked and says how it ended. One action is under way at a time, so that a
//! crash leaves at most one step half done, and the record says which: the state after a restart is made from the record alone.
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
    /// As much as lanes want.
    #[default]
    Lasts,
    /// Less than they want.
    Spent,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// So much has been sealed under the version, and so many envelopes that name it did not open.
    Usage {
        /// The version.
        number: u32,
        /// Messages and bytes that are known to be sealed: what thresholds are about.
        sealed: Used,
        /// The same, and what was reserved and lost with a process: what the limit is about.
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
    /// An operator asks for something; [`Ring::judge`] has said that it may be done.
    Asked(Asked),
    /// Whoever asked has been told that it failed: it does not happen later, but for a revocation.
    Withdrawn(Order),
    /// A process before has left this successor of such a rotation behind.
    LeftOver(u32),
    /// The action under way has ended, and the record is this now.
    Ended(Result<(), Failure>, Vec<Life>),
    /// The record was read anew, and is this now.
    Record(Vec<Life>),
    /// What was found out about a version that is to be destroyed.
    Inspected(u32, Verdict),
    /// The configuration has changed.
    Terms(Terms),
}

/// The next state, and what is to be done: every action but [`Deed::Inspect`] and [`Deed::Challenge`] ends with one
/// [`Event::Ended`]. Total: any event may come at any time.
#[must_use]
pub fn step(mut ring: Ring, now: Now, event: Event) -> (Ring, Vec<Action>) {
    ring.take(now, event);
    ring.pace.look(now, &ring.lives);
    let actions = ring.decide(now);
    (ring, actions)
}
