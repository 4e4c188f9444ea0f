//! The interfaces through which the driver reaches JetStream and the other members of a fleet.

use crate::envelope::{Claim, Kid, Proof, VersionKey};
use crate::fault::{Failure, Fault};
use crate::later::{Later, ready};
use crate::retention::{JetStream, RetentionAnswer, RetentionQuestion};

use super::engine::Member;

/// Finds out what is stored under a key version.
pub trait Inspector: Send {
    /// Asks; the answer comes within a bounded time.
    fn inspect(&self, question: RetentionQuestion) -> Later<'static, RetentionAnswer>;
}

/// A change among the members of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetEvent {
    /// It has joined, or come back.
    Joined(Member),
    /// It has left, or is counted as lost.
    Left(Member),
    /// It has proven that it holds the version with this kid; a version number would be ambiguous between keyrings.
    Proven(Member, Kid),
}

/// The gateways that share a catalogue.
pub trait Fleet: Send {
    /// The members at the start.
    fn members(&self) -> Vec<Member>;

    /// The changes since the last call.
    fn events(&mut self) -> Vec<FleetEvent>;

    /// Has a member prove that it holds the version; `None`: it does not answer, or its answer comes as an event. `key` is this
    /// gateway's own, for this gateway's own proof.
    fn prove(&self, claim: &Claim<'_>, number: u32, key: &VersionKey) -> Option<Proof>;
}

/// Stands in where there is no `[control]`: JetStream cannot be asked.
pub(super) struct NoInspector;

/// A fleet of one gateway.
pub(super) struct SingleMember;

impl Inspector for JetStream {
    fn inspect(&self, question: RetentionQuestion) -> Later<'static, RetentionAnswer> {
        let control = self.clone();
        Box::pin(async move { control.streams_storing(question).await })
    }
}

impl Inspector for NoInspector {
    fn inspect(&self, _question: RetentionQuestion) -> Later<'static, RetentionAnswer> {
        ready(RetentionAnswer::Unknown(Failure::new(
            "JetStream cannot be asked",
            Fault::operator("give the gateway a connection of its own, section [control]"),
        )))
    }
}

impl Fleet for SingleMember {
    fn members(&self) -> Vec<Member> {
        vec![Member("self".to_owned())]
    }

    fn events(&mut self) -> Vec<FleetEvent> {
        Vec::new()
    }

    fn prove(&self, claim: &Claim<'_>, _number: u32, key: &VersionKey) -> Option<Proof> {
        Some(key.confirm(claim))
    }
}
