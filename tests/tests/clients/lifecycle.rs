//! Promise: a connection begins, ends and fails over as it would on the server, and loses nothing on the way.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::agent::publish;
use keyway_tests::gateway::Settings;
use keyway_tests::raw_client::WaitOutcome;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, metrics, wait};
use std::net::TcpListener;

/// Of messages that are published at once.
const MANY: usize = 2000;

#[test]
fn a_dead_server_is_passed_over_for_the_next_of_the_list() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", dead.local_addr().unwrap());
    drop(dead);
    let server = NatsServer::start();
    let gateway = Gateway::in_front_of(&[&url, &server.url()], Settings::default());
    let mut tap = BusTap::open(server.addr());
    RawClient::agent(gateway.addr()).publish("a.b", b"hello");
    tap.message("a.b");
    assert!(
        gateway
            .metrics()
            .sum("keyway_server_dials_failed_total", &[])
            >= 1.0
    );
}

#[test]
fn clients_of_a_server_that_dies_are_closed_and_land_on_the_next() {
    let (mut first, mut second) = (NatsServer::start(), NatsServer::start());
    let servers = [first.url(), second.url()];
    let gateway = Gateway::in_front_of(&[&servers[0], &servers[1]], Settings::default());
    for round in 0..3 {
        let (dying, living) = match round % 2 {
            0 => (&mut first, &mut second),
            _ => (&mut second, &mut first),
        };
        let mut agent = RawClient::agent(gateway.addr());
        let id = RawClient::agent(dying.addr()).info()["server_id"].clone();
        assert_eq!(agent.info()["server_id"], id, "round {round}");
        dying.kill();
        agent.until_end();
        let mut again = RawClient::agent(gateway.addr());
        let id = RawClient::agent(living.addr()).info()["server_id"].clone();
        assert_eq!(again.info()["server_id"], id, "round {round}");
        again.subscribe("a.b");
        again.publish("a.b", b"hello");
        assert_eq!(again.message("a.b").payload(), b"hello");
        dying.restart();
    }
}

#[test]
fn without_a_server_clients_are_turned_away_and_the_gateway_is_not_ready() {
    let mut server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    assert_eq!(metrics::get(gateway.admin(), "/readyz").0, 200);
    server.kill();
    assert_eq!(RawClient::connect(gateway.addr()).until_end(), b"");
    let (status, reason) = metrics::get(gateway.admin(), "/readyz");
    assert_eq!(status, 503);
    assert!(reason.contains("server"), "{reason}");
    assert_eq!(metrics::get(gateway.admin(), "/healthz").0, 200);
    server.restart();
    // Without a client: a load balancer sends none before the gateway is ready.
    wait::until("the gateway is ready again", || {
        (metrics::get(gateway.admin(), "/readyz").0 == 200).then_some(())
    });
    RawClient::agent(gateway.addr());
}

/// A listener that is no NATS server: sends these bytes and closes each connection, or sends nothing and keeps it.
fn stranger(says: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            match says {
                // The peer may have closed already.
                Some(words) => drop(std::io::Write::write_all(&mut stream, words)),
                None => kept.push(stream),
            }
        }
    });
    url
}

#[test]
fn whoever_listens_and_does_not_greet_is_no_server_and_is_named() {
    let server = NatsServer::start();
    for (says, why) in [
        (None, "says nothing"),
        (Some(&b""[..]), "closes without a word"),
        (Some(b"SSH-2.0-x\r\n"), "neither INFO nor an error"),
        (Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "neither INFO"),
    ] {
        let strange = stranger(says);
        let settings = Settings {
            tables: "[limits]\ndial-timeout = \"200ms\"\n".to_owned(),
            ..Settings::default()
        };
        let mut gateway = Gateway::in_front_of(&[&strange], settings.clone());
        wait::until("a gateway that is not ready", || {
            (metrics::get(gateway.admin(), "/readyz").0 == 503).then_some(())
        });
        let addr = strange.trim_start_matches("nats://").to_owned();
        gateway.process().line("the stranger's address", |line| {
            (line.contains("ERROR") && line.contains(&addr) && line.contains(why)).then_some(())
        });
        // A server behind it in the list is found each time.
        let gateway = Gateway::in_front_of(&[&strange, &server.url()], settings);
        wait::until("a client that is served", || {
            let mut raw = RawClient::connect(gateway.addr());
            let greeted = raw.outcome(|bytes| bytes.starts_with(b"INFO {"));
            (greeted == WaitOutcome::Enough).then_some(())
        });
        wait::until("a gateway that is ready", || {
            (metrics::get(gateway.admin(), "/readyz").0 == 200).then_some(())
        });
    }
}

#[test]
fn what_a_client_published_before_it_closed_is_delivered() {
    let server = NatsServer::start();
    for gateway in [
        Gateway::relay(&server.url()),
        Gateway::sealing(&server.url()),
    ] {
        let mut tap = BusTap::open(server.addr());
        let mut agent = RawClient::agent(gateway.addr());
        agent.send(&publish("a.b", None, &[b'x'; 100]).repeat(MANY));
        drop(agent);
        let all = |frames: &[keyway_tests::frame::Frame]| frames.len() == MANY;
        tap.until("all that was published", all);
    }
}

#[test]
fn what_a_client_published_before_it_closed_with_unread_messages_is_delivered() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    let some = 300;
    agent.send(&publish("a.b", None, b"once").repeat(some));
    // Its own messages are on their way back to it: closing resets the connection.
    tap.until("the first", |frames| !frames.is_empty());
    drop(agent);
    tap.until("all that was published", |frames| frames.len() == some);
}

#[test]
fn what_was_published_in_front_of_a_mistake_is_delivered_and_the_mistake_reported() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut said = Vec::new();
    for addr in [server.addr(), gateway.addr()] {
        let mut agent = RawClient::agent(addr);
        agent.subscribe("a.b");
        agent.forget();
        agent.send(&publish("a.b", None, b"hello").repeat(MANY));
        agent.send(b"BOGUS\r\n");
        let frames = {
            agent.until_end();
            agent.frames()
        };
        assert_eq!(agent.messages().len(), MANY);
        said.push(frames.last().unwrap().line.clone());
    }
    assert_eq!(said, ["-ERR 'Unknown Protocol Operation'"; 2]);
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    for addr in [server.addr(), gateway.addr()] {
        let mut agent = RawClient::agent(addr);
        agent.subscribe("a.b");
        agent.forget();
        agent.send(&publish("a.b", None, b"hello").repeat(50));
        agent.send(b"PING\r\n");
        agent.half_close();
        agent.until_end();
        assert_eq!(agent.messages().len(), 50, "{addr}");
        assert_eq!(agent.frames().last().unwrap().verb(), "PONG", "{addr}");
    }
}

#[test]
fn a_client_that_answers_no_ping_is_told_that_it_is_stale() {
    let server = NatsServer::configured("ping_interval: \"100ms\"\nping_max: 1");
    let gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::agent(gateway.addr());
    let said = agent.until_end();
    assert!(
        said.ends_with(b"-ERR 'Stale Connection'\r\n"),
        "{}",
        said.escape_ascii()
    );
}

#[test]
fn a_stopped_server_closes_its_clients_after_all_that_it_had_for_them() {
    let mut server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.b");
    let mut agent = RawClient::agent(gateway.addr());
    agent.send(&publish("a.b", None, b"hello").repeat(MANY));
    agent.flush();
    server.process().terminate();
    subscriber.until_end();
    assert_eq!(subscriber.messages().len(), MANY);
}

#[test]
fn sigterm_drains_what_had_arrived_exits_with_0_and_frees_the_port() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let mut tap = BusTap::open(server.addr());
    let mut idle = RawClient::agent(gateway.addr());
    let mut agent = RawClient::agent(gateway.addr());
    // So little that all of it is in the gateway's socket when the signal comes, read or not.
    agent.send(&publish("a.b", None, &[b'x'; 100]).repeat(200));
    let status = gateway.process().terminate();
    assert_eq!(status.code(), Some(0));
    tap.until("all that was sent", |frames| frames.len() == 200);
    idle.until_end();
    agent.until_end();
    gateway.restart();
    RawClient::agent(gateway.addr()).publish("a.c", b"hello");
    tap.message("a.c");
}

#[test]
fn sigterm_does_not_wait_for_a_client_that_does_not_read() {
    let server = NatsServer::start();
    let settings = Settings {
        tables: "[shutdown]\ngrace = \"0s\"\ndrain = \"1s\"".to_owned(),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let mut deaf = RawClient::agent(gateway.addr());
    deaf.subscribe("a.b");
    let mut bare = RawClient::agent(gateway.addr());
    let payload = vec![b'x'; 500_000];
    for _ in 0..30 {
        bare.publish("a.b", &payload);
    }
    assert_eq!(gateway.process().terminate().code(), Some(0));
}

#[test]
fn a_killed_gateway_comes_back_and_serves() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::agent(gateway.addr());
    agent.publish("a.b", b"hello");
    gateway.restart();
    agent.until_end();
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    agent.publish("a.b", b"again");
    assert_eq!(agent.message("a.b").payload(), b"again");
}

#[test]
fn the_connection_gauge_returns_to_zero() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let agents: Vec<RawClient> = (0..10).map(|_| RawClient::agent(gateway.addr())).collect();
    let open = || gateway.metrics().sum("keyway_connections", &[]);
    wait::until("ten connections", || (open() == 10.0).then_some(()));
    drop(agents);
    wait::until("no connection", || (open() == 0.0).then_some(()));
    assert_eq!(
        gateway
            .metrics()
            .sum("keyway_connections_accepted_total", &[]),
        10.0
    );
}
