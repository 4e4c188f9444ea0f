//! A growable byte buffer that is read at the front and written at the back.
//!
//! ```text
//! 0 ............ start ............ end ............ bytes.len()
//!    consumed          filled           spare
//! ```
//!
//! Memory is initialised once, when it grows, so that filling it from a socket or a cipher costs no clearing. It is wiped before
//! it is freed, for it held plaintext.

/// Bytes copied at once; see [`copy_in_pieces`].
const PIECE: usize = 2048;

/// The buffer. Invariant: `start <= end <= bytes.len()`.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer that owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    /// An empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    /// What has been written and not yet consumed.
    #[must_use]
    #[inline]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes are filled.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether nothing is filled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How much memory the buffer holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the first `count` filled bytes (all of them when there are fewer).
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets everything filled; keeps the memory.
    pub const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// The spare room behind the filled bytes; [`Self::reserve`] makes more. Bytes written there are filled after
    /// [`Self::advance`].
    pub fn spare(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts `count` bytes of [`Self::spare`] as filled.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// Makes [`Self::spare`] at least `count` bytes long, by moving the filled bytes to the front and, when that is not
    /// enough, by growing.
    #[inline]
    pub fn reserve(&mut self, count: usize) {
        if self.bytes.len().saturating_sub(self.end) < count {
            self.make_room(count);
        }
    }

    #[cold]
    fn make_room(&mut self, count: usize) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end = self.len();
        self.start = 0;
        let wanted = self.end.saturating_add(count);
        if self.bytes.len() < wanted {
            self.grow(wanted.next_power_of_two());
        }
    }

    /// Moves the filled bytes, which are at the front, to new memory; growing in place might leave a copy that is not wiped.
    fn grow(&mut self, capacity: usize) {
        let mut grown = vec![0; capacity];
        if let Some(front) = grown.get_mut(..self.end) {
            front.copy_from_slice(self.filled());
        }
        wipe(&mut self.bytes);
        self.bytes = grown;
    }

    /// Marks `count` bytes of unspecified content as filled and returns them for overwriting.
    #[inline]
    pub fn claim(&mut self, count: usize) -> &mut [u8] {
        self.reserve(count);
        let from = self.end;
        self.advance(count);
        self.bytes.get_mut(from..self.end).unwrap_or_default()
    }

    /// Appends `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        let room = self.claim(bytes.len());
        if bytes.len() <= PIECE {
            room.copy_from_slice(bytes);
        } else {
            copy_in_pieces(room, bytes);
        }
    }

    /// Shortens the filled bytes to `len`; does nothing when they are shorter.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start.saturating_add(len).min(self.end);
    }

    /// [`Self::truncate`], and wipes what is cut off.
    pub fn wipe(&mut self, len: usize) {
        let start = self.start.saturating_add(len);
        wipe(self.bytes.get_mut(start..self.end).unwrap_or_default());
        self.truncate(len);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

/// The C library copies more than some kilobytes by `rep movsb`, which on some processors is thirty times slower when the
/// destination is a few bytes past the source modulo 4096.
fn copy_in_pieces(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
        to.copy_from_slice(from);
    }
}

/// Clears at the speed of `memset`, which `zeroize` would not. `tests/tests/secrets/main.rs` checks that the compiler keeps it.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_room_is_used_again_before_the_buffer_grows() {
        let mut buffer = Buffer::with_capacity(8);
        buffer.put(b"abcdefgh");
        buffer.consume(6);
        buffer.put(b"123456");
        assert_eq!(buffer.filled(), b"gh123456");
        assert_eq!(buffer.capacity(), 8);
    }

    #[test]
    fn reserve_beyond_the_capacity_grows_and_keeps_what_is_filled() {
        let mut buffer = Buffer::new();
        buffer.put(b"abc");
        buffer.reserve(100);
        assert!(buffer.spare().len() >= 100);
        assert_eq!(buffer.filled(), b"abc");
    }

    #[test]
    fn what_is_copied_in_pieces_is_whole() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut buffer = Buffer::new();
            buffer.put(b"before");
            buffer.put(&bytes);
            assert_eq!(buffer.filled(), [&b"before"[..], &bytes].concat());
        }
    }

    #[test]
    fn truncate_drops_the_tail_only() {
        let mut buffer = Buffer::new();
        buffer.put(b"abcdef");
        buffer.consume(1);
        buffer.truncate(2);
        assert_eq!(buffer.filled(), b"bc");
    }
}
