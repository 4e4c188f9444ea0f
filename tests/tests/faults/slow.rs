//! Slow clients harm only themselves.

use crate::{has_clients, resident, talks};
use keyway_tests::agent::publish;
use keyway_tests::frame;
use keyway_tests::raw_client::WaitOutcome;
use keyway_tests::{Gateway, NatsServer, RawClient};

/// Messages of a burst, and the payload of each: 64 MiB in all.
const BURST: usize = 1024;
const SIZE: usize = 64 * 1024;

/// Subscribers that do not read: together they are sent 512 MiB.
const SLOW: usize = 8;

/// Growth of memory that is allowed, in KiB: some buffers for some sessions.
const ROOM: u64 = 64 * 1024;

/// The message of this number in a burst.
fn large(number: usize) -> Vec<u8> {
    let mut payload = format!("{number:08}").into_bytes();
    payload.resize(SIZE, b'x');
    payload
}

#[test]
fn client_that_sends_a_byte_at_a_time_is_served_and_keeps_nobody_waiting() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut quick = RawClient::agent(gateway.addr());
    quick.subscribe("slow.a");
    let mut slow = RawClient::connect(gateway.addr());
    let said = [
        b"CONNECT {\"verbose\":false}\r\nSUB slow.a 1\r\n".to_vec(),
        publish("slow.a", None, b"said at last"),
        b"PING\r\n".to_vec(),
    ]
    .concat();
    for byte in said {
        slow.send(&[byte]);
        // Others have been served meanwhile.
        quick.publish("quick.a", b"x");
    }
    assert_eq!(slow.message("slow.a").payload(), b"said at last");
    assert_eq!(quick.message("slow.a").payload(), b"said at last");
    slow.until("PONG", |bytes| bytes.ends_with(b"PONG\r\n"));
}

/// Whether there is a whole operation.
fn holds_one(bytes: &[u8]) -> bool {
    !frame::split_frames(bytes).0.is_empty()
}

/// Reads to the end of the burst or of the connection; how many messages came, which must be whole and in order.
fn hear(raw: &mut RawClient) -> (usize, WaitOutcome) {
    let mut heard = 0;
    loop {
        let outcome = raw.outcome(holds_one);
        for frame in raw.take() {
            if frame.has_body() {
                assert!(frame.payload() == large(heard), "message {heard}");
                heard += 1;
            }
        }
        if heard == BURST || outcome != WaitOutcome::Enough {
            return (heard, outcome);
        }
    }
}

#[test]
fn burst_into_subscribers_that_do_not_read_reaches_all_others_and_stays_out_of_memory() {
    // The server's own rule for slow consumers, a little stricter than its default.
    let server = NatsServer::configured("max_pending: 16777216\nwrite_deadline: \"2s\"");
    let mut gateway = Gateway::sealing(&server.url());
    let mut slow: Vec<RawClient> = (0..SLOW)
        .map(|_| {
            let mut raw = RawClient::agent(gateway.addr());
            raw.subscribe("burst.a");
            raw
        })
        .collect();
    let mut quick = RawClient::agent(gateway.addr());
    quick.subscribe("burst.a");
    let mut publisher = RawClient::agent(gateway.addr());
    let before = resident(&mut gateway);
    let hearing = std::thread::spawn(move || hear(&mut quick));
    let mut peak = 0;
    for number in 0..BURST {
        publisher.send(&publish("burst.a", None, &large(number)));
        if number % 64 == 0 {
            // A subscriber that reads keeps up with this pace; 4 MiB are far below the server's limit of pending bytes.
            publisher.flush();
            peak = peak.max(resident(&mut gateway));
        }
    }
    publisher.flush();
    let (heard, _open) = hearing.join().unwrap();
    assert_eq!(heard, BURST);
    peak = peak.max(resident(&mut gateway));
    assert!(peak < before + ROOM, "{before} to {peak} KiB");
    talks(&gateway);
    // Each slow one gets a beginning without a gap, then the end of the stream; the rest is lost, as on the server itself.
    for raw in &mut slow {
        let (heard, outcome) = hear(raw);
        assert!(
            heard == BURST || outcome == WaitOutcome::Closed,
            "{heard} messages, {outcome:?}"
        );
    }
    drop(slow);
    drop(publisher);
    has_clients(&gateway, 0);
}

#[test]
fn client_that_never_reads_keeps_nobody_waiting() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut deaf = RawClient::agent(gateway.addr());
    deaf.subscribe("noise.a");
    // It asks for more answers than any socket holds, beside what it is sent.
    let mut noise = RawClient::agent(gateway.addr());
    let mut quick = RawClient::agent(gateway.addr());
    quick.subscribe("quick.a");
    for number in 0..256 {
        noise.publish("noise.a", &large(number));
        noise.forget();
        deaf.send(b"PING\r\n");
        quick.publish("quick.a", b"x");
        quick.message("quick.a");
        quick.forget();
    }
    let mut heard = 0;
    while heard < 256 {
        assert_eq!(deaf.outcome(holds_one), WaitOutcome::Enough, "{heard}");
        for frame in deaf.take().iter().filter(|frame| frame.has_body()) {
            assert!(frame.payload() == large(heard), "message {heard}");
            heard += 1;
        }
    }
}
