//! One of the message paths, over and over, for callgrind: `instructions publish|deliver|relay-publish|relay-deliver SIZE`.
//!
//! Only [`measured`] is counted, [`PASSES`] reads of a socket; the number of messages is printed.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a measurement stops at the first thing that is not as expected; its lengths are its own"
)]

use keyway::wire::Buffer;
use keyway_bench::{
    READ, SessionFixture, Shape, envelopes, filled, messages, payload, publishes, run_deliver,
    run_publish,
};

/// Reads that are counted.
const PASSES: usize = 20;

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_default();
    let size = args
        .next()
        .and_then(|size| size.parse().ok())
        .unwrap_or(128);
    let fixture = if path.starts_with("relay") {
        SessionFixture::relay()
    } else {
        SessionFixture::sealing(1)
    };
    let messages = if path.ends_with("publish") {
        publish(&fixture, size)
    } else {
        deliver(&fixture, size)
    };
    println!("{messages}");
}

fn publish(fixture: &SessionFixture, size: usize) -> usize {
    let (mut path, _deliver) = fixture.paths();
    let count = READ / publishes(1, &payload(size), Shape::default()).len();
    let bytes = publishes(count, &payload(size), Shape::default());
    run(&bytes, |input, output| {
        run_publish(&mut path, input, output)
    });
    count * PASSES
}

fn deliver(fixture: &SessionFixture, size: usize) -> usize {
    let (_publish, mut path) = fixture.paths();
    let count = READ / messages([&*payload(size + 48)].into_iter(), Shape::default()).len();
    let sealed = envelopes(&fixture.keys.load(), 1, count, &payload(size));
    let bytes = messages(sealed.iter().map(Vec::as_slice), Shape::default());
    run(&bytes, |input, output| {
        run_deliver(&mut path, input, output)
    });
    count * PASSES
}

/// Runs once as warm-up, then for callgrind.
fn run(bytes: &[u8], mut pass: impl FnMut(&mut Buffer, &mut Buffer)) {
    let mut input = filled(bytes);
    let mut output = Buffer::new();
    pass(&mut input, &mut output);
    measured(bytes.len(), &mut input, &mut |input| {
        pass(input, &mut output)
    });
}

#[inline(never)]
fn measured(length: usize, input: &mut Buffer, pass: &mut dyn FnMut(&mut Buffer)) {
    for _ in 0..PASSES {
        input.advance(length);
        pass(input);
    }
}
