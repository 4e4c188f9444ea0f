//! The deliver direction: raw AEAD, envelope, keyring, whole path, and the path of a relay.

use std::hint::black_box;

use aws_lc_rs::aead::{Aad, Nonce};
use keyway::envelope::{Binding, Header, TAG_LEN};
use keyway::keyring::{LaneCache, Opener, WorkerId};
use keyway::wire::Buffer;

use super::{AAD, BASELINE, Case, Fixtures, raw_key};
use crate::{
    READ, SUBJECT, SessionFixture, Shape, envelopes, filled, keyring_id, messages, payload,
    run_deliver, snapshot,
};

/// Key versions, lanes of each, and envelopes, of the steps `…-256-lanes`: an overlap with many publishers.
pub(super) const MANY: (u32, usize, usize) = (4, 64, 256);

/// The steps of opening `size` bytes.
#[must_use]
pub fn open(fixtures: &Fixtures, size: usize) -> Vec<Case<'_>> {
    let one = messages([&*payload(size)].into_iter(), Shape::default()).len();
    let read = (1, (READ / (one + 48)).max(1));
    vec![
        aead(BASELINE, &[], size),
        aead("aead-aad", &AAD, size),
        envelope(size),
        by_keyring("keyring", (1, 1, MANY.2), size),
        by_keyring("keyring-256-lanes", MANY, size),
        path("path", &fixtures.sealing, read, size),
        path("path-256-lanes", &fixtures.overlap, (MANY.1, MANY.2), size),
        path("relay", &fixtures.relay, read, size),
    ]
}

fn aead(step: &'static str, aad: &'static [u8], size: usize) -> Case<'static> {
    let key = raw_key();
    let nonce = || Nonce::assume_unique_for_key([9; 12]);
    let text = payload(size);
    let (mut sealed, mut tag) = (vec![0; size], [0; TAG_LEN]);
    key.seal_out_of_place_scatter(nonce(), Aad::from(aad), &text, &mut sealed, &[], &mut tag)
        .unwrap();
    let mut out = vec![0; size];
    Case::one(step, move || {
        key.open_separate_gather(nonce(), Aad::from(aad), black_box(&sealed), &tag, &mut out)
            .unwrap();
        black_box(&out);
    })
}

fn envelope(size: usize) -> Case<'static> {
    let keys = snapshot(1);
    let version = keys.versions().next().unwrap();
    let sealed = envelopes(&keys, 1, 1, &payload(size)).pop().unwrap();
    let lane = version
        .key
        .lane(version.suite, Header::parse(&sealed).unwrap().lane);
    let mut out = vec![0; size];
    Case::one("envelope", move || {
        let header = Header::parse(black_box(&sealed)).unwrap();
        lane.open(&header, Binding::to(Some(SUBJECT)), &sealed, &mut out)
            .unwrap();
        black_box(&out);
    })
}

fn by_keyring(
    step: &'static str,
    (versions, lanes, count): (u32, usize, usize),
    size: usize,
) -> Case<'static> {
    let keys = snapshot(versions);
    let expected = Some(keyring_id(keys.policy()));
    let sealed = envelopes(&keys, lanes, count, &payload(size));
    let mut cache = LaneCache::new(WorkerId(0));
    let mut out = vec![0; size];
    Case::many(step, count, move || {
        let mut opener = Opener::new(&keys, &mut cache, expected, Binding::to(Some(SUBJECT)));
        for envelope in &sealed {
            opener.open(black_box(envelope), &mut out).unwrap();
            black_box(&out);
        }
    })
}

fn path<'a>(
    step: &'static str,
    fixture: &'a SessionFixture,
    (lanes, count): (usize, usize),
    size: usize,
) -> Case<'a> {
    let (_publish, mut path) = fixture.paths();
    let sealed = envelopes(&fixture.keys.load(), lanes, count, &payload(size));
    let bytes = messages(sealed.iter().map(Vec::as_slice), Shape::default());
    let mut input = filled(&bytes);
    let mut output = Buffer::new();
    run_deliver(&mut path, &mut input, &mut output);
    Case::many(step, count, move || {
        input.advance(bytes.len());
        run_deliver(&mut path, &mut input, &mut output);
    })
}
