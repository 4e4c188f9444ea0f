//! Promise: INFO names no address but the gateway's, and everything else in it is the server's byte for byte.

use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient, wait};
use serde_json::{Value, json};

/// Every INFO that the client has received.
fn infos(agent: &RawClient) -> Vec<Value> {
    let frames = agent.frames();
    let lines = frames
        .iter()
        .filter_map(|frame| frame.line.strip_prefix("INFO "));
    lines
        .filter_map(|json| serde_json::from_str(json).ok())
        .collect()
}

fn member(name: &str, routes: &[String]) -> NatsServer {
    NatsServer::configured(&format!(
        "server_name: {name}\ncluster {{ name: c, listen: \"127.0.0.1:-1\", routes: {routes:?} }}"
    ))
}

fn route_of(server: &mut NatsServer) -> String {
    let listening = "Listening for route connections on ";
    let route = |line: &str| Some(line.split_once(listening)?.1.trim().to_owned());
    format!("nats://{}", server.process().line(listening, route))
}

#[test]
fn only_what_must_differ_from_the_servers_info_differs() {
    let server = NatsServer::configured("client_advertise: \"10.1.2.3:9999\"");
    for (gateway, overhead) in [
        (Gateway::relay(&server.url()), 0),
        (Gateway::sealing(&server.url()), 48),
    ] {
        let mut direct = RawClient::connect(server.addr());
        let mut through = RawClient::connect(gateway.addr());
        for agent in [&mut direct, &mut through] {
            agent.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        }
        let (mut direct, through) = (direct.info(), through.info());
        assert_eq!(direct["host"], "10.1.2.3");
        direct["host"] = json!("127.0.0.1");
        direct["port"] = json!(gateway.addr().port());
        direct["max_payload"] = json!(direct["max_payload"].as_u64().unwrap() - overhead);
        direct["client_id"] = through["client_id"].clone();
        assert_eq!(through, direct);
    }
}

#[test]
fn no_address_of_a_cluster_is_told_at_first_or_when_it_changes() {
    let mut first = member("n1", &[]);
    let route = route_of(&mut first);
    let second = member("n2", std::slice::from_ref(&route));
    let mut third = member("n3", &[route]);
    wait::until("a cluster of three", || {
        let urls = RawClient::agent(first.addr()).info()["connect_urls"].clone();
        (urls.as_array()?.len() == 3).then_some(())
    });
    let advertise = Settings {
        top: "advertise = [\"gw.example:4223\"]".to_owned(),
        ..Settings::default()
    };
    let gateways = [
        (Gateway::sealing(&first.url()), Value::Null),
        (
            Gateway::start(&first.url(), advertise),
            json!(["gw.example:4223"]),
        ),
    ];
    let mut agents = gateways.each_ref().map(|(gateway, _)| {
        RawClient::handshake(gateway.addr(), "\"protocol\":1,\"headers\":true")
    });
    third.kill();
    for (agent, (gateway, urls)) in agents.iter_mut().zip(&gateways) {
        let gone = third.addr().port();
        agent.until("an INFO after the change", |bytes| {
            let infos = bytes.windows(5).filter(|verb| verb == b"INFO ").count();
            infos > 1 && bytes.ends_with(b"\r\n")
        });
        let infos = infos(agent);
        assert!(infos.len() > 1);
        for info in infos {
            assert_eq!(info["connect_urls"], *urls, "{info}");
            assert_eq!(info["host"], "127.0.0.1");
            assert_eq!(info["port"], gateway.addr().port());
            assert_eq!(info["max_payload"], 1_048_576 - 48);
            for port in [first.addr().port(), second.addr().port(), gone] {
                assert!(!info.to_string().contains(&port.to_string()), "{info}");
            }
        }
    }
}

#[test]
fn lame_duck_mode_of_the_server_is_told_and_the_gateway_remains_the_address() {
    let mut server =
        NatsServer::configured("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"");
    let gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::handshake(gateway.addr(), "\"protocol\":1");
    server.process().signal(rustix::process::Signal::USR2);
    agent.until("lame duck mode", |bytes| {
        bytes.windows(10).any(|word| word == b"\"ldm\":true") && bytes.ends_with(b"\r\n")
    });
    for info in infos(&agent) {
        assert_eq!(info["port"], gateway.addr().port(), "{info}");
    }
}
