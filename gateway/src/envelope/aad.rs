//! What is authenticated beside the payload: the header, and the subject when the envelope is bound to it.

use super::{HEADER_LEN, Header};

/// The longest subject that an envelope can be bound to, in bytes: its length travels in the authenticated data as a u16.
pub const LONGEST_SUBJECT: usize = 65_535;

/// Where the subject starts: behind the header and its own length.
const SUBJECT_AT: usize = HEADER_LEN + 2;
/// Stack scratch for everyday subjects (≤ 94 bytes): small, because it is zeroed for every message.
const SHORT: usize = 128;
/// Stack scratch for subjects up to 512 bytes. Longer ones take the heap.
const LONG: usize = SUBJECT_AT + 512;

/// What one lane authenticates, message after message: the header stays as it is, but for its counter and the flag of the binding.
pub(super) struct Scratch([u8; SHORT]);

impl Scratch {
    /// With this header in front.
    pub(super) fn new(header: &Header) -> Self {
        let mut bytes = [0; SHORT];
        if let Some(front) = bytes.first_chunk_mut() {
            *front = header.encode();
        }
        Self(bytes)
    }

    /// The header of another message in the lane.
    #[inline]
    pub(super) fn head(&mut self, header: &Header) -> [u8; HEADER_LEN] {
        let mut none = [0; HEADER_LEN];
        let head = self.0.first_chunk_mut().unwrap_or(&mut none);
        header.stamp(head);
        *head
    }

    /// [`with`], with the header that [`Self::head`] said last.
    #[inline]
    pub(super) fn with<T>(
        &mut self,
        subject: Option<&[u8]>,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let all = len(subject)?;
        let (head, behind) = self.0.split_first_chunk_mut::<HEADER_LEN>()?;
        if all > SHORT {
            return with(head, subject, then);
        }
        if let Some(subject) = subject {
            let (length, behind) = behind.split_first_chunk_mut()?;
            *length = u16::try_from(subject.len()).ok()?.to_be_bytes();
            behind.get_mut(..subject.len())?.copy_from_slice(subject);
        }
        self.0.get(..all).map(then)
    }
}

/// How many bytes [`with`] hands on; `None` when the subject is too long to be bound.
pub(super) fn len(subject: Option<&[u8]>) -> Option<usize> {
    match subject {
        None => Some(HEADER_LEN),
        Some(subject) if subject.len() > LONGEST_SUBJECT => None,
        Some(subject) => SUBJECT_AT.checked_add(subject.len()),
    }
}

/// Calls `then` with header ‖ (if bound) u16 length ‖ subject; `None` when the subject is too long to be bound.
pub(super) fn with<T>(
    header: &[u8; HEADER_LEN],
    subject: Option<&[u8]>,
    then: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let Some(subject) = subject else {
        return Some(then(header));
    };
    let subject_len = u16::try_from(subject.len()).ok()?.to_be_bytes();
    let parts = [header.as_slice(), &subject_len, subject];
    match len(Some(subject))? {
        all if all <= SHORT => Some(then(join(&mut [0; SHORT], parts)?)),
        all if all <= LONG => Some(then(join(&mut [0; LONG], parts)?)),
        _ => Some(then(&parts.concat())),
    }
}

/// Copies `parts` one behind the other to the start of `scratch`.
fn join<'a>(scratch: &'a mut [u8], parts: [&[u8]; 3]) -> Option<&'a [u8]> {
    let mut end = 0_usize;
    for part in parts {
        let start = end;
        end = start.checked_add(part.len())?;
        scratch.get_mut(start..end)?.copy_from_slice(part);
    }
    scratch.get(..end)
}
