//! What the state machine is told.

use crate::envelope::Volume;
use crate::fault::Failure;
use crate::rotation::terms::Terms;

use super::order::{Order, OrderRequest};
use super::state::RetentionVerdict;
use super::usage::LimitHeadroom;
use super::version::VersionView;
use crate::fleet::Member;

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
    /// An order that [`check_order`](super::KeyringState::check_order) has accepted.
    Ordered(OrderRequest),
    /// The caller was told that the order has failed: it must not happen later, except for a revocation.
    Withdrawn(Order),
    /// An earlier process has left this successor of a withdrawn rotation behind.
    LeftOver(u32),
    /// The action under way has ended; the versions in the record now.
    Ended(Result<(), Failure>, Vec<VersionView>),
    /// The record was read again; the versions in it.
    Record(Vec<VersionView>),
    /// The answer to [`super::Step::Inspect`].
    Inspected(u32, RetentionVerdict),
    /// The configuration has changed.
    Terms(Terms),
}
