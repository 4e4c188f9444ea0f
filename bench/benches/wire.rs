//! Parsing, writing and routing alone.

use std::hint::black_box;

use crate::cpu_time::CpuTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use keyway::policy::Policy;
use keyway::wire::write::{self, Decimal, PublishLine};
use keyway::wire::{Buffer, ClientParser, Limits, Parsed, ServerParser};
use keyway_bench::{SUBJECT, Shape, messages, payload, publishes};

const SIZE: usize = 128;
const COUNT: usize = 256;
const HEADERS: Shape<'_> = Shape {
    reply: Some(b"_INBOX.r4nd0mInb0x.17"),
    headers: Some(b"NATS/1.0\r\nTrace-Id: 4711\r\n\r\n"),
};

pub(crate) fn all(group: &mut BenchmarkGroup<'_, CpuTime>) {
    group.throughput(Throughput::Elements(COUNT as u64));
    parse_client(group, "parse-pub", Shape::default());
    parse_client(group, "parse-hpub", HEADERS);
    parse_server(group, "parse-msg", Shape::default());
    parse_server(group, "parse-hmsg", HEADERS);
    group.throughput(Throughput::Elements(1));
    write_lines(group);
    route(group);
}

fn parse_client(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, shape: Shape<'_>) {
    let bytes = publishes(COUNT, &payload(SIZE), shape);
    let mut parser = ClientParser::new(Limits::default());
    parser.set_headers(true);
    group.bench_function(BenchmarkId::new(name, SIZE), |bench| {
        bench.iter(|| {
            let mut rest = &*bytes;
            while let Ok(Parsed::Op { op, len }) = parser.next(rest) {
                black_box(op);
                rest = rest.get(len..).unwrap();
            }
            assert!(rest.is_empty(), "parsed to the end");
        });
    });
}

fn parse_server(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, shape: Shape<'_>) {
    let bytes = messages(std::iter::repeat_n(&*payload(SIZE), COUNT), shape);
    let mut parser = ServerParser::new(Limits::default());
    group.bench_function(BenchmarkId::new(name, SIZE), |bench| {
        bench.iter(|| {
            let mut rest = &*bytes;
            while let Ok(Parsed::Op { op, len }) = parser.next(rest) {
                black_box(op);
                rest = rest.get(len..).unwrap();
            }
            assert!(rest.is_empty(), "parsed to the end");
        });
    });
}

fn write_lines(group: &mut BenchmarkGroup<'_, CpuTime>) {
    let mut out = Buffer::with_capacity(1024);
    group.bench_function(BenchmarkId::new("write-pub", SIZE), |bench| {
        bench.iter(|| {
            out.clear();
            let size = Decimal::like(black_box(b"80"), black_box(SIZE));
            let publish = PublishLine {
                subject: SUBJECT,
                reply: None,
                header_size: None,
                size: size.digits(),
                arg_len: 0,
            };
            write::publish(&mut out, black_box(&publish));
            black_box(out.filled());
        });
    });
    let line = [b"MSG ", SUBJECT, b" 9 176\r\n"].concat();
    group.bench_function(BenchmarkId::new("write-msg", SIZE), |bench| {
        bench.iter(|| {
            out.clear();
            write::message(&mut out, black_box(&line), black_box(SIZE));
            black_box(out.filled());
        });
    });
}

fn route(group: &mut BenchmarkGroup<'_, CpuTime>) {
    let policy = Policy::everything();
    let subjects: [(&str, &[u8]); 3] = [
        ("route-user", SUBJECT),
        ("route-inbox", b"_INBOX.r4nd0mInb0x.17"),
        (
            "route-jetstream",
            b"$JS.API.CONSUMER.MSG.NEXT.orders.worker",
        ),
    ];
    for (name, subject) in subjects {
        group.bench_function(BenchmarkId::new(name, subject.len()), |bench| {
            bench.iter(|| policy.route(black_box(subject)));
        });
    }
}
