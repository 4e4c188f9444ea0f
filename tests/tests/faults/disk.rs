//! The disk under the state directory is full, or read-only, while agents work. (At a start, and in a rotation alone: `state.rs`.)

use crate::talks;
use keyway_tests::agent::publish;
use keyway_tests::command::{code, keyway, path, stderr_of, text};
use keyway_tests::gateway::Settings;
use keyway_tests::mount::Mount;
use keyway_tests::traffic::CoreTraffic;
use keyway_tests::{Gateway, NatsServer, RawClient, metrics, wait};

/// More than is reserved of a budget at a time.
const MANY: usize = 12_000;

/// A keyring that writes its record every four thousand messages.
const SMALL: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n\
                     rotate = { messages = 1_000_000 }\nlimit = { messages = 15_000 }\n";

/// Counts the messages received, which must be in order.
fn hear(subscriber: &mut RawClient, heard: &mut usize) {
    for frame in subscriber.take_arrived() {
        assert_eq!(frame.payload(), heard.to_string().as_bytes());
        *heard += 1;
    }
}

/// Waits until the gateway is not ready, and returns the reason.
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
    let Some(mount) = Mount::under(&mut gateway, 2304) else {
        return;
    };
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.b");
    let mut publisher = RawClient::agent(gateway.addr());
    let mut bystander = RawClient::agent(gateway.addr());
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
    // What was reserved is sealed, and the reason is reported.
    hear(&mut subscriber, &mut heard);
    assert!((500..MANY).contains(&heard), "{heard}");
    bystander.flush();
    assert!(not_ready(&gateway).contains("no space left"));
    // Not necessarily all: a process that was killed loses what it had reserved.
    let shown = keyway(&["status", "--config", path(&gateway.config())]);
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("nothing is left of what is reserved"),
        "{shown}"
    );
    assert!(shown.contains("  none reserved  "), "{shown}");
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
    core.await_progress();
    let Some(mount) = Mount::read_only(&gateway.state()) else {
        return;
    };
    let (status, said) = gateway.try_rotate("default");
    assert!(!status.success(), "{said}");
    assert!(said.contains("read-only"), "{said}");
    core.await_progress();
    let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert!(ready.contains("read-only"), "{ready}");
    drop(mount);
    wait::until("a rotation that works again", || {
        gateway.try_rotate("default").0.success().then_some(())
    });
    core.await_progress();
    assert_eq!(core.finish().connections, 3);
    assert_eq!(gateway.states()["active"], 1);
}

#[test]
fn disk_without_room_for_the_reserve_is_told_and_keeps_no_client_away() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.process().kill();
    std::fs::remove_file(gateway.state().join("audit/reserve")).unwrap();
    let Some(mount) = Mount::small(&gateway.state(), 768) else {
        return;
    };
    gateway.restart();
    let status = |gateway: &Gateway| {
        let config = gateway.config();
        let shown = keyway(&["status", "--config", path(&config)]);
        text(&shown.stdout).to_owned()
    };
    for said in [metrics::get(gateway.admin(), "/readyz").1, status(&gateway)] {
        let lines: Vec<_> = said
            .lines()
            .filter(|line| line.contains("degraded: "))
            .collect();
        assert_eq!(lines.len(), 1, "{said}");
        for word in ["audit log has no reserve", "revocation", "no space left"] {
            assert!(lines.concat().contains(word), "{word}: {said}");
        }
    }
    assert_eq!(metrics::get(gateway.admin(), "/readyz").0, 200);
    gateway.process().kill();
    drop(mount);
    gateway.restart();
    let (status, said) = metrics::get(gateway.admin(), "/readyz");
    assert_eq!((status, said.as_str()), (200, "ready\n"));
}

#[test]
fn reserve_that_a_revocation_took_is_missed_until_the_disk_has_room() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let Some(mount) = Mount::under(&mut gateway, 2304) else {
        return;
    };
    let ready = |gateway: &Gateway| metrics::get(gateway.admin(), "/readyz");
    assert_eq!(ready(&gateway), (200, "ready\n".to_owned()));
    let filler = mount.fill();
    let config = gateway.config();
    let revoked = keyway(&["revoke", "--why", "lost", "--config", path(&config)]);
    assert_eq!(code(&revoked), 0, "{}", stderr_of(&revoked));
    let (status, said) = ready(&gateway);
    assert!(
        status == 200 && said.contains("no reserve"),
        "{status} {said}"
    );
    std::fs::remove_file(filler).unwrap();
    // A start creates it at once.
    gateway.restart();
    assert_eq!(ready(&gateway), (200, "ready\n".to_owned()));
}
