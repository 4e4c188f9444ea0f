//! Cost of requests compared with messages without a reply subject: each has an inbox of its own, which is remembered, and looked
//! up when the answer comes. One session sends requests to itself; the bus between its two directions is simulated.

use crate::cpu_time::CpuTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use keyway::wire::{Buffer, ClientOp, ClientParser, Limits, Parsed, Publish};
use keyway_bench::{SUBJECT, SessionFixture, filled, payload, run_deliver, run_publish};

/// The payload of requests and answers.
const SIZE: usize = 128;

/// Requests of a batch.
const COUNT: usize = 256;

pub(crate) fn all(group: &mut BenchmarkGroup<'_, CpuTime>) {
    group.throughput(Throughput::Elements(COUNT as u64));
    let fixture = SessionFixture::sealing(1);
    let (mut publish, mut deliver) = fixture.paths();
    let mut publishes = |group: &mut BenchmarkGroup<'_, CpuTime>, step: &str, bytes: &[u8]| {
        bench(group, step, bytes, |input, output| {
            run_publish(&mut publish, input, output);
        })
    };
    let mut delivers = |group: &mut BenchmarkGroup<'_, CpuTime>, step: &str, bytes: &[u8]| {
        bench(group, step, bytes, |input, output| {
            run_deliver(&mut deliver, input, output);
        })
    };
    let subject = String::from_utf8_lossy(SUBJECT).into_owned();
    let alone = publishes(group, "publish", &written(|_| subject.clone()));
    delivers(group, "deliver", &through_the_bus(&alone));
    let asked = publishes(
        group,
        "ask",
        &written(|n| format!("{subject} {}", inbox(n))),
    );
    delivers(group, "asked", &through_the_bus(&asked));
    let answered = publishes(group, "answer", &written(inbox));
    delivers(group, "answered", &through_the_bus(&answered));
}

/// Measures `carry` on `bytes`; returns its output.
fn bench(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    step: &str,
    bytes: &[u8],
    mut carry: impl FnMut(&mut Buffer, &mut Buffer),
) -> Vec<u8> {
    let mut input = filled(bytes);
    let mut output = Buffer::new();
    carry(&mut input, &mut output);
    let written = output.filled().to_vec();
    group.bench_function(BenchmarkId::new(step, SIZE), |bench| {
        bench.iter(|| {
            input.advance(bytes.len());
            carry(&mut input, &mut output);
        });
    });
    written
}

/// Publishes as an agent writes them, each with these subjects.
fn written(subjects: impl Fn(usize) -> String) -> Vec<u8> {
    let one = |number| {
        let line = format!("PUB {} {SIZE}\r\n", subjects(number));
        [line.as_bytes(), &payload(SIZE), b"\r\n"].concat()
    };
    (0..COUNT).flat_map(one).collect()
}

fn inbox(number: usize) -> String {
    format!("_INBOX.r4nd0mInb0x.{number}")
}

/// Published messages as the server delivers them.
fn through_the_bus(published: &[u8]) -> Vec<u8> {
    let mut parser = ClientParser::new(Limits::default());
    let mut rest = published;
    let mut delivered = Vec::new();
    let mut count = 0;
    while let Ok(Parsed::Op { op, len }) = parser.next(rest) {
        if let ClientOp::Publish(publish) = op {
            delivered.extend(delivery(&publish));
            count += 1;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    assert!(rest.is_empty() && count == COUNT, "not all was published");
    delivered
}

fn delivery(publish: &Publish<'_>) -> Vec<u8> {
    let words = [
        Some(publish.subject),
        Some(&b"9"[..]),
        publish.reply,
        Some(publish.size),
    ];
    let line = words.into_iter().flatten().collect::<Vec<_>>().join(&b' ');
    [b"MSG ", &*line, b"\r\n", publish.payload, b"\r\n"].concat()
}
