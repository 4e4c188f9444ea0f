//! The publish direction: raw AEAD, envelope, whole path, and the path of a relay.

use std::hint::black_box;

use aws_lc_rs::aead::{Aad, Nonce};
use keyway::envelope::{Binding, OVERHEAD, SealFailed, Sealer, TAG_LEN};
use keyway::wire::Buffer;

use super::{AAD, BASELINE, Case, Fixtures, raw_key};
use crate::{
    READ, SUBJECT, SessionFixture, Shape, filled, payload, publishes, run_publish, snapshot,
};

/// The steps of sealing `size` bytes.
#[must_use]
pub fn seal(fixtures: &Fixtures, size: usize) -> Vec<Case<'_>> {
    vec![
        aead(BASELINE, &[], size),
        aead("aead-aad", &AAD, size),
        envelope(size),
        path("path", &fixtures.sealing, size),
        path("relay", &fixtures.relay, size),
    ]
}

/// A fresh nonce from a counter; without additional data the least that AES-256-GCM can be asked to do.
fn aead(step: &'static str, aad: &'static [u8], size: usize) -> Case<'static> {
    let key = raw_key();
    let text = payload(size);
    let mut out = vec![0; size];
    let mut tag = [0; TAG_LEN];
    let mut count = 0_u64;
    Case::one(step, move || {
        count += 1;
        let mut nonce = [0; 12];
        nonce
            .iter_mut()
            .zip(count.to_le_bytes())
            .for_each(|(to, from)| *to = from);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = black_box(&text);
        key.seal_out_of_place_scatter(nonce, Aad::from(aad), text, &mut out, &[], &mut tag)
            .unwrap();
        black_box(&out);
    })
}

fn envelope(size: usize) -> Case<'static> {
    let keys = snapshot(1);
    let lane = move || {
        let version = keys.versions().next().unwrap();
        Sealer::new(&version.key, version.suite).unwrap()
    };
    let mut sealer = lane();
    let text = payload(size);
    let mut out = vec![0; size + OVERHEAD];
    Case::one("envelope", move || {
        if sealer.seal(Binding::to(Some(SUBJECT)), black_box(&text), &mut out)
            == Err(SealFailed::LaneEnded)
        {
            sealer = lane();
        }
        black_box(&out);
    })
}

fn path<'a>(step: &'static str, fixture: &'a SessionFixture, size: usize) -> Case<'a> {
    let (mut path, _deliver) = fixture.paths();
    let one = publishes(1, &payload(size), Shape::default()).len();
    let count = (READ / one).max(1);
    let bytes = publishes(count, &payload(size), Shape::default());
    let mut input = filled(&bytes);
    let mut output = Buffer::new();
    run_publish(&mut path, &mut input, &mut output);
    Case::many(step, count, move || {
        input.advance(bytes.len());
        run_publish(&mut path, &mut input, &mut output);
    })
}
