//! Whatever one AEAD seals, the other opens; whatever is altered, neither does.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};

use super::lane::{SUITES, sealer, version};
use crate::aead::{Aead, aws::Aws, pure::Pure};
use crate::limits::Caps;
use crate::secret::memory::skip_memory_scans;
use crate::{Binding, Header, OVERHEAD, Suite, check, looks_sealed};

/// A message to seal.
#[derive(Clone, Debug)]
struct Message {
    suite: Suite,
    subject: Option<Vec<u8>>,
    plaintext: Vec<u8>,
    counter: u32,
}

fn message(longest: usize) -> impl Strategy<Value = Message> {
    (
        select(SUITES.as_slice()),
        proptest::option::of(vec(any::<u8>(), 0..=longest)),
        vec(any::<u8>(), 0..=longest),
        0..1_u32 << 24,
    )
        .prop_map(|(suite, subject, plaintext, counter)| Message {
            suite,
            subject,
            plaintext,
            counter,
        })
}

fn seal<A: Aead>(message: &Message) -> Vec<u8> {
    let mut sealer = sealer::<A>(message.suite, Caps::FULL);
    sealer.skip_to(message.counter);
    let mut envelope = vec![0; message.plaintext.len() + OVERHEAD];
    sealer
        .seal(
            Binding::to(message.subject.as_deref()),
            &message.plaintext,
            &mut envelope,
        )
        .unwrap();
    envelope
}

/// The plaintext, if the header is taken and the envelope opens.
fn open<A: Aead>(subject: Option<&[u8]>, envelope: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(envelope).ok()?;
    let lane = version().lane_with::<A>(header.suite, header.lane);
    let mut out = vec![0xEE; envelope.len() - OVERHEAD];
    let opened = lane.open(&header, Binding::to(subject), envelope, &mut out);
    assert!(opened.is_ok() || out.iter().all(|byte| *byte == 0));
    opened.ok().map(|()| out)
}

proptest! {
    #[test]
    fn what_one_aead_seals_the_other_opens(message in message(700)) {
        let envelope = seal::<Aws>(&message);
        prop_assert!(looks_sealed(&envelope));
        prop_assert_eq!(&envelope, &seal::<Pure>(&message));
        let subject = message.subject.as_deref();
        prop_assert_eq!(open::<Pure>(subject, &envelope), Some(message.plaintext.clone()));
        prop_assert_eq!(open::<Aws>(subject, &envelope), Some(message.plaintext.clone()));
    }

    #[test]
    fn one_flipped_bit_of_the_envelope_never_opens(message in message(80), at in any::<Index>(), bit in 0..8_u8) {
        let mut envelope = seal::<Aws>(&message);
        let at = at.index(envelope.len());
        envelope[at] ^= 1 << bit;
        let subject = message.subject.as_deref();
        prop_assert_eq!(open::<Aws>(subject, &envelope), None);
        prop_assert_eq!(open::<Pure>(subject, &envelope), None);
    }

    #[test]
    fn one_flipped_bit_of_the_subject_never_opens(message in message(80), at in any::<Index>(), bit in 0..8_u8) {
        let envelope = seal::<Pure>(&message);
        if let Some(mut subject) = message.subject.filter(|subject| !subject.is_empty()) {
            let at = at.index(subject.len());
            subject[at] ^= 1 << bit;
            prop_assert_eq!(open::<Aws>(Some(&subject), &envelope), None);
            prop_assert_eq!(open::<Pure>(Some(&subject), &envelope), None);
        }
    }

    #[test]
    fn any_header_that_is_read_encodes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..80), suite in 0..4_u8, flags in 0..3_u8) {
        let mut bytes = bytes;
        for (byte, start) in bytes.iter_mut().zip([0xFA, 0x4B, 0x10 | suite, flags]) {
            *byte = start;
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(bytes.starts_with(&header.encode()));
        }
        check::open_never_panics(&bytes);
    }
}

#[test]
fn every_single_flipped_bit_of_one_envelope_is_refused() {
    // Thousands of derivations; what one leaves on the stack is checked by every other test.
    skip_memory_scans();
    for suite in SUITES {
        let message = Message {
            suite,
            subject: Some(b"a.b".to_vec()),
            plaintext: b"twenty-one bytes here".to_vec(),
            counter: 77,
        };
        let whole = seal::<Aws>(&message);
        for bit in 0..whole.len() * 8 {
            let mut envelope = whole.clone();
            envelope[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open::<Aws>(Some(b"a.b"), &envelope), None, "bit {bit}");
            assert_eq!(open::<Pure>(Some(b"a.b"), &envelope), None, "bit {bit}");
        }
    }
}

#[test]
fn subject_of_every_length_is_authenticated_to_its_last_byte() {
    // 94 bytes are the longest that are laid out once, 510 and 512 stand around the longest that take no memory of their own.
    for length in [1, 13, 14, 15, 93, 94, 95, 478, 479, 510, 512, 513, 2000] {
        let subject = vec![b'a'; length];
        let message = Message {
            suite: Suite::Aes256Gcm,
            subject: Some(subject.clone()),
            plaintext: b"text".to_vec(),
            counter: 1,
        };
        let envelope = seal::<Aws>(&message);
        assert_eq!(open::<Pure>(Some(&subject), &envelope).unwrap(), b"text");
        for at in 0..length {
            let mut other = subject.clone();
            other[at] ^= 1;
            assert_eq!(open::<Aws>(Some(&other), &envelope), None, "{length} {at}");
        }
    }
}
