//! Promise: key versions are rotated automatically, budgets are never exceeded, and no agent notices either.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod blocked_publishes;
mod destruction;
mod metrics;
mod pace;
mod stored_messages;
mod storm;

use keyway_tests::agent::publish;
use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::crash_injection::CrashInjection;
use keyway_tests::frame::Frame;
use keyway_tests::gateway::Settings;
use keyway_tests::metrics::get;
use keyway_tests::mount::Mount;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, wait};
use std::collections::HashMap;

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// `[[keyring]]` tables of the keyrings `a` and `b`; `terms` go into `a`.
fn two(terms: &str) -> String {
    format!(
        "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n{terms}\n\
         [[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\n"
    )
}

/// A stream of everything that the keyring `a` seals.
fn make_stream(server: &NatsServer) {
    let mut bare = RawClient::agent(server.addr());
    bare.subscribe("made");
    let config = br#"{"name":"S","subjects":["a.>"]}"#;
    bare.request("$JS.API.STREAM.CREATE.S", "made", config);
    bare.message("made");
}

fn numbers(frames: &[Frame]) -> Vec<usize> {
    let number = |frame: &Frame| String::from_utf8_lossy(frame.payload()).parse().unwrap();
    frames.iter().map(number).collect()
}

/// How many envelopes each version sealed.
fn sealed(frames: &[Frame]) -> HashMap<Vec<u8>, usize> {
    let mut sealed = HashMap::new();
    for frame in frames {
        *sealed.entry(frame.kid()).or_default() += 1;
    }
    sealed
}

#[test]
fn versions_are_replaced_by_usage_under_traffic_and_nothing_is_lost() {
    const COUNT: usize = 4000;
    let server = NatsServer::start();
    let terms = "rotate = { messages = 500 }\nlimit = { messages = 20_000 }\noverlap = \"1h\"";
    let gateway = gateway(&server, &two(terms));
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.*");
    let mut tap = BusTap::open(server.addr());
    let mut agent = RawClient::agent(gateway.addr());
    let mut switches = 1;
    for number in 0..COUNT {
        agent.publish("a.x", number.to_string().as_bytes());
        // Usage is checked periodically, so the traffic is held back now and then.
        if number % 1000 == 999 {
            switches += 1;
            let active = || {
                let states = gateway.states();
                (states.values().sum::<usize>() > switches).then_some(())
            };
            wait::until("a switch by usage", active);
        }
    }
    assert!(numbers(&subscriber.arrived()).into_iter().eq(0..COUNT));
    let kids = sealed(&tap.flush());
    assert!(kids.len() >= COUNT / 1000, "{} versions", kids.len());
    let audit = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    assert!(audit.contains("\"trigger\":\"messages\""), "{audit}");
}

#[test]
fn versions_are_replaced_when_their_time_is_over() {
    let server = NatsServer::start();
    let gateway = gateway(
        &server,
        &two("rotate = { after = \"1s\" }\noverlap = \"1h\""),
    );
    wait::until("two switches by time", || {
        (gateway.states().get("decrypt-only") >= Some(&2)).then_some(())
    });
}

#[test]
fn a_limit_is_never_exceeded_and_stops_only_its_own_keyring() {
    const LIMIT: usize = 2000;
    const COUNT: usize = 3000;
    let server = NatsServer::start();
    let terms = format!("rotate = {{ messages = 1999 }}\nlimit = {{ messages = {LIMIT} }}");
    let mut gateway = gateway(&server, &two(&terms));
    gateway.process().kill();
    // On a disk that takes no successor.
    let Some(mount) = Mount::small(&gateway.state(), 2304) else {
        return;
    };
    gateway.restart();
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.*");
    let mut tap = BusTap::open(server.addr());
    let mut agent = RawClient::agent(gateway.addr());
    let filler = mount.fill();
    for number in 0..COUNT {
        agent.send(&publish("a.x", None, number.to_string().as_bytes()));
    }
    wait::until("a publisher that waits", || {
        let waits = gateway
            .metrics()
            .sum("keyway_publish_waiting", &[("keyring", "a")]);
        (waits >= 1.0).then_some(())
    });
    // Other keyrings are served meanwhile.
    let mut other = RawClient::agent(gateway.addr());
    other.subscribe("b.*");
    other.publish("b.x", b"meanwhile");
    assert_eq!(other.message("b.x").payload(), b"meanwhile");
    std::fs::remove_file(filler).unwrap();
    let last = (COUNT - 1).to_string();
    let arrived = |frames: &[Frame]| {
        frames
            .iter()
            .any(|frame| frame.payload().len() == 48 + last.len())
    };
    tap.until("something of what waited", arrived);
    agent.flush();
    assert!(numbers(&subscriber.arrived()).into_iter().eq(0..COUNT));
    let mut on_a = tap.flush();
    on_a.retain(|frame| frame.subject().starts_with("a."));
    let sealed = sealed(&on_a);
    assert!(sealed.values().all(|count| *count <= LIMIT), "{sealed:?}");
    assert!(sealed.len() >= 2, "{sealed:?}");
}

#[test]
fn a_limit_holds_over_kills() {
    const LIMIT: usize = 600;
    let server = NatsServer::start();
    let terms = format!(
        "rotate = {{ messages = {} }}\nlimit = {{ messages = {LIMIT} }}",
        LIMIT - 1
    );
    let mut gateway = gateway(&server, &two(&terms));
    let mut tap = BusTap::open(server.addr());
    for _ in 0..6 {
        let mut agent = RawClient::agent(gateway.addr());
        for number in 0..250 {
            agent.send(&publish("a.x", None, number.to_string().as_bytes()));
        }
        agent.flush();
        gateway.process().kill();
        gateway.restart();
    }
    let sealed = sealed(&tap.flush());
    assert_eq!(sealed.values().sum::<usize>(), 6 * 250);
    assert!(sealed.values().all(|count| *count <= LIMIT), "{sealed:?}");
}

#[test]
fn an_overlap_ends_in_the_archive_from_which_stored_messages_still_open() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, &two("overlap = \"1s\""));
    make_stream(&server);
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("got");
    agent.publish("a.x", b"before");
    gateway.rotate("a");
    // Without [control] nobody can prove that nothing stored needs the version.
    wait::until("the archive", || {
        (gateway.states().get("archived") == Some(&1)).then_some(())
    });
    gateway.restart();
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("got");
    agent.request("$JS.API.STREAM.MSG.GET.S", "got", br#"{"seq":1}"#);
    let answer = agent.message("got");
    let text = String::from_utf8_lossy(answer.payload()).into_owned();
    let opened = data_encoding::BASE64.encode(b"before");
    assert!(text.contains(&opened), "{text}");
    assert_eq!(gateway.states()["archived"], 1);
}

#[test]
fn a_version_that_nothing_stored_needs_is_destroyed_and_one_that_is_stored_is_kept() {
    let server = NatsServer::jetstream();
    let control = format!("[control]\nservers = [\"{}\"]\n", server.url());
    let tables = format!("{control}{}", two("overlap = \"2s\"\nhold = \"0s\""));
    let gateway = gateway(&server, &tables);
    make_stream(&server);
    gateway.rotate("a");
    wait::until("the end of the first version", || {
        (gateway.states().get("destroyed") == Some(&1)).then_some(())
    });
    RawClient::agent(gateway.addr()).publish("a.x", b"stored");
    gateway.rotate("a");
    wait::until("the archive", || {
        (gateway.states().get("archived") == Some(&1)).then_some(())
    });
    assert_eq!(gateway.states()["destroyed"], 1);
    let record = std::fs::read_to_string(gateway.state().join("catalogue/a.json")).unwrap();
    assert_eq!(record.matches("\"wrapped\"").count(), 2, "{record}");
}

#[test]
fn a_kill_at_every_step_of_a_rotation_leaves_a_start_that_completes_it() {
    let server = NatsServer::jetstream();
    let mut gateway = gateway(&server, &two("overlap = \"1h\""));
    make_stream(&server);
    let death = CrashInjection::new();
    let mut said = 0;
    let mut steps = 0;
    loop {
        death.restart_with_kill_at(&mut gateway, steps);
        let before = gateway.states().values().sum::<usize>();
        let mut agent = RawClient::agent(gateway.addr());
        agent.subscribe("stored");
        death.arm();
        let mut rotation = gateway.begin_rotation("a");
        // Agents publish to the stream until the gateway dies, or the rotation is over.
        let most = said + 20;
        while gateway.process().ended().is_none() && rotation.ended().is_none() {
            if said < most {
                agent.send(&publish("a.x", None, said.to_string().as_bytes()));
                said += 1;
            }
        }
        let survived = rotation.wait().success();
        gateway.restart();
        // Both keyrings have an active version, and what was begun is completed: a second after the rotation before at the latest.
        let states = wait::until("the end of what was begun", || {
            let states = gateway.states();
            let others = ["pre-active", "ready"].map(|state| states.contains_key(state));
            (others == [false; 2]).then_some(states)
        });
        assert_eq!(states["active"], 2, "step {steps}: {states:?}");
        assert_eq!(
            states.values().sum::<usize>(),
            before + 1,
            "step {steps}: {states:?}"
        );
        assert_eq!(states.len(), 2, "step {steps}: {states:?}");
        assert_opens(&gateway, &server, steps);
        let config = gateway.config();
        let verified = keyway(&["audit", "verify", "--config", path(&config)]);
        assert_eq!(code(&verified), 0, "step {steps}: {}", stderr_of(&verified));
        if survived {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 20, "a rotation had {steps} steps only");
}

/// Fails unless every message of the stream opens.
fn assert_opens(gateway: &Gateway, server: &NatsServer, step: usize) {
    let mut bare = RawClient::agent(server.addr());
    bare.subscribe("info");
    bare.request("$JS.API.STREAM.INFO.S", "info", b"");
    let info = bare.message("info");
    let info: serde_json::Value = serde_json::from_slice(info.payload()).unwrap();
    let stored = usize::try_from(info["state"]["messages"].as_u64().unwrap()).unwrap();
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("all");
    let consumer = r#"{"stream_name":"S","config":{"deliver_subject":"all","ack_policy":"none","deliver_policy":"all"}}"#;
    agent.request("$JS.API.CONSUMER.CREATE.S", "made", consumer.as_bytes());
    let delivered = wait::until("everything stored", || {
        let opened = agent.arrived();
        (opened.len() >= stored).then_some(opened)
    });
    for frame in delivered {
        let text = String::from_utf8_lossy(frame.payload()).into_owned();
        assert!(text.parse::<usize>().is_ok(), "step {step}: {text:?}");
    }
    assert_eq!(
        gateway.metrics().sum("keyway_withheld_messages_total", &[]),
        0.0
    );
    assert_eq!(get(gateway.admin(), "/readyz").0, 200);
}
