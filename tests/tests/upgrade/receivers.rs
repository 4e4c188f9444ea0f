//! Promise: receivers lose no stored message while the gateway is replaced. Lost core messages are counted, beside those lost in
//! a server's own lame duck mode.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test stops at the first thing that is not as expected, and a measurement prints its row"
)]

use keyway_tests::gateway::Settings;
use keyway_tests::receivers::{Received, Receiver, ReceiverKind, create_stream};
use keyway_tests::steady_publisher::SteadyPublisher;
use keyway_tests::{Gateway, NatsServer, RawClient};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};

/// As short as the server's configuration lets its lame duck mode be.
const SHORT: &str = "[shutdown]\ngrace = \"300ms\"\nspread = \"100ms\"";

const ALL: [ReceiverKind; 4] = [
    ReceiverKind::Core,
    ReceiverKind::Push,
    ReceiverKind::Ordered,
    ReceiverKind::Pull,
];

/// A case of `make upgrade`.
#[derive(Clone, Copy, Debug)]
struct Case {
    by: ReceiverKind,
    /// Messages a second.
    rate: u64,
    /// Messages sent before the take-over or the lame duck mode.
    before: u64,
}

#[test]
fn nothing_that_a_stream_keeps_is_lost_to_who_receives_it() {
    for by in [
        ReceiverKind::Push,
        ReceiverKind::Ordered,
        ReceiverKind::Pull,
    ] {
        let case = Case {
            by,
            rate: 500,
            before: 100,
        };
        let (count, tally) = through_a_take_over(case);
        assert_eq!(tally.lost(count), 0, "{case:?}");
    }
}

#[test]
#[ignore = "some minutes under full load: `make upgrade`"]
fn receivers_lose_nothing_stored_at_any_rate_beside_a_lame_duck_of_the_server() {
    println!(
        "| by | a second | published before | lost, twice, longest gap: server | the same: gateway |"
    );
    println!("|---|---|---|---|---|");
    for rate in [1000, 5000, 50_000] {
        for (by, before) in ALL.iter().flat_map(|by| [(*by, rate), (*by, rate * 3)]) {
            compare(Case { by, rate, before });
        }
    }
}

fn compare(case: Case) {
    let bare = through_a_lame_duck(case);
    let ours = through_a_take_over(case);
    println!(
        "| {:?} | {} | {} | {} | {} |",
        case.by,
        case.rate,
        case.before,
        row(&bare),
        row(&ours)
    );
    if case.by != ReceiverKind::Core {
        assert_eq!(ours.1.lost(ours.0), 0, "{case:?}");
    }
}

fn row((count, tally): &(u64, Received)) -> String {
    let (lost, twice) = (tally.lost(*count), tally.duplicates());
    format!(
        "{lost}, {twice} of {count}, {} ms",
        tally.longest.as_millis()
    )
}

/// A client of a gateway that is replaced.
fn through_a_take_over(case: Case) -> (u64, Received) {
    let server = NatsServer::jetstream();
    let settings = Settings {
        tables: SHORT.to_owned(),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    create_stream(&gateway.url(), None);
    let receiver = Receiver::start(vec![gateway.url()], case.by);
    let addr = gateway.addr();
    run(case, (addr, receiver), || {
        assert_eq!(gateway.take_over().wait().code(), Some(0));
    })
}

/// A client of one of three servers that goes into lame duck mode; stream and publisher are on another.
fn through_a_lame_duck(case: Case) -> (u64, Received) {
    let mut nodes = cluster();
    let urls = nodes.each_ref().map(NatsServer::url).to_vec();
    create_stream(&urls[1], Some("home"));
    let receiver = Receiver::start(urls, case.by);
    let addr = nodes[1].addr();
    run(case, (addr, receiver), || {
        nodes[0].process().signal(Signal::USR2);
        nodes[0].process().wait();
    })
}

fn run(
    case: Case,
    (addr, receiver): (SocketAddr, Receiver),
    moved: impl FnOnce(),
) -> (u64, Received) {
    let publisher = SteadyPublisher::start(addr, "a", case.rate);
    publisher.send(case.before);
    moved();
    publisher.send(case.rate);
    let count = publisher.finish();
    let mut last = RawClient::handshake(addr, "\"protocol\":1");
    last.publish("steady.end.0", b"hello");
    last.flush();
    let stored = case.by != ReceiverKind::Core;
    let tally = receiver.tally(|tally| tally.ended && !(stored && tally.lost(count) != 0));
    receiver.finish();
    (count, tally)
}

/// A cluster of three servers on fixed route ports; one has a tag.
fn cluster() -> [NatsServer; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let routes = held.each_ref().map(|port| port.local_addr().unwrap());
    drop(held);
    let urls = routes.map(|route| format!("nats://{route}")).to_vec();
    [(0, ""), (1, "home"), (2, "")].map(|(number, tag)| {
        let tags = if tag.is_empty() {
            ""
        } else {
            "server_tags: [home]"
        };
        NatsServer::configured(&format!(
            "server_name: n{number}\njetstream {{ store_dir: \"STORE\" }}\n{tags}\n\
             lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"300ms\"\n\
             cluster {{ name: c, listen: \"{}\", routes: {urls:?} }}",
            routes[number]
        ))
    })
}
