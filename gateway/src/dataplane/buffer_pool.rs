//! A worker's pool of buffers. An idle session holds none.

use std::cell::RefCell;

use crate::wire::Buffer;

/// Bytes per read: enough to amortise the system call, few enough to stay in the CPU cache.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// A batch ends when its output has this size.
pub(super) const BATCH_OUTPUT: usize = 256 * 1024;

/// Bytes of idle buffers that a worker keeps.
const KEEP: usize = 8 * 1024 * 1024;

/// A worker's idle buffers; the last one returned is still in the CPU cache and is reused first.
#[derive(Default)]
pub(super) struct BufferPool(RefCell<Idle>);

#[derive(Default)]
struct Idle {
    buffers: Vec<Buffer>,
    bytes: usize,
}

impl BufferPool {
    /// An empty buffer of at least `READ_SIZE`.
    pub(super) fn take(&self) -> Buffer {
        let mut idle = self.0.borrow_mut();
        let Some(buffer) = idle.buffers.pop() else {
            return Buffer::with_capacity(READ_SIZE);
        };
        idle.bytes = idle.bytes.saturating_sub(buffer.capacity());
        buffer
    }

    /// Takes a buffer back and clears it.
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
        let pool = BufferPool::default();
        for _ in 0..3 {
            pool.give(Buffer::with_capacity(KEEP / 2));
        }
        assert_eq!(pool.0.borrow().bytes, KEEP);
        assert_eq!(pool.take().capacity(), KEEP / 2);
        assert_eq!(pool.0.borrow().bytes, KEEP / 2);
    }
}
