//! How long the gateway's own work takes, beside the raw AEAD measured in the same run.
//!
//! `cargo bench -p keyway-bench`, or `make bench`. Names are `direction/step/size`: `seal/aead/128` is the raw AEAD on 128 bytes,
//! `seal/path/128` the whole publish path with 128-byte payloads. Steps of one size run one after the other, in CPU time of
//! one thread, so that a busy machine affects all of them. The report at the end puts them side by side.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a measurement stops at the first thing that is not as expected; its lengths are its own"
)]

mod cpu_time;
mod keys;
mod replies;
mod report;
mod wire;

use cpu_time::CpuTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use keyway_bench::cases::{self, Case, Fixtures, SIZES};
use std::time::Duration;

fn main() {
    let folder = keyway_bench::folder();
    let begun = keyway::clock::Clock::system().wall();
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .output_directory(&folder)
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1200))
        .sample_size(30)
        .nresamples(10_000)
        .configure_from_args();
    let fixtures = Fixtures::default();
    group(&mut criterion, "seal", |group| {
        steps(group, |size| cases::seal(&fixtures, size))
    });
    group(&mut criterion, "open", |group| {
        steps(group, |size| cases::open(&fixtures, size))
    });
    group(&mut criterion, "wire", wire::all);
    group(&mut criterion, "keys", keys::all);
    group(&mut criterion, "replies", replies::all);
    criterion.final_summary();
    report::show(&folder, begun).unwrap();
}

fn group(
    criterion: &mut Criterion<CpuTime>,
    name: &str,
    benches: impl Fn(&mut BenchmarkGroup<'_, CpuTime>),
) {
    let mut group = criterion.benchmark_group(name);
    benches(&mut group);
    group.finish();
}

/// All steps of a direction on all sizes.
fn steps<'a>(group: &mut BenchmarkGroup<'_, CpuTime>, of: impl Fn(usize) -> Vec<Case<'a>>) {
    for size in SIZES {
        for mut case in of(size) {
            group.throughput(Throughput::Elements(case.messages as u64));
            group.bench_function(BenchmarkId::new(case.step, size), |bench| {
                bench.iter(|| case.run());
            });
        }
    }
}
