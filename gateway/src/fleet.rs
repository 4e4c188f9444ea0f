//! The gateways that share a catalogue, as rotation knows them.

use crate::envelope::{Claim, Kid, Proof, VersionKey};

/// A gateway of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub String);

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

/// A fleet of one gateway.
pub struct SingleMember;

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
