//! The disk under the state directory is full, or read-only, while agents work. (At a start, and in a rotation alone: `state.rs`.)

use crate::talks;
use keyway_tests::agent::publish;
use keyway_tests::gateway::Settings;
use keyway_tests::mount::Mount;
use keyway_tests::traffic::CoreTraffic;
use keyway_tests::{Gateway, NatsServer, Raw, metrics, wait};

/// More than is reserved of a budget at a time.
const MANY: usize = 12_000;

/// Such a keyring that the disk is needed for every four thousand messages.
const SMALL: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n\
                     rotate = { messages = 1_000_000 }\nlimit = { messages = 15_000 }\n";

/// Takes what has come, which must come in order.
fn hear(subscriber: &mut Raw, heard: &mut usize) {
    for frame in subscriber.take_arrived() {
        assert_eq!(frame.payload(), heard.to_string().as_bytes());
        *heard += 1;
    }
}

/// Waits until the gateway says that it is not ready, and why.
fn not_ready(gateway: &Gateway) -> String {
    wait::until("a gateway that is not ready", || {
        let (status, why) = metrics::get(gateway.admin(), "/readyz");
        (status == 503).then(|| why.to_lowercase())
    })
}

#[test]
fn full_disk_stops_traffic_when_the_reserved_budget_is_used_up_and_not_before_and_heals_by_itself()
{
    let server = NatsServer::start();
    let tables = SMALL.replace("1_000_000", "14_999");
    let mut gateway = Gateway::start(
        &server.url(),
        Settings {
            tables,
            ..Settings::default()
        },
    );
    gateway.process().kill();
    let Some(mount) = Mount::small(&gateway.state(), 2304) else {
        return;
    };
    gateway.restart();
    let mut subscriber = Raw::agent(gateway.addr());
    subscriber.subscribe("a.b");
    let mut publisher = Raw::agent(gateway.addr());
    let mut bystander = Raw::agent(gateway.addr());
    let filler = mount.fill();
    let all: Vec<u8> = (0..MANY)
        .flat_map(|number| publish("a.b", None, number.to_string().as_bytes()))
        .collect();
    let publishing = std::thread::spawn(move || {
        publisher.send(&all);
        publisher
    });
    wait::until("a publisher that waits", || {
        let waiting = gateway.metrics().sum("keyway_publish_waiting", &[]);
        (waiting > 0.5).then_some(())
    });
    let mut heard = 0;
    // What was reserved is sealed, and the reason is told where one looks for it.
    hear(&mut subscriber, &mut heard);
    assert!((1000..MANY).contains(&heard), "{heard}");
    bystander.flush();
    assert!(not_ready(&gateway).contains("no space left"));
    let (status, said) = gateway.try_rotate("default");
    assert!(
        !status.success() && said.contains("no space left"),
        "{said}"
    );
    std::fs::remove_file(filler).unwrap();
    wait::until("every message", || {
        hear(&mut subscriber, &mut heard);
        (heard == MANY).then_some(())
    });
    publishing.join().unwrap().flush();
    wait::until("a gateway that is ready", || {
        (metrics::get(gateway.admin(), "/readyz").0 == 200).then_some(())
    });
    gateway.rotate("default");
    talks(&gateway);
}

#[test]
fn disk_that_turns_read_only_under_load_stops_the_rotation_and_not_the_traffic() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let core = CoreTraffic::start(gateway.addr(), 3);
    core.flows();
    let Some(mount) = Mount::read_only(&gateway.state()) else {
        return;
    };
    let (status, said) = gateway.try_rotate("default");
    assert!(!status.success(), "{said}");
    assert!(said.contains("read-only"), "{said}");
    core.flows();
    let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert!(ready.contains("read-only"), "{ready}");
    drop(mount);
    wait::until("a rotation that works again", || {
        gateway.try_rotate("default").0.success().then_some(())
    });
    core.flows();
    assert_eq!(core.finish().lives, 3);
    assert_eq!(gateway.states()["active"], 1);
}
