//! Memory for the state that a session makes the gateway keep: counted in bytes, given back when the session ends.
//!
//! A session may always hold `FLOOR` bytes. Beyond that it takes from a pool that all sessions of its worker share, up to `MOST`.
//! A table that gets no memory evicts entries of its own session: one client's flood never costs another client's state.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that a session may hold whatever the others hold.
pub(super) const FLOOR: usize = 8 * 1024;

/// The most bytes that one session may hold.
pub(super) const MOST: usize = 2 * 1024 * 1024;

/// What the sessions of a worker share beyond the floor of each.
pub(super) struct MemoryPool {
    left: Cell<usize>,
}

/// The bytes that one session holds.
pub(super) struct MemoryReservation {
    memory: Rc<MemoryPool>,
    held: Cell<usize>,
}

impl MemoryPool {
    pub(super) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(bytes),
        })
    }

    /// For a new session.
    pub(super) fn open(self: &Rc<Self>) -> Rc<MemoryReservation> {
        Rc::new(MemoryReservation {
            memory: Rc::clone(self),
            held: Cell::new(0),
        })
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }
}

impl MemoryReservation {
    /// Takes so many bytes more. False: nothing was taken, and the caller has to evict something of its own session.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let held = self.held.get();
        let Some(grown) = held.checked_add(bytes).filter(|grown| *grown <= MOST) else {
            return false;
        };
        let Some(left) = self.memory.left.get().checked_sub(more(held, grown)) else {
            return false;
        };
        self.memory.left.set(left);
        self.held.set(grown);
        true
    }

    pub(super) fn shrink(&self, bytes: usize) {
        let held = self.held.get();
        let shrunk = held.saturating_sub(bytes);
        let left = self.memory.left.get().saturating_add(more(shrunk, held));
        self.memory.left.set(left);
        self.held.set(shrunk);
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.shrink(self.held.get());
    }
}

/// Bytes of the shared pool that a session needs to go from holding `from` bytes to holding `to`.
fn more(from: usize, to: usize) -> usize {
    to.max(FLOOR).saturating_sub(from.max(FLOOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_holds_its_floor_whatever_the_others_hold() {
        let memory = MemoryPool::new(100);
        let (greedy, modest) = (memory.open(), memory.open());
        assert!(greedy.grow(FLOOR + 100));
        assert!(!greedy.grow(1));
        assert!(modest.grow(FLOOR));
        assert!(!modest.grow(1));
        greedy.shrink(1);
        assert!(modest.grow(1));
    }

    #[test]
    fn room_that_is_refused_is_not_taken() {
        let memory = MemoryPool::new(10);
        let reservation = memory.open();
        assert!(!reservation.grow(FLOOR + 11));
        assert_eq!((reservation.held(), memory.left.get()), (0, 10));
        assert!(!reservation.grow(usize::MAX));
        assert!(reservation.grow(FLOOR + 10));
        assert!(!reservation.grow(usize::MAX));
        assert_eq!((reservation.held(), memory.left.get()), (FLOOR + 10, 0));
    }

    #[test]
    fn session_never_holds_more_than_its_most() {
        let memory = MemoryPool::new(usize::MAX);
        let reservation = memory.open();
        assert!(reservation.grow(MOST));
        assert!(!reservation.grow(1));
    }

    #[test]
    fn session_that_ends_gives_everything_back() {
        let memory = MemoryPool::new(MOST);
        let reservation = memory.open();
        assert!(reservation.grow(MOST));
        reservation.shrink(FLOOR);
        assert_eq!(memory.left.get(), 2 * FLOOR);
        drop(reservation);
        assert_eq!(memory.left.get(), MOST);
    }

    #[test]
    fn giving_back_more_than_was_taken_makes_no_room() {
        let memory = MemoryPool::new(10);
        let reservation = memory.open();
        assert!(reservation.grow(FLOOR + 1));
        reservation.shrink(usize::MAX);
        assert_eq!((reservation.held(), memory.left.get()), (0, 10));
    }
}
