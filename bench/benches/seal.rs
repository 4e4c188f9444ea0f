//! The publish direction: raw AEAD, envelope, whole path, and the path of a relay.

use std::hint::black_box;

use crate::cpu_time::CpuTime;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use keyway::envelope::{HEADER_LEN, OVERHEAD, SealFailed, Sealer, TAG_LEN};
use keyway::wire::Buffer;
use keyway_bench::{Rig, SUBJECT, Shape, filled, payload, publishes, run_publish, snapshot};

use crate::{READ, SIZES};

pub(crate) fn all(group: &mut BenchmarkGroup<'_, CpuTime>) {
    for size in SIZES {
        group.throughput(Throughput::Elements(1));
        aead(group, "aead", &[], size);
        aead(group, "aead-aad", &AAD, size);
        envelope(group, size);
        path(group, "path", &Rig::sealing(1), size);
        path(group, "relay", &Rig::relay(), size);
    }
}

/// As much additional data as an envelope bound to [`SUBJECT`] has.
pub(crate) const AAD: [u8; HEADER_LEN + 2 + SUBJECT.len()] = [1; HEADER_LEN + 2 + SUBJECT.len()];

/// A key made beforehand.
pub(crate) fn raw_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap())
}

/// A fresh nonce from a counter; without additional data the least that AES-256-GCM can be asked to do.
fn aead(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, aad: &[u8], size: usize) {
    let key = raw_key();
    let text = payload(size);
    let mut out = vec![0; size];
    let mut tag = [0; TAG_LEN];
    let mut count = 0_u64;
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        bench.iter(|| {
            count += 1;
            let mut nonce = [0; 12];
            nonce
                .iter_mut()
                .zip(count.to_le_bytes())
                .for_each(|(to, from)| *to = from);
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_out_of_place_scatter(
                nonce,
                Aad::from(aad),
                black_box(&text),
                &mut out,
                &[],
                &mut tag,
            )
            .unwrap();
            black_box(&out);
        });
    });
}

fn envelope(group: &mut BenchmarkGroup<'_, CpuTime>, size: usize) {
    let keys = snapshot(1);
    let version = keys.versions().next().unwrap();
    let lane = || Sealer::new(&version.key, version.suite).unwrap();
    let mut sealer = lane();
    let text = payload(size);
    let mut out = vec![0; size + OVERHEAD];
    group.bench_function(BenchmarkId::new("envelope", size), |bench| {
        bench.iter(|| {
            if sealer.seal(Some(SUBJECT), black_box(&text), &mut out) == Err(SealFailed::LaneEnded)
            {
                sealer = lane();
            }
            black_box(&out);
        });
    });
}

fn path(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, rig: &Rig, size: usize) {
    let (mut path, _deliver) = rig.paths();
    let one = publishes(1, &payload(size), Shape::default()).len();
    let count = READ / one;
    let bytes = publishes(count, &payload(size), Shape::default());
    let mut input = filled(&bytes);
    let mut output = Buffer::new();
    run_publish(&mut path, &mut input, &mut output);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        bench.iter(|| {
            input.advance(bytes.len());
            run_publish(&mut path, &mut input, &mut output);
        });
    });
}
