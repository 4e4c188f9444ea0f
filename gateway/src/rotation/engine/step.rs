//! The actions that the engine decides on, and the diagram of the key states.

use strum::{IntoStaticStr, VariantArray as _};

use crate::catalogue::{Opens, Proposal, State};
use crate::rotation::reason::Reason;

use crate::fleet::Member;

/// Something to be done, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The step to take.
    pub step: Step,
    /// Its reason.
    pub reason: Reason,
}

/// One step in the lifecycle of a key version. The process may crash after any of them. Its word is that in logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Step {
    /// Generate a secret, wrap it, write it as pre-active, read it back.
    Generate,
    /// Give every member the version.
    Distribute(u32),
    /// Have these members prove possession of the secret.
    Challenge(u32, Vec<Member>),
    /// All have proven: pre-active becomes ready.
    Admit(u32),
    /// The agreed time has come: ready becomes active, and its predecessor decrypt-only in the same step.
    Activate(u32),
    /// Destroy a version that never sealed and is not needed.
    Discard(u32),
    /// The overlap is over, or an operator says so.
    Archive(u32),
    /// Ask JetStream whether a stored message still needs it.
    Inspect(u32),
    /// Record a request for its destruction, which takes a second person.
    Propose(u32, Proposal),
    /// Destroy the secret; the record stays.
    Destroy(u32),
    /// It never seals again.
    Compromise(u32),
    /// It does not seal while an operator investigates.
    Suspend(u32),
    /// End a suspension: back to this state.
    Restore(u32, State),
}

impl Step {
    /// The number of the version; `None`: it is yet to be generated.
    #[must_use]
    pub const fn number(&self) -> Option<u32> {
        match self {
            Self::Generate => None,
            Self::Distribute(number)
            | Self::Challenge(number, _)
            | Self::Admit(number)
            | Self::Activate(number)
            | Self::Discard(number)
            | Self::Archive(number)
            | Self::Inspect(number)
            | Self::Propose(number, _)
            | Self::Destroy(number)
            | Self::Compromise(number)
            | Self::Suspend(number)
            | Self::Restore(number, _) => Some(*number),
        }
    }

    /// Whether the audit log's reserve is freed for it when the disk is full.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::Compromise(_) | Self::Suspend(_) | Self::Destroy(_)
        )
    }

    /// The state that the version enters; `None` when the record does not change.
    #[must_use]
    pub const fn enters(&self) -> Option<State> {
        match self {
            Self::Generate => Some(State::PreActive),
            Self::Admit(_) => Some(State::Ready),
            Self::Activate(_) => Some(State::Active),
            Self::Archive(_) => Some(State::Archived),
            Self::Discard(_) | Self::Destroy(_) => Some(State::Destroyed),
            Self::Compromise(_) => Some(State::Compromised),
            Self::Suspend(_) => Some(State::Suspended),
            Self::Restore(_, state) => Some(*state),
            Self::Distribute(_) | Self::Challenge(..) | Self::Inspect(_) | Self::Propose(..) => {
                None
            }
        }
    }
}

/// The label of a transition in the diagram; `None` for one that is not allowed.
#[must_use]
pub const fn transition_label(from: State, to: State) -> Option<&'static str> {
    match (from, to) {
        (State::PreActive, State::Ready) => Some("admit: every member has proven"),
        (State::Ready, State::Active) => Some("activate: at the agreed time"),
        (State::Active, State::DecryptOnly) => Some("activate: of the successor, same step"),
        (State::DecryptOnly, State::Archived) => Some("archive: the overlap is over"),
        (State::DecryptOnly | State::Archived, State::Destroyed) => {
            Some("destroy: nothing stored needs it, or forced")
        }
        (State::PreActive | State::Ready, State::Destroyed) => Some("discard: not needed"),
        (State::Suspended | State::Compromised, State::Destroyed) => {
            Some("destroy: an operator says so")
        }
        (State::Suspended, State::Active | State::DecryptOnly | State::Archived) => Some("restore"),
        (
            State::PreActive | State::Ready | State::Active | State::DecryptOnly | State::Archived,
            State::Suspended,
        ) => Some("suspend"),
        (
            State::PreActive
            | State::Ready
            | State::Active
            | State::DecryptOnly
            | State::Archived
            | State::Suspended,
            State::Compromised,
        ) => Some("compromise"),
        _ => None,
    }
}

/// The state machine as a Mermaid diagram: what `docs/rotation.md` shows.
#[must_use]
pub fn state_diagram() -> String {
    let name = |state: &State| state.to_string().replace('-', "_");
    let boxes = State::VARIANTS.iter().map(|state| {
        let seals = if state.seals() { ", seals" } else { "" };
        let opens = match state.opens() {
            Opens::No => "opens nothing",
            Opens::Yes => "opens",
            Opens::OnDemand => "opens on demand",
            Opens::ByPolicy => "opens by policy",
        };
        format!("    state \"{state}: {opens}{seals}\" as {}\n", name(state))
    });
    let arrows = State::VARIANTS.iter().flat_map(|from| {
        from.next().iter().filter_map(move |to| {
            let step = transition_label(*from, *to)?;
            Some(format!("    {} --> {}: {step}\n", name(from), name(to)))
        })
    });
    let born = "    [*] --> pre_active: generate\n".to_owned();
    let lines = boxes.chain([born]).chain(arrows);
    std::iter::once("stateDiagram-v2\n".to_owned())
        .chain(lines)
        .collect()
}
