//! The deliver direction: raw AEAD, envelope, keyring, whole path, and the path of a relay.

use std::hint::black_box;

use crate::cpu_time::CpuTime;
use aws_lc_rs::aead::{Aad, Nonce};
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use keyway::envelope::{Header, TAG_LEN};
use keyway::keyring::{self, LaneCache, WorkerId};
use keyway::wire::Buffer;
use keyway_bench::{
    Rig, SUBJECT, Shape, envelopes, filled, messages, payload, ring, run_deliver, snapshot,
};

use crate::seal::{AAD, raw_key};
use crate::{READ, SIZES};

/// Key versions, lanes of each, and envelopes, of the rows `…-256-lanes`.
const MANY: (u32, usize, usize) = (4, 64, 256);

pub(crate) fn all(group: &mut BenchmarkGroup<'_, CpuTime>) {
    for size in SIZES {
        group.throughput(Throughput::Elements(1));
        aead(group, "aead", &[], size);
        aead(group, "aead-aad", &AAD, size);
        envelope(group, size);
        by_keyring(group, "keyring", (1, 1, 1), size);
        by_keyring(group, "keyring-256-lanes", MANY, size);
        let one = messages([&*payload(size)].into_iter(), Shape::default()).len();
        path(
            group,
            "path",
            &Rig::sealing(1),
            (1, READ / (one + 48)),
            size,
        );
        path(
            group,
            "path-256-lanes",
            &Rig::sealing(MANY.0),
            (MANY.1, MANY.2),
            size,
        );
        path(group, "relay", &Rig::relay(), (1, READ / (one + 48)), size);
    }
}

fn aead(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, aad: &[u8], size: usize) {
    let key = raw_key();
    let nonce = || Nonce::assume_unique_for_key([9; 12]);
    let (mut sealed, mut tag) = (vec![0; size], [0; TAG_LEN]);
    key.seal_out_of_place_scatter(
        nonce(),
        Aad::from(aad),
        &payload(size),
        &mut sealed,
        &[],
        &mut tag,
    )
    .unwrap();
    let mut out = vec![0; size];
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        bench.iter(|| {
            key.open_separate_gather(nonce(), Aad::from(aad), black_box(&sealed), &tag, &mut out)
                .unwrap();
            black_box(&out);
        });
    });
}

fn envelope(group: &mut BenchmarkGroup<'_, CpuTime>, size: usize) {
    let keys = snapshot(1);
    let version = keys.versions().next().unwrap();
    let sealed = envelopes(&keys, 1, 1, &payload(size)).pop().unwrap();
    let lane = version
        .key
        .lane(version.suite, Header::parse(&sealed).unwrap().lane);
    let mut out = vec![0; size];
    group.bench_function(BenchmarkId::new("envelope", size), |bench| {
        bench.iter(|| {
            let header = Header::parse(black_box(&sealed)).unwrap();
            lane.open(&header, Some(SUBJECT), &sealed, &mut out)
                .unwrap();
            black_box(&out);
        });
    });
}

fn by_keyring(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    (versions, lanes, count): (u32, usize, usize),
    size: usize,
) {
    let keys = snapshot(versions);
    let expected = Some(ring(keys.policy()));
    let sealed = envelopes(&keys, lanes, count, &payload(size));
    let mut cache = LaneCache::new(WorkerId(0));
    let mut out = vec![0; size];
    let mut next = sealed.iter().cycle();
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        bench.iter(|| {
            let envelope = black_box(next.next().unwrap());
            keyring::open(&keys, &mut cache, expected, SUBJECT, (envelope, &mut out)).unwrap();
            black_box(&out);
        });
    });
}

fn path(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    rig: &Rig,
    (lanes, count): (usize, usize),
    size: usize,
) {
    let (_publish, mut path) = rig.paths();
    let sealed = envelopes(&rig.keys.load(), lanes, count, &payload(size));
    let bytes = messages(sealed.iter().map(Vec::as_slice), Shape::default());
    let mut input = filled(&bytes);
    let mut output = Buffer::new();
    run_deliver(&mut path, &mut input, &mut output);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        bench.iter(|| {
            input.advance(bytes.len());
            run_deliver(&mut path, &mut input, &mut output);
        });
    });
}
