//! A lane's cap, and what stays in a buffer when sealing or opening fails.

use crate::aead::{Aead, aws::Aws, pure::Pure};
use crate::limits::{Caps, blocks};
use crate::secret::Secret;
use crate::{
    Aad, Binding, EnvelopeId, Flags, Header, LaneId, OVERHEAD, SealFailed, Sealer, Suite,
    VersionKey,
};

pub(super) const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::Aes256GcmSiv];

pub(super) fn version() -> VersionKey {
    let root = Secret::build(|bytes| {
        bytes.fill(0x11);
        Ok::<(), ()>(())
    });
    VersionKey::derive("tests", 1, &root.unwrap())
}

pub(super) fn sealer<A: Aead>(suite: Suite, caps: Caps) -> Sealer<A> {
    Sealer::with_lane_id(&version(), suite, LaneId([3; 16]), caps)
}

fn seal_into<A: Aead>(sealer: &mut Sealer<A>, payload: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    let mut out = vec![0xEE; payload.len() + OVERHEAD];
    match sealer.seal(Binding::to(Some(b"a.b")), payload, &mut out) {
        Ok(_id) => Ok(out),
        Err(failed) => {
            assert_eq!(failed, SealFailed::LaneEnded);
            Err(out)
        }
    }
}

#[test]
fn lane_ends_for_good_at_its_message_cap_without_output() {
    let mut sealer: Sealer = sealer(
        Suite::Aes256Gcm,
        Caps {
            messages: 2,
            blocks: 1 << 20,
        },
    );
    assert_eq!(sealer.remaining_messages(), 2);
    seal_into(&mut sealer, b"one").unwrap();
    seal_into(&mut sealer, b"two").unwrap();
    for _ in 0..3 {
        assert_eq!(seal_into(&mut sealer, b""), Err(vec![0xEE; OVERHEAD]));
    }
    assert_eq!(sealer.messages(), 2);
    assert_eq!(sealer.remaining_messages(), 0);
    assert_eq!(sealer.remaining_blocks(), 0);
}

#[test]
fn lane_ends_for_good_at_its_block_cap_without_output() {
    // AAD of 37 bytes: 3 blocks; 17 bytes: 2; tag: 1.
    assert_eq!(blocks(37, 17), 6);
    let mut sealer: Sealer = sealer(
        Suite::Aes256GcmSiv,
        Caps {
            messages: 100,
            blocks: 11,
        },
    );
    seal_into(&mut sealer, &[7; 17]).unwrap();
    assert_eq!((sealer.blocks(), sealer.remaining_blocks()), (6, 5));
    assert_eq!(
        seal_into(&mut sealer, &[7; 17]),
        Err(vec![0xEE; 17 + OVERHEAD])
    );
    // 5 blocks would have fitted before; now nothing does.
    assert_eq!(seal_into(&mut sealer, b"x"), Err(vec![0xEE; 1 + OVERHEAD]));
    assert_eq!((sealer.messages(), sealer.blocks()), (1, 6));
}

#[test]
fn real_lane_ends_after_its_last_counter() {
    let mut sealer: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    sealer.skip_to((1 << 24) - 1);
    let last = seal_into(&mut sealer, b"last").unwrap();
    assert_eq!(Header::parse(&last).unwrap().counter, (1 << 24) - 1);
    seal_into(&mut sealer, b"over").unwrap_err();
}

#[test]
fn wrong_output_length_and_long_subject_count_nothing() {
    let mut sealer: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    let mut out = [0xEE; OVERHEAD + 2];
    assert_eq!(
        sealer.seal(Binding::default(), b"abc", &mut out),
        Err(SealFailed::OutputLength(50, 51))
    );
    assert_eq!(
        sealer.seal(Binding::default(), b"abc", &mut []),
        Err(SealFailed::OutputLength(0, 51))
    );
    let long = vec![b'a'; 65_536];
    assert_eq!(
        sealer.seal(Binding::to(Some(&long)), b"ab", &mut out),
        Err(SealFailed::SubjectTooLong(65_536))
    );
    assert_eq!(out, [0xEE; OVERHEAD + 2]);
    assert_eq!((sealer.messages(), sealer.blocks()), (0, 0));
    sealer
        .seal(Binding::to(Some(&long[1..])), b"ab", &mut out)
        .unwrap();
    let header = Header::parse(&out).unwrap();
    let mut plain = [0; 2];
    version()
        .lane(Suite::Aes256Gcm, header.lane)
        .open(&header, Binding::to(Some(&long[1..])), &out, &mut plain)
        .unwrap();
    assert_eq!(&plain, b"ab");
}

#[test]
fn lane_seals_on_one_subject_after_another_as_a_fresh_one_would() {
    let mut used: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    let lane = version().lane(Suite::Aes256Gcm, LaneId([3; 16]));
    let names = [3, 95, 2, 94, 600, 1, 93, 3].map(|length| vec![b'a'; length]);
    let names = names.iter().flat_map(|name| [Some(name.as_slice()), None]);
    let mut count = 0;
    for subject in names {
        let mut on = used.bind(Binding::to(subject)).unwrap();
        let mut opens = Aad::new(Binding::to(subject));
        for text in [b"one", b"two"] {
            let (mut envelope, mut expected) = ([0; OVERHEAD + 3], [0; OVERHEAD + 3]);
            on.seal(text, &mut envelope).unwrap();
            let mut fresh: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
            fresh.skip_to(count);
            fresh
                .seal(Binding::to(subject), text, &mut expected)
                .unwrap();
            assert_eq!(envelope, expected, "{subject:?}");
            let header = Header::parse(&envelope).unwrap();
            let flags = subject.map_or_else(Flags::default, |_| Flags::BOUND);
            assert_eq!((header.counter, header.flags), (count, flags));
            let mut plain = [0; 3];
            lane.open_with(&header, &mut opens, &envelope, &mut plain)
                .unwrap();
            assert_eq!(&plain, text);
            count += 1;
        }
    }
}

#[test]
fn lane_ends_at_its_cap_in_the_middle_of_a_row_on_one_subject() {
    let mut sealer: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    sealer.skip_to((1 << 24) - 1);
    let mut on = sealer.bind(Binding::to(Some(b"a.b"))).unwrap();
    let mut out = [0; OVERHEAD];
    on.seal(b"", &mut out).unwrap();
    for _ in 0..2 {
        let mut out = [0xEE; OVERHEAD];
        assert_eq!(on.seal(b"", &mut out), Err(SealFailed::LaneEnded));
        assert_eq!(out, [0xEE; OVERHEAD]);
    }
}

fn failed_open_zeroes<A: Aead>(suite: Suite) {
    let mut envelope = seal_into(&mut sealer::<A>(suite, Caps::FULL), &[0x55; 1000]).unwrap();
    let header = Header::parse(&envelope).unwrap();
    let lane = version().lane_with::<A>(suite, header.lane);
    let mut out = vec![0xEE; 1000];
    // Not the tag's comparison alone: the wrong lengths and the missing subject clean up too.
    lane.open(&header, Binding::default(), &envelope, &mut out)
        .unwrap_err();
    assert_eq!(out, [0; 1000]);
    let mut short = [0xEE; 999];
    lane.open(&header, Binding::to(Some(b"a.b")), &envelope, &mut short)
        .unwrap_err();
    assert_eq!(short, [0; 999]);
    for flip in [32, 500, 1031, 1047] {
        envelope[flip] ^= 0x80;
        let mut out = vec![0xEE; 1000];
        lane.open(&header, Binding::to(Some(b"a.b")), &envelope, &mut out)
            .unwrap_err();
        assert_eq!(out, [0; 1000]);
        envelope[flip] ^= 0x80;
    }
    lane.open(&header, Binding::to(Some(b"a.b")), &envelope, &mut out)
        .unwrap();
    assert_eq!(out, [0x55; 1000]);
}

#[test]
fn failed_open_leaves_only_zeroes() {
    for suite in SUITES {
        failed_open_zeroes::<Aws>(suite);
        failed_open_zeroes::<Pure>(suite);
    }
}

/// Everything that an envelope can be bound to, each part there or not, long and short.
fn bindings() -> Vec<Binding<'static>> {
    const LONG: &[u8] = &[b'x'; 600];
    let request = EnvelopeId {
        lane: LaneId([9; 16]),
        counter: 7,
    };
    let subjects = [None, Some(&b"a.b"[..]), Some(LONG)];
    let both = subjects
        .into_iter()
        .flat_map(|subject| subjects.map(|reply| (subject, reply)));
    let flags = [
        (None, false),
        (None, true),
        (Some(request), false),
        (Some(request), true),
    ];
    let all = both.flat_map(|(subject, reply)| {
        flags.map(|(answers, passes_on)| Binding {
            subject,
            answers,
            passes_on,
            reply,
        })
    });
    all.collect()
}

#[test]
fn envelope_opens_for_all_that_it_is_bound_to_and_whatever_else_is_known() {
    let everything = Binding {
        subject: Some(b"a.b"),
        answers: Some(EnvelopeId {
            lane: LaneId([9; 16]),
            counter: 7,
        }),
        passes_on: false,
        reply: Some(b"a.b"),
    };
    let lane = version().lane(Suite::Aes256Gcm, LaneId([3; 16]));
    let mut sealer: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    for binding in bindings() {
        let (mut envelope, mut plain) = ([0; OVERHEAD + 3], [0; 3]);
        let id = sealer.seal(binding, b"abc", &mut envelope).unwrap();
        let header = Header::parse(&envelope).unwrap();
        assert_eq!((header.flags, header.id()), (binding.flags(), id));
        lane.open(&header, binding, &envelope, &mut plain).unwrap();
        let knows_all = [binding.subject, binding.reply]
            .into_iter()
            .flatten()
            .all(|name| name == b"a.b");
        let opened = lane.open(&header, everything, &envelope, &mut plain);
        assert_eq!(opened.is_ok(), knows_all, "{binding:?}");
    }
}

#[test]
fn envelope_does_not_open_without_any_part_that_it_is_bound_to_or_for_another() {
    let lane = version().lane(Suite::Aes256Gcm, LaneId([3; 16]));
    let mut sealer: Sealer = sealer(Suite::Aes256Gcm, Caps::FULL);
    for binding in bindings() {
        let mut envelope = [0; OVERHEAD + 3];
        sealer.seal(binding, b"abc", &mut envelope).unwrap();
        let header = Header::parse(&envelope).unwrap();
        let opens = |known| {
            let mut plain = [0xEE; 3];
            let opened = lane.open(&header, known, &envelope, &mut plain);
            assert!(opened.is_ok() || plain == [0; 3]);
            opened.is_ok()
        };
        let other = |part: Option<&'static [u8]>| part.map(|_| &b"other"[..]);
        let others = |part: Option<EnvelopeId>| {
            [(0, 1), (1, 0)].map(|(lane, counter)| {
                part.map(|id| EnvelopeId {
                    lane: LaneId(id.lane.0.map(|byte| byte ^ lane)),
                    counter: id.counter ^ counter,
                })
            })
        };
        for subject in [None, other(binding.subject)] {
            let known = Binding { subject, ..binding };
            assert_eq!(opens(known), binding.subject.is_none(), "{known:?}");
        }
        for reply in [None, other(binding.reply)] {
            let known = Binding { reply, ..binding };
            assert_eq!(opens(known), binding.reply.is_none(), "{known:?}");
        }
        for answers in [[None; 2], others(binding.answers)].concat() {
            let known = Binding { answers, ..binding };
            assert_eq!(opens(known), binding.answers.is_none(), "{known:?}");
        }
    }
}
