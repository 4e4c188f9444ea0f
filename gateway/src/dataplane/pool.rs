//! Buffers lent to sessions that have bytes in hand. An idle session holds none.

use std::cell::RefCell;

use crate::wire::Buffer;

/// What one read may bring. Large enough to amortise the system call, small enough to stay in the cache.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// A batch ends when its output has grown to this.
pub(super) const BATCH_OUTPUT: usize = 256 * 1024;

/// How many bytes of idle buffers a worker keeps, in all; the rest goes back to the system.
const KEEP: usize = 8 * 1024 * 1024;

/// A worker's idle buffers; the one given last is the warmest and is lent first.
#[derive(Default)]
pub(super) struct Pool(RefCell<Idle>);

#[derive(Default)]
struct Idle {
    buffers: Vec<Buffer>,
    bytes: usize,
}

impl Pool {
    /// An empty buffer with room for a read.
    pub(super) fn take(&self) -> Buffer {
        let mut idle = self.0.borrow_mut();
        let Some(buffer) = idle.buffers.pop() else {
            return Buffer::with_capacity(READ_SIZE);
        };
        idle.bytes = idle.bytes.saturating_sub(buffer.capacity());
        buffer
    }

    /// Takes a buffer back, whatever it holds.
    pub(super) fn give(&self, mut buffer: Buffer) {
        let mut idle = self.0.borrow_mut();
        let bytes = idle.bytes.saturating_add(buffer.capacity());
        if buffer.capacity() >= READ_SIZE && bytes <= KEEP {
            buffer.clear();
            idle.bytes = bytes;
            idle.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_buffers_beyond_the_limit_are_given_back() {
        let pool = Pool::default();
        for _ in 0..3 {
            pool.give(Buffer::with_capacity(KEEP / 2));
        }
        assert_eq!(pool.0.borrow().bytes, KEEP);
        assert_eq!(pool.take().capacity(), KEEP / 2);
        assert_eq!(pool.0.borrow().bytes, KEEP / 2);
    }
}
