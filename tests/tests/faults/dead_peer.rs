//! A dead peer: no FIN, no RST, and no answers any more.

use crate::has_clients;
use async_nats::ConnectOptions;
use futures_util::StreamExt as _;
use keyway_tests::{Adversary, Gateway, NatsServer, RawClient, wait};
use std::net::SocketAddr;
use std::time::Duration;

/// The timer of a connection with these ports, as proc(5) numbers them in `/proc/net/tcp`.
fn timer(local: u16, remote: impl Fn(u16) -> bool) -> Option<u8> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |end: &str| u16::from_str_radix(end.rsplit(':').next().unwrap(), 16).ok();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let established = words[3] == "01";
        let ours = port(words[1]) == Some(local) && port(words[2]).is_some_and(&remote);
        (established && ours)
            .then(|| u8::from_str_radix(words[5].split(':').next().unwrap(), 16).unwrap())
    })
}

/// The ports of the connections from one process to a port.
fn ports_to(process: u32, remote: SocketAddr) -> Vec<u16> {
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let wanted = format!(":{:04X}", remote.port());
    let rows = table.lines().skip(1);
    let ours = rows.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fits = words[2].ends_with(&wanted) && words[3] == "01";
        fits.then(|| u16::from_str_radix(words[1].rsplit(':').next().unwrap(), 16).unwrap())
    });
    ours.collect()
}

const KEEPALIVE: u8 = 2;

#[test]
fn both_connections_of_a_session_are_probed_while_nothing_is_said() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let _agent = RawClient::agent(gateway.addr());
    let listening = gateway.addr().port();
    // Once everything sent is acknowledged, this is the only timer.
    wait::until("keepalive towards the client", || {
        (timer(listening, |_any| true) == Some(KEEPALIVE)).then_some(())
    });
    let ports = ports_to(gateway.process().id(), server.addr());
    assert_eq!(ports.len(), 1, "{ports:?}");
    wait::until("keepalive towards the server", || {
        let to_server = |remote| remote == server.addr().port();
        (timer(ports[0], to_server) == Some(KEEPALIVE)).then_some(())
    });
}

#[test]
fn client_that_vanishes_is_given_up_by_the_servers_pings_and_leaves_nothing() {
    let server = NatsServer::configured("ping_interval: \"500ms\"\nping_max: 1");
    let gateway = Gateway::sealing(&server.url());
    let mut vanished = RawClient::agent(gateway.addr());
    vanished.send(b"SUB talk.a 1\r\n");
    // It keeps its socket, and answers no PING.
    has_clients(&gateway, 0);
    let end = vanished.until_end().escape_ascii().to_string();
    assert!(end.ends_with("-ERR \\'Stale Connection\\'\\r\\n"), "{end}");
}

#[tokio::test]
async fn server_that_vanishes_is_left_by_its_clients_and_leaves_nothing() {
    let server = NatsServer::start();
    let adversary = Adversary::in_front_of(server.addr());
    let gateway = Gateway::sealing(&adversary.url());
    let options = ConnectOptions::new()
        .ping_interval(Duration::from_millis(300))
        .reconnect_delay_callback(|_attempts| Duration::from_millis(20));
    let agent = Box::pin(options.connect(gateway.url())).await.unwrap();
    let mut subscription = agent.subscribe("talk.a").await.unwrap();
    agent.flush().await.unwrap();
    let vanished = adversary.latest_connection();
    let silence = move |connection, frame| match connection == vanished {
        true => vec![],
        false => vec![frame],
    };
    adversary.on_publish(silence);
    adversary.on_deliver(silence);
    // The client notices by its own pings, and reconnects.
    let mut sequence = 0;
    let heard = loop {
        agent
            .publish("talk.a", format!("{sequence}").into())
            .await
            .unwrap();
        sequence += 1;
        let next = subscription.next();
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(100), next).await {
            break heard.unwrap();
        }
        assert!(sequence < 200, "never heard again");
    };
    assert!(!heard.payload.is_empty());
    assert_ne!(adversary.latest_connection(), vanished);
    has_clients(&gateway, 1);
}
