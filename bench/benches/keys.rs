//! Cost of key management per batch: a new snapshot, and grants of a budget. A batch is one message here, so that the cost is not
//! spread.

use std::sync::Arc;

use crate::cpu_time::CpuTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use keyway::keyring::{Budget, Snapshot, Version, Volume};
use keyway::policy::Policy;
use keyway::wire::Buffer;
use keyway_bench::{SessionFixture, Shape, filled, payload, publishes, run_publish, version};
use tokio::sync::Notify;

/// The payload.
const SIZE: usize = 16;

pub(crate) fn all(group: &mut BenchmarkGroup<'_, CpuTime>) {
    group.throughput(Throughput::Elements(1));
    batch(group);
    for versions in [2, 16, 256] {
        swap(group, versions);
    }
    grants(group);
}

/// With an unchanged snapshot.
fn batch(group: &mut BenchmarkGroup<'_, CpuTime>) {
    bench(group, "batch", &SessionFixture::sealing(1), || {});
}

/// With a new snapshot: another version seals, its lane is drawn, routes are looked up again.
fn swap(group: &mut BenchmarkGroup<'_, CpuTime>, count: u32) {
    let fixture = SessionFixture::sealing(1);
    let policy = Arc::new(Policy::everything());
    let versions: Vec<Arc<Version>> = (1..=count).map(|number| version(&policy, number)).collect();
    let mut seals = versions.iter().cycle();
    let mut generation = 1;
    bench(group, &format!("swap {count} versions"), &fixture, || {
        generation += 1;
        let active = seals.next().cloned().into_iter().collect();
        let policy = Arc::clone(&policy);
        let snapshot = Snapshot::new(policy, active, versions.clone(), generation);
        fixture.keys.install(snapshot);
    });
}

/// With a budget that holds just what a batch needs: every batch takes a grant, and returns the rest.
fn grants(group: &mut BenchmarkGroup<'_, CpuTime>) {
    let fixture = SessionFixture::sealing(1);
    let policy = Arc::new(Policy::everything());
    let budget = Arc::new(Budget::new(Volume::default(), 1, Arc::new(Notify::new())));
    let mut scarce = version(&policy, 1);
    Arc::get_mut(&mut scarce).unwrap().budget = Arc::clone(&budget);
    fixture
        .keys
        .install(Snapshot::new(policy, vec![scarce], Vec::new(), 2));
    let part = Volume {
        messages: 1,
        bytes: SIZE as u64,
    };
    bench(group, "grant", &fixture, || budget.extend(part));
}

/// Measures `before` and a batch of one message.
fn bench(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    fixture: &SessionFixture,
    mut before: impl FnMut(),
) {
    let (mut path, _deliver) = fixture.paths();
    let bytes = publishes(1, &payload(SIZE), Shape::default());
    let mut input = filled(&bytes);
    let mut output = Buffer::new();
    before();
    run_publish(&mut path, &mut input, &mut output);
    group.bench_function(BenchmarkId::new(name, SIZE), |bench| {
        bench.iter(|| {
            before();
            input.advance(bytes.len());
            run_publish(&mut path, &mut input, &mut output);
        });
    });
}
