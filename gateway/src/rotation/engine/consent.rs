//! How long a secret is held after its overlap, and who has to agree that it goes.

use jiff::Timestamp;

use crate::audit::Who;
use crate::catalogue::State;
use crate::rotation::terms::{Consent, Retain};

use super::life::{Life, Now};
use super::order::{Order, Refused};
use super::ring::Ring;

impl Ring {
    /// Whether an order is given in the way in which the keyring wants a destruction to be ordered.
    pub(super) const fn permits(&self, order: Order) -> Result<(), Refused> {
        match (order, self.terms.destroy) {
            (Order::Destroy(number), Consent::Approved) => Err(Refused::Unapproved(number)),
            (Order::Propose(..) | Order::Approve(_), Consent::Automatic) => Err(Refused::Automatic),
            _ => Ok(()),
        }
    }

    /// Whether this person's approval is all that the destruction of a version waits for, but for what is stored: another has asked for
    /// it, or the gateway wants it.
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

    /// Whether the gateway itself wants to destroy a version, as soon as that may be.
    fn is_over(&self, life: &Life) -> bool {
        life.state == State::Archived && self.terms.retain == Retain::Destroy
    }

    /// Whether it is too early to destroy a version whose overlap is over.
    pub(super) fn is_held(&self, life: &Life, now: Now) -> bool {
        life.age(now) < self.terms.hold
    }

    /// Until when a version whose overlap is over is kept, whatever is stored; `None` where that says nothing.
    #[must_use]
    pub fn held_until(&self, number: u32, now: Now) -> Option<Timestamp> {
        let life = self.life(number)?;
        self.is_over(life).then(|| life.ends(self.terms.hold, now))
    }
}
