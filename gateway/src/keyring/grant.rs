//! The part of a budget that one lane holds: plain integers, and the way back.

use super::Used;
use super::budget::Budget;
use super::sync::Arc;

/// What a lane may seal without asking anybody. Dropped, it gives back what was not spent.
pub(super) struct Grant {
    budget: Arc<Budget>,
    left: Used,
}

impl Grant {
    /// An empty one.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            left: Used::default(),
        }
    }

    /// Makes room for one message of `bytes`. False when the budget does not have it; what is held stays usable then.
    #[inline]
    pub(super) fn cover(&mut self, bytes: u64) -> bool {
        (self.left.messages != 0 && self.left.bytes >= bytes) || self.refill(bytes)
    }

    /// One message of `bytes`, for which there is room, has been sealed.
    #[inline]
    pub(super) const fn spend(&mut self, bytes: u64) {
        self.left = self.left.minus(Used { messages: 1, bytes });
    }

    /// A batch is over: leaves nothing here that others may be waiting for.
    pub(super) fn settle(&mut self) {
        let missed = self.budget.missed(self.left);
        self.left = self.left.minus(missed);
        self.budget.give_back(missed);
    }

    #[cold]
    fn refill(&mut self, bytes: u64) -> bool {
        if self.left.messages == 0 {
            let Some(more) = self.budget.take_messages() else {
                return false;
            };
            self.left.messages = more;
        }
        let lacking = bytes.saturating_sub(self.left.bytes);
        if lacking != 0 {
            let Some(more) = self.budget.take_bytes(lacking) else {
                return false;
            };
            self.left.bytes = self.left.bytes.saturating_add(more);
        }
        true
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.give_back(std::mem::take(&mut self.left));
    }
}
