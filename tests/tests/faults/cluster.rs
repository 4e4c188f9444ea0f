//! A cluster of three loses its nodes one by one.

use keyway_tests::gateway::Settings;
use keyway_tests::traffic::StreamTraffic;
use keyway_tests::{Gateway, NatsServer};
use std::net::TcpListener;

/// A cluster of three servers on fixed route ports.
fn cluster() -> [NatsServer; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let routes = held.each_ref().map(|port| port.local_addr().unwrap());
    drop(held);
    let urls = routes.map(|route| format!("nats://{route}")).to_vec();
    [0, 1, 2].map(|number| {
        NatsServer::configured(&format!(
            "server_name: n{number}\njetstream {{ store_dir: \"STORE\" }}\n\
             cluster {{ name: c, listen: \"{}\", routes: {urls:?} }}",
            routes[number]
        ))
    })
}

#[test]
fn cluster_that_loses_its_nodes_one_by_one_loses_nothing_acknowledged() {
    let mut nodes = cluster();
    let urls = nodes.each_ref().map(NatsServer::url);
    let servers = urls.each_ref().map(String::as_str);
    let gateway = Gateway::in_front_of(&servers, Settings::default());
    let stream = StreamTraffic::start(&gateway.url(), 3, 4);
    for node in &mut nodes {
        stream.await_replication(2);
        stream.await_progress();
        node.kill();
        stream.await_progress();
        node.restart();
    }
    stream.await_replication(2);
    stream.await_progress();
    assert!(stream.finish(&urls[0]) > 0);
}
