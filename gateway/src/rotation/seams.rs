//! The interfaces through which the driver reaches JetStream and the other members of a fleet.

use std::future::Future;
use std::pin::Pin;

use crate::control::{Answer, Control, Question};
use crate::envelope::{Claim, Kid, Proof, VersionKey};

use super::engine::Member;

/// The answer to what is stored under a key version, or a future of it.
pub enum Inspection {
    /// Known at once.
    Answered(Answer),
    /// JetStream is asked; the answer comes within a bounded time.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

/// Finds out what is stored under a key version.
pub trait Inspector: Send {
    /// Starts asking. Does not block.
    fn inspect(&self, question: Question) -> Inspection;
}

/// A change among the members of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
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
    fn events(&mut self) -> Vec<News>;

    /// Has a member prove that it holds the version; `None`: it does not answer, or its answer comes as an event. `key` is this
    /// gateway's own, for this gateway's own proof.
    fn prove(&self, claim: &Claim<'_>, number: u32, key: &VersionKey) -> Option<Proof>;
}

/// Stands in where there is no `[control]`: JetStream cannot be asked.
pub(super) struct Nobody;

/// A fleet of one gateway.
pub(super) struct Alone;

impl Inspector for Control {
    fn inspect(&self, question: Question) -> Inspection {
        let control = self.clone();
        Inspection::Later(Box::pin(async move { control.holders(question).await }))
    }
}

impl Inspector for Nobody {
    fn inspect(&self, _question: Question) -> Inspection {
        let why = "JetStream cannot be asked; give the gateway a connection of its own, section [control]";
        Inspection::Answered(Answer::Unknown(why.to_owned()))
    }
}

impl Fleet for Alone {
    fn members(&self) -> Vec<Member> {
        vec![Member("self".to_owned())]
    }

    fn events(&mut self) -> Vec<News> {
        Vec::new()
    }

    fn prove(&self, claim: &Claim<'_>, _number: u32, key: &VersionKey) -> Option<Proof> {
        Some(key.confirm(claim))
    }
}
