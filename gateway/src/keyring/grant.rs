//! The part of a budget that one lane holds, as plain integers.

use super::Volume;
use super::budget::Budget;
use super::sync::Arc;

/// What a lane may seal without touching the shared budget. On drop, the rest is given back.
pub(super) struct Grant {
    budget: Arc<Budget>,
    left: Volume,
}

impl Grant {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            left: Volume::default(),
        }
    }

    /// Makes sure that the grant covers one message of `bytes`. False: the budget is used up; the grant is unchanged or larger
    /// then.
    #[inline]
    pub(super) fn cover(&mut self, bytes: u64) -> bool {
        (self.left.messages != 0 && self.left.bytes >= bytes) || self.refill(bytes)
    }

    /// Subtracts one sealed message of `bytes`, which the grant covers.
    #[inline]
    pub(super) const fn spend(&mut self, bytes: u64) {
        self.left = self.left.minus(Volume { messages: 1, bytes });
    }

    /// After a batch: gives back what others may be waiting for.
    pub(super) fn settle(&mut self) {
        let surplus = self.budget.surplus(self.left);
        self.left = self.left.minus(surplus);
        self.budget.give_back(surplus);
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
