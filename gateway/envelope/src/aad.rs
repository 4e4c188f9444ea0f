//! Additional authenticated data: the header, and what the envelope is bound to.

use super::{EnvelopeId, Flags, HEADER_LEN};

/// The longest subject that an envelope can be bound to, in bytes: the authenticated data has its length as a u16.
pub const MAX_SUBJECT_LEN: usize = 65_535;

/// Offset of the first bound part, after the header.
const TAIL_AT: usize = HEADER_LEN;
/// Scratch for subjects of at most 94 bytes: small, because each [`Aad`] initialises all of it.
const SHORT: usize = 128;
/// Stack scratch for subjects of at most 512 bytes; longer ones use the heap.
const LONG: usize = TAIL_AT + 2 + 512;

/// The context that an envelope is bound to. For sealing: what is authenticated. For opening: what is known, from which the
/// envelope's flags select.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The publisher's subject, normalised.
    pub subject: Option<&'a [u8]>,
    /// The request that it answers.
    pub answers: Option<EnvelopeId>,
    /// It passes a request on: its reply subject stands for more than this request, so that any answer may come there.
    pub passes_on: bool,
    /// The reply subject that it was published with.
    pub reply: Option<&'a [u8]>,
}

impl<'a> Binding<'a> {
    /// Bound to a subject alone, or to nothing.
    #[must_use]
    #[inline]
    pub const fn to(subject: Option<&'a [u8]>) -> Self {
        Self {
            subject,
            answers: None,
            passes_on: false,
            reply: None,
        }
    }

    /// The flags of an envelope with this binding.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> Flags {
        let all = [
            (self.subject.is_some(), Flags::BOUND),
            (self.answers.is_some(), Flags::ANSWER),
            (self.passes_on, Flags::PASSED_ON),
            (self.reply.is_some(), Flags::REPLY),
        ];
        let set = all.into_iter().filter(|(is_set, _)| *is_set);
        set.fold(Flags::default(), |flags, (_, flag)| flags.with(flag))
    }

    /// The parts that these flags select; `None` when one of them is not known.
    #[inline]
    fn select(&self, flags: Flags) -> Option<Self> {
        let Self {
            subject,
            answers,
            reply,
            ..
        } = *self;
        let known = (!flags.has(Flags::BOUND) || subject.is_some())
            && (!flags.has(Flags::ANSWER) || answers.is_some())
            && (!flags.has(Flags::REPLY) || reply.is_some());
        known.then_some(Self {
            subject: subject.filter(|_| flags.has(Flags::BOUND)),
            answers: answers.filter(|_| flags.has(Flags::ANSWER)),
            passes_on: flags.has(Flags::PASSED_ON),
            reply: reply.filter(|_| flags.has(Flags::REPLY)),
        })
    }

    /// Length of the authenticated data in bytes; `None` when a subject is too long.
    #[inline]
    fn len(&self) -> Option<usize> {
        let mut len = HEADER_LEN;
        for subject in [self.subject, self.reply].into_iter().flatten() {
            if subject.len() > MAX_SUBJECT_LEN {
                return None;
            }
            len = len.checked_add(2)?.checked_add(subject.len())?;
        }
        let answer = if self.answers.is_some() { 20 } else { 0 };
        len.checked_add(answer)
    }

    /// Writes the parts after the header into `room`, whose length is exact.
    #[inline]
    fn write(&self, room: &mut [u8]) -> Option<()> {
        let rest = write_name(room, self.subject)?;
        let rest = match self.answers {
            None => rest,
            Some(EnvelopeId { lane, counter }) => {
                let (place, rest) = rest.split_first_chunk_mut()?;
                *place = lane.0;
                let (place, rest) = rest.split_first_chunk_mut()?;
                *place = counter.to_be_bytes();
                rest
            }
        };
        write_name(rest, self.reply).map(|_rest| ())
    }

    /// Calls `then` with the authenticated data where it does not fit a prepared [`Scratch`].
    #[inline(never)]
    fn with<T>(
        &self,
        header: &[u8; HEADER_LEN],
        all: usize,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let fill = |room: &mut [u8]| {
            let (head, tail) = room.split_first_chunk_mut()?;
            *head = *header;
            self.write(tail)
        };
        if all <= LONG {
            let mut scratch = [0; LONG];
            let room = scratch.get_mut(..all)?;
            fill(room)?;
            return Some(then(room));
        }
        let mut room = vec![0; all];
        fill(&mut room)?;
        Some(then(&room))
    }
}

/// Writes u16 length ‖ name, if there is one; yields the rest of the room.
#[inline]
fn write_name<'r>(room: &'r mut [u8], name: Option<&[u8]>) -> Option<&'r mut [u8]> {
    let Some(name) = name else {
        return Some(room);
    };
    let (length, room) = room.split_first_chunk_mut()?;
    *length = u16::try_from(name.len()).ok()?.to_be_bytes();
    let (place, rest) = room.split_at_mut_checked(name.len())?;
    place.copy_from_slice(name);
    Some(rest)
}

/// A header and the bound parts, if they fit: prepared once for messages with the same binding.
pub(super) struct Scratch([u8; SHORT]);

impl Scratch {
    #[inline]
    pub(super) const fn new() -> Self {
        Self([0; SHORT])
    }

    /// Writes the bound parts. Yields the length of the authenticated data in bytes; `None` when a subject is too long.
    #[inline]
    pub(super) fn bind(&mut self, binding: &Binding<'_>) -> Option<usize> {
        let len = binding.len()?;
        if len <= SHORT {
            binding.write(self.0.get_mut(TAIL_AT..len)?)?;
        }
        Some(len)
    }

    /// The room for a header.
    #[inline]
    pub(super) fn head(&mut self) -> Option<&mut [u8; HEADER_LEN]> {
        self.0.first_chunk_mut()
    }

    /// Calls `then` with header ‖ bound parts, as prepared and measured by [`Self::bind`].
    #[inline]
    pub(super) fn with<T>(
        &self,
        (binding, len): (&Binding<'_>, usize),
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if len <= SHORT {
            self.0.get(..len).map(then)
        } else {
            binding.with(self.0.first_chunk()?, len, then)
        }
    }
}

/// Authenticated data for opening envelopes one after the other whose known context is the same.
pub struct Aad<'s> {
    known: Binding<'s>,
    /// With the subject alone, which is what most envelopes are bound to.
    scratch: Scratch,
    /// Its length with the header; `None` without a subject.
    len: Option<usize>,
}

impl<'s> Aad<'s> {
    /// An envelope bound to something that is not `known` does not open.
    #[must_use]
    #[inline]
    pub fn new(known: Binding<'s>) -> Self {
        let mut scratch = Scratch::new();
        let bound = Binding::to(known.subject);
        let len = known.subject.and_then(|_| scratch.bind(&bound));
        Self {
            known,
            scratch,
            len,
        }
    }

    /// Calls `then` with header ‖ the parts that its flags select; `None` when one is not known, or too long.
    #[inline]
    pub(super) fn with_header<T>(
        &mut self,
        (header, flags): (&[u8; HEADER_LEN], Flags),
        then: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let is_everyday = !(flags.has(Flags::ANSWER) || flags.has(Flags::REPLY));
        let len = if flags.has(Flags::BOUND) {
            self.len?
        } else {
            HEADER_LEN
        };
        if is_everyday && len <= SHORT {
            *self.scratch.head()? = *header;
            return self.scratch.0.get(..len).map(then);
        }
        let selected = self.known.select(flags)?;
        selected.with(header, selected.len()?, then)
    }
}
