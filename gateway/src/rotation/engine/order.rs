//! Orders of operators, and why they are refused.

use crate::catalogue::State;
use crate::fault::{Fault, faults};
use crate::rotation::reason::Reason;

use super::step::Step;

/// An order to a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Replace the active version.
    Rotate,
    /// Revoke a version: it never seals again.
    Compromise(u32),
    /// Suspend a version during an investigation: it does not seal.
    Suspend(u32),
    /// End a suspension.
    Restore(u32),
    /// End the overlap of a version now.
    Archive(u32),
    /// Destroy the secret of a version, whatever is stored: the caller has seen the evidence.
    Destroy(u32),
    /// Request that where it takes a second person; `true`: by force, whatever is stored.
    Propose(u32, bool),
    /// Approve of such a request.
    Approve(u32),
    /// Abort the rotation under way.
    Abort,
}

/// An order and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// The order.
    pub order: Order,
    /// Who and why.
    pub reason: Reason,
}

/// A request to destroy a key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
pub struct DestroyRequest {
    /// Destroy even if stored messages may need the version: the caller has seen the evidence.
    pub forced: bool,
    /// Approves of a destruction that another person, or the gateway, has requested.
    pub approves: bool,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such version.
    #[error("the keyring has no version {0}")]
    Unknown(u32),
    /// Its secret is gone for good.
    #[error("version {0} is destroyed")]
    Destroyed(u32),
    /// Already in that state.
    #[error("version {0} is {1} already")]
    Already(u32, State),
    /// A compromised version stays so.
    #[error("version {0} is compromised")]
    Compromised(u32),
    /// It is in use.
    #[error("version {0} is {1}: it is in use, or about to be")]
    InUse(u32, State),
    /// Nothing to return from.
    #[error("version {0} is {1}, not suspended")]
    NotSuspended(u32, State),
    /// No overlap to end.
    #[error("version {0} is {1}")]
    NotDecryptOnly(u32, State),
    /// A second person is needed.
    #[error(
        "the keyring says `destroy = \"approved\"`: version {0} is destroyed once somebody else approves of it"
    )]
    Unapproved(u32),
    /// Nobody is needed.
    #[error("the keyring says `destroy = \"automatic\"`: nothing waits for an approval")]
    Automatic,
    /// Nothing to approve of.
    #[error(
        "nobody has asked for the destruction of version {0}, and the gateway does not want it yet"
    )]
    NothingAsked(u32),
    /// The request and the approval come from one person.
    #[error(
        "{who} has asked for the destruction of version {number}, and cannot approve of it too"
    )]
    SamePerson {
        /// Who.
        who: String,
        /// The version.
        number: u32,
    },
    /// The approval does not say that it is by force.
    #[error("the destruction of version {0} is asked for although something stored may need it")]
    Forced(u32),
    /// Nothing to abort.
    #[error("no rotation is under way that could be aborted")]
    NoRotation,
    /// Without the rotation nothing could be sealed.
    #[error("the keyring has no other version to seal under")]
    Needed,
    /// Another rotation would begin at once.
    #[error(
        "the active version is due for a successor ({0}): another rotation would begin at once"
    )]
    Due(String),
}

impl Order {
    /// Whether it stops a version from sealing: then it is retried until it succeeds, and a rotation follows.
    #[must_use]
    pub const fn stops_sealing(self) -> bool {
        matches!(self, Self::Compromise(_) | Self::Suspend(_))
    }

    /// The number of the version.
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Compromise(number)
            | Self::Suspend(number)
            | Self::Restore(number)
            | Self::Archive(number)
            | Self::Destroy(number)
            | Self::Propose(number, _)
            | Self::Approve(number) => Some(number),
            Self::Rotate | Self::Abort => None,
        }
    }

    /// Whether the order is possible for a version in this state.
    pub(super) fn check_state(self, state: State) -> Result<(), Refused> {
        if let (Some(number), State::Destroyed) = (self.number(), state) {
            return Err(Refused::Destroyed(number));
        }
        match (self, state) {
            (Self::Compromise(number), State::Compromised) => Err(Refused::Already(number, state)),
            (Self::Suspend(number), State::Suspended) => Err(Refused::Already(number, state)),
            (Self::Suspend(number), State::Compromised) => Err(Refused::Compromised(number)),
            (Self::Archive(number), State::Archived) => Err(Refused::Already(number, state)),
            (Self::Restore(_), State::Suspended) | (Self::Archive(_), State::DecryptOnly) => Ok(()),
            (Self::Restore(number), _) => Err(Refused::NotSuspended(number, state)),
            (Self::Archive(number), _) => Err(Refused::NotDecryptOnly(number, state)),
            (
                Self::Destroy(number) | Self::Propose(number, _) | Self::Approve(number),
                State::PreActive | State::Ready | State::Active,
            ) => Err(Refused::InUse(number, state)),
            _ => Ok(()),
        }
    }
}

impl OrderRequest {
    /// Whether this step carries the order out.
    pub(super) fn is_met_by(&self, step: &Step) -> bool {
        match (self.order, step) {
            (Order::Compromise(asked), Step::Compromise(done))
            | (Order::Suspend(asked), Step::Suspend(done))
            | (Order::Restore(asked), Step::Restore(done, _))
            | (Order::Archive(asked), Step::Archive(done))
            | (Order::Destroy(asked) | Order::Approve(asked), Step::Destroy(done))
            | (Order::Propose(asked, _), Step::Propose(done, _)) => asked == *done,
            (Order::Abort, Step::Discard(_)) => true,
            _ => false,
        }
    }

    pub(super) const fn stops_sealing(&self) -> bool {
        self.order.stops_sealing()
    }
}

faults! { Refused {
    Self::Unknown(_) => Fault::client("`keyway keys` lists those that there are"),
    Self::Destroyed(_) => Fault::client("nothing can be done with it"),
    Self::Already(..) | Self::NoRotation => Fault::client("nothing is left to do"),
    Self::Compromised(_) => Fault::client("it can only be destroyed"),
    Self::InUse(..) => Fault::client("rotate first, or revoke it"),
    Self::NotSuspended(..) => Fault::client("only a suspended version can be restored"),
    Self::NotDecryptOnly(..) => Fault::client("only a decrypt-only version can be archived"),
    Self::Unapproved(_) => Fault::client(""),
    Self::Automatic => Fault::client("give the order without it"),
    Self::NothingAsked(_) => Fault::client("`keyway keys why` says what keeps it"),
    Self::SamePerson { .. } => Fault::client("somebody else has to"),
    Self::Forced(_) => Fault::client("approve of that by force, too, or not at all"),
    Self::Needed => Fault::client("the rotation goes on, because traffic waits for it"),
    Self::Due(_) => Fault::client("let this one go on, or raise `rotate` and `limit` and `keyway reload` first"),
} }
