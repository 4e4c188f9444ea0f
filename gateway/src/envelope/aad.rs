//! What is authenticated beside the payload: the header, and the subject when the envelope is bound to it.

use super::HEADER_LEN;

/// The longest subject that an envelope can be bound to, in bytes: its length travels in the authenticated data as a u16.
pub const LONGEST_SUBJECT: usize = 65_535;

/// Where the subject starts: behind the header and its own length.
const SUBJECT_AT: usize = HEADER_LEN + 2;
/// Scratch for everyday subjects (≤ 94 bytes): small, because all of it is written for each [`Subject`].
const SHORT: usize = 128;
/// Stack scratch for subjects up to 512 bytes. Longer ones take the heap.
const LONG: usize = SUBJECT_AT + 512;

/// Room for a header, then u16 length ‖ subject if they fit: laid out once for messages on the same subject.
pub(super) struct Scratch([u8; SHORT]);

/// The subject that envelopes are bound to, or none; ready to stand behind one header after another.
pub struct Subject<'s> {
    name: Option<&'s [u8]>,
    scratch: Scratch,
    len: Option<usize>,
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self([0; SHORT])
    }

    /// Lays out a subject. How many bytes are authenticated beside the payload; `None` when it is too long to be bound.
    #[inline]
    pub(super) fn bind(&mut self, name: Option<&[u8]>) -> Option<usize> {
        let len = len(name)?;
        if let Some(name) = name
            && len <= SHORT
        {
            let (_header, behind) = self.0.split_first_chunk_mut::<HEADER_LEN>()?;
            let (length, behind) = behind.split_first_chunk_mut()?;
            *length = u16::try_from(name.len()).ok()?.to_be_bytes();
            behind.get_mut(..name.len())?.copy_from_slice(name);
        }
        Some(len)
    }

    /// The room for a header.
    #[inline]
    pub(super) fn head(&mut self) -> Option<&mut [u8; HEADER_LEN]> {
        self.0.first_chunk_mut()
    }

    /// Calls `then` with header ‖ (if there is a subject) u16 length ‖ subject, as [`Self::bind`] laid out and measured it.
    #[inline]
    pub(super) fn with<T>(
        &self,
        (name, len): (Option<&[u8]>, usize),
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if len <= SHORT {
            self.0.get(..len).map(then)
        } else {
            with(self.0.first_chunk()?, name?, len, then)
        }
    }
}

impl<'s> Subject<'s> {
    /// `name` must be normalised already; `None` binds to nothing, and opens no bound envelope.
    #[must_use]
    #[inline]
    pub fn new(name: Option<&'s [u8]>) -> Self {
        let mut scratch = Scratch::new();
        let len = scratch.bind(name);
        Self { name, scratch, len }
    }

    /// Calls `then` with header ‖ u16 length ‖ subject; `None` when there is no subject, or one that is too long to be bound.
    #[inline]
    pub(super) fn behind<T>(
        &mut self,
        header: &[u8; HEADER_LEN],
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let bound = (Some(self.name?), self.len?);
        *self.scratch.head()? = *header;
        self.scratch.with(bound, then)
    }
}

/// How many bytes are authenticated beside the payload; `None` when the subject is too long to be bound.
fn len(subject: Option<&[u8]>) -> Option<usize> {
    match subject {
        None => Some(HEADER_LEN),
        Some(subject) if subject.len() > LONGEST_SUBJECT => None,
        Some(subject) => SUBJECT_AT.checked_add(subject.len()),
    }
}

/// For a subject that does not fit [`Subject`].
#[cold]
fn with<T>(
    header: &[u8; HEADER_LEN],
    subject: &[u8],
    all: usize,
    then: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let subject_len = u16::try_from(subject.len()).ok()?.to_be_bytes();
    let parts = [header.as_slice(), &subject_len, subject];
    if all <= LONG {
        return Some(then(join(&mut [0; LONG], parts)?));
    }
    Some(then(&parts.concat()))
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
