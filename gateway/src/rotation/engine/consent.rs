//! How long a version is held after its overlap, and who has to approve of its destruction.

use jiff::Timestamp;

use crate::audit::Who;
use crate::catalogue::State;
use crate::rotation::terms::{Consent, Retain};

use super::life::{Life, Now};
use super::order::{Order, Refused};
use super::ring::Ring;

impl Ring {
    /// Whether a destruction is requested in the way that the keyring demands (`destroy`).
    pub(super) const fn permits(&self, order: Order) -> Result<(), Refused> {
        match (order, self.terms.destroy) {
            (Order::Destroy(number), Consent::Approved) => Err(Refused::Unapproved(number)),
            (Order::Propose(..) | Order::Approve(_), Consent::Automatic) => Err(Refused::Automatic),
            _ => Ok(()),
        }
    }

    /// Whether this person may approve of the destruction of a version: another person, or the gateway, has requested it. What is
    /// stored is checked elsewhere.
    ///
    /// # Errors
    /// Why not.
    pub fn may_approve(&self, number: u32, who: &Who, now: Now) -> Result<(), Refused> {
        self.judge(Order::Approve(number))?;
        let life = self.life(number).ok_or(Refused::Unknown(number))?;
        let who = who.to_string();
        match &life.proposed {
            Some(proposal) if proposal.who == who => Err(Refused::SamePerson { who, number }),
            Some(_) => Ok(()),
            None if self.is_over(life) && !self.is_held(life, now) => Ok(()),
            None => Err(Refused::NothingAsked(number)),
        }
    }

    /// Whether the gateway itself is to destroy a version, once nothing stored needs it.
    fn is_over(&self, life: &Life) -> bool {
        life.state == State::Archived && self.terms.retain == Retain::Destroy
    }

    /// Whether the `hold` of a version is not over yet.
    pub(super) fn is_held(&self, life: &Life, now: Now) -> bool {
        life.age(now) < self.terms.hold
    }

    /// When the `hold` of a version ends; `None` for a version that the gateway does not destroy by itself.
    #[must_use]
    pub fn held_until(&self, number: u32, now: Now) -> Option<Timestamp> {
        let life = self.life(number)?;
        self.is_over(life).then(|| life.ends(self.terms.hold, now))
    }
}
