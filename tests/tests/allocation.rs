//! No message on the seal and open paths costs an allocation.
//!
//! Runs the code of sessions without sockets, warms it up, and then counts allocations with a counting allocator.

use allocation_counter::{AllocationInfo, measure};
use keyway::wire::Buffer;
use keyway_bench::{
    SessionFixture, Shape, envelopes, messages, payload, publishes, run_deliver, run_publish,
};

/// Batches counted. With those before them they stay below 64, of which one is timed: its samples go to the recorder of metrics,
/// which allocates a block for every few hundred of them, whatever the number of messages.
const BATCHES: usize = 56;

/// Messages in each.
const MESSAGES: usize = 100;

const HEADERS: Shape<'_> = Shape {
    reply: None,
    headers: Some(b"NATS/1.0\r\nTrace-Id: 4711\r\n\r\n"),
};
const REQUEST: Shape<'_> = Shape {
    reply: Some(b"_INBOX.r4nd0mInb0x.17"),
    headers: None,
};
const PLAIN: Shape<'_> = Shape {
    reply: None,
    headers: None,
};

/// Allocations of `round` in [`BATCHES`] calls, after enough of them to have grown every buffer and filled every cache.
fn counted(mut round: impl FnMut()) -> AllocationInfo {
    (0..4).for_each(|_| round());
    measure(|| (0..BATCHES).for_each(|_| round()))
}

#[track_caller]
fn assert_none(what: &str, info: &AllocationInfo) {
    let count = info.count_total;
    assert_eq!(
        count,
        0,
        "{what}: {count} allocations for {} messages",
        BATCHES * MESSAGES
    );
}

#[test]
fn publish_path_allocates_nothing_per_message() {
    for (what, shape) in [("PUB", PLAIN), ("HPUB", HEADERS), ("request", REQUEST)] {
        for size in [0, 16, 1024, 16 * 1024] {
            let fixture = SessionFixture::sealing(1);
            let (mut path, _deliver) = fixture.paths();
            let bytes = publishes(MESSAGES.min(200_000 / (size + 1)), &payload(size), shape);
            let (mut input, mut output) = (Buffer::new(), Buffer::new());
            let info = counted(|| {
                input.put(&bytes);
                run_publish(&mut path, &mut input, &mut output);
                assert_eq!(
                    output.len() > bytes.len(),
                    size > 0,
                    "an envelope is longer"
                );
            });
            assert_none(&format!("{what} of {size} bytes"), &info);
        }
    }
}

#[test]
fn deliver_path_allocates_nothing_per_message() {
    for (what, shape) in [("MSG", PLAIN), ("HMSG", HEADERS), ("request", REQUEST)] {
        for size in [1, 16, 1024] {
            assert_none(
                &format!("{what} of {size} bytes, one lane"),
                &delivering(shape, size, (1, 1)),
            );
            assert_none(
                &format!("{what} of {size} bytes, 16 lanes of each of 4 versions"),
                &delivering(shape, size, (4, 16)),
            );
        }
    }
}

fn delivering(shape: Shape<'_>, size: usize, (versions, lanes): (u32, usize)) -> AllocationInfo {
    let fixture = SessionFixture::sealing(versions);
    let (_publish, mut path) = fixture.paths();
    let text = payload(size);
    let sealed = envelopes(&fixture.keys.load(), lanes, MESSAGES, &text);
    let bytes = messages(sealed.iter().map(Vec::as_slice), shape);
    let opened = messages(std::iter::repeat_n(&*text, MESSAGES), shape);
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    counted(|| {
        input.put(&bytes);
        run_deliver(&mut path, &mut input, &mut output);
        assert!(output.filled() == opened, "opened to something else");
    })
}

#[test]
fn answering_requests_allocates_nothing_per_message() {
    let fixture = SessionFixture::sealing(1);
    let (mut publish, mut deliver) = fixture.paths();
    let sealed = envelopes(&fixture.keys.load(), 1, MESSAGES, &payload(128));
    let requests = messages(sealed.iter().map(Vec::as_slice), REQUEST);
    let answers = "PUB _INBOX.r4nd0mInb0x.17 3\r\nyes\r\n".repeat(MESSAGES);
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    let info = counted(|| {
        input.put(&requests);
        run_deliver(&mut deliver, &mut input, &mut output);
        input.put(answers.as_bytes());
        run_publish(&mut publish, &mut input, &mut output);
        assert!(output.len() > answers.len(), "answers are sealed too");
    });
    assert_none("request and answer", &info);
}

#[test]
fn withholding_a_forgery_in_a_known_lane_allocates_nothing_per_message() {
    let fixture = SessionFixture::sealing(1);
    let (_publish, mut path) = fixture.paths();
    let mut sealed = envelopes(&fixture.keys.load(), 1, MESSAGES, &payload(128));
    for envelope in sealed.iter_mut().skip(1) {
        *envelope.last_mut().unwrap() ^= 1;
    }
    let bytes = messages(sealed.iter().map(Vec::as_slice), PLAIN);
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    let info = counted(|| {
        input.put(&bytes);
        run_deliver(&mut path, &mut input, &mut output);
        assert!(output.len() < 2 * 128, "a forged envelope went through");
    });
    assert_none("forged envelope", &info);
}
