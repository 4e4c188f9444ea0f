//! How long a version is held after its overlap, and who has to approve of its destruction.

use jiff::Timestamp;

use crate::audit::Actor;
use crate::catalogue::State;
use crate::rotation::terms::{DestroyApproval, Retain};

use super::order::{Order, Refused};
use super::state::KeyringState;
use super::version::{Now, VersionView};

impl KeyringState {
    /// Whether a destruction is requested in the way that the keyring demands (`destroy`).
    pub(super) const fn check_approval(&self, order: Order) -> Result<(), Refused> {
        match (order, self.terms.destroy) {
            (Order::Destroy(number), DestroyApproval::Approved) => Err(Refused::Unapproved(number)),
            (Order::Propose(..) | Order::Approve(_), DestroyApproval::Automatic) => {
                Err(Refused::Automatic)
            }
            _ => Ok(()),
        }
    }

    /// Whether this person may approve of the destruction of a version: another person, or the gateway, has requested it. What is
    /// stored is checked elsewhere.
    ///
    /// # Errors
    /// Why not.
    pub fn may_approve(&self, number: u32, who: &Actor, now: Now) -> Result<(), Refused> {
        self.check_order(Order::Approve(number))?;
        let version = self.version(number).ok_or(Refused::Unknown(number))?;
        let who = who.to_string();
        match &version.proposed {
            Some(proposal) if proposal.who == who => Err(Refused::SamePerson { who, number }),
            Some(_) => Ok(()),
            None if self.is_due_for_destruction(version) && !self.is_held(version, now) => Ok(()),
            None => Err(Refused::NothingAsked(number)),
        }
    }

    /// Whether the gateway itself is to destroy a version, once nothing stored needs it.
    fn is_due_for_destruction(&self, version: &VersionView) -> bool {
        version.state == State::Archived && self.terms.retain == Retain::Destroy
    }

    /// Whether the `hold` of a version is not over yet.
    pub(super) fn is_held(&self, version: &VersionView, now: Now) -> bool {
        version.age(now) < self.terms.hold
    }

    /// When the `hold` of a version ends; `None` for a version that the gateway does not destroy by itself.
    #[must_use]
    pub fn held_until(&self, number: u32, now: Now) -> Option<Timestamp> {
        let version = self.version(number)?;
        self.is_due_for_destruction(version)
            .then(|| version.ends(self.terms.hold, now))
    }
}
