//! File descriptors run out.

use crate::talks;
use keyway_tests::raw_client::WaitOutcome;
use keyway_tests::{Gateway, NatsServer, RawClient, metrics, wait};
use std::net::TcpStream;

const CROWDED: &[u8] = b"-ERR 'maximum connections exceeded'\r\n";

/// The gateway's limit of open files.
const FILES: u32 = 128;

/// Connects clients until one is refused.
fn fill(gateway: &Gateway) -> Vec<RawClient> {
    let mut inside = Vec::new();
    loop {
        let mut raw = RawClient::connect(gateway.addr());
        raw.outcome(|bytes| bytes.ends_with(b"\r\n"));
        if raw.received() == CROWDED {
            return inside;
        }
        raw.send(b"CONNECT {\"verbose\":false}\r\n");
        raw.flush();
        inside.push(raw);
    }
}

#[test]
fn clients_beyond_the_open_files_are_told_and_all_else_goes_on() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.restart_with_open_files(FILES);
    let mut inside = fill(&gateway);
    // Two files for each; the rest is reserved for administration and keys.
    assert!((20..64).contains(&inside.len()), "{}", inside.len());
    for round in 0..3 {
        gateway.rotate("default");
        assert!(gateway.metrics().sum("keyway_connections", &[]) > 0.5);
        inside[0].send(b"SUB a.b 1\r\n");
        inside[0].flush();
        let last = inside.len() - 1;
        inside[last].publish("a.b", b"hello");
        assert_eq!(
            inside[0].message("a.b").payload(),
            b"hello",
            "round {round}"
        );
        for raw in &mut inside {
            raw.flush();
            raw.forget();
        }
        // Some leave, and as many others are accepted.
        let stay = inside.len() - 5;
        inside.truncate(stay);
        wait::until("places that are free again", || {
            inside.extend(fill(&gateway));
            (inside.len() == stay + 5).then_some(())
        });
    }
}

/// Connections to the port of metrics and health must not exhaust the files that rotation and clients need.
#[test]
fn connections_to_the_admin_port_take_no_file_from_clients_and_keys() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.restart_with_open_files(FILES);
    // More than the files that are left, and no more than a kernel queues.
    let idle: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(gateway.admin()).unwrap())
        .collect();
    let inside = fill(&gateway);
    assert!(inside.len() >= 20, "{}", inside.len());
    gateway.rotate("default");
    drop(inside);
    wait::until("a place that is free again", || {
        let mut raw = RawClient::connect(gateway.addr());
        let greeted = raw.outcome(|bytes| bytes.starts_with(b"INFO"));
        (greeted == WaitOutcome::Enough).then_some(())
    });
    talks(&gateway);
    drop(idle);
    assert_eq!(metrics::get(gateway.admin(), "/healthz").0, 200);
}
