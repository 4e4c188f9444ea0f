//! The wall clock jumps.

use keyway_tests::clock::WallClock;
use keyway_tests::gateway::Settings;
use keyway_tests::traffic::CoreTraffic;
use keyway_tests::{Gateway, NatsServer, Raw, wait};
use std::collections::BTreeMap;

const HOURS: i64 = 3600;

/// A new key every hour, which opens for an hour more.
const HOURLY: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n\
                      rotate = { after = \"1h\", jitter = 0 }\noverlap = \"1h\"\n";

/// The states of the versions by number, as the record has them.
fn versions(gateway: &Gateway) -> BTreeMap<u64, String> {
    let text = std::fs::read(gateway.state().join("catalogue/default.json")).unwrap();
    let mut documents = serde_json::Deserializer::from_slice(&text).into_iter();
    let record: serde_json::Value = documents.next().unwrap().unwrap();
    let of = |version: &serde_json::Value| {
        let state = version["state"].as_str().unwrap().to_owned();
        (version["number"].as_u64().unwrap(), state)
    };
    record["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(of)
        .collect()
}

/// Waits until the version with this number seals.
fn seals(gateway: &Gateway, number: u64) {
    wait::until(&format!("version {number} that seals"), || {
        let found = versions(gateway);
        let active: Vec<_> = found
            .iter()
            .filter(|(_, state)| *state == "active")
            .collect();
        assert!(active.len() <= 1, "{found:?}");
        active
            .first()
            .is_some_and(|(found, _)| **found == number)
            .then_some(())
    });
}

/// How often each version was activated, by the audit log.
fn activations(gateway: &Gateway) -> BTreeMap<String, usize> {
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let mut count = BTreeMap::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let done = line["kind"] == "outcome" && line["outcome"] == "done";
        if done && line["action"] == "activate" {
            let label = line["version"]["label"].as_str().unwrap();
            *count.entry(label.to_owned()).or_default() += 1;
        }
    }
    count
}

#[test]
fn clock_that_jumps_forth_and_back_rotates_early_at_most_and_destroys_nothing() {
    let server = NatsServer::start();
    let settings = Settings {
        tables: HOURLY.to_owned(),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let clock = WallClock::new();
    clock.rule(&mut gateway);
    let core = CoreTraffic::start(gateway.addr(), 2);
    let mut bare = Raw::agent(server.addr());
    bare.subscribe("kept.a");
    let mut sealed = Vec::new();
    let mut seal = |gateway: &Gateway| {
        Raw::agent(gateway.addr()).publish("kept.a", b"said");
        sealed.push(bare.message("kept.a").payload().to_vec());
        bare.forget();
    };
    seal(&gateway);
    core.flows();
    // Two hours at once: one new version, not two.
    clock.shift(2 * HOURS);
    seals(&gateway, 2);
    seal(&gateway);
    core.flows();
    // Back again: it began in what is the future now, and goes on sealing.
    clock.shift(0);
    core.flows();
    seal(&gateway);
    // Further back than the gateway is old, and a rotation by hand all the same.
    clock.shift(-48 * HOURS);
    core.flows();
    gateway.rotate("default");
    seals(&gateway, 3);
    seal(&gateway);
    // Right again: what began two days ago is over.
    clock.shift(0);
    seals(&gateway, 4);
    core.flows();
    seal(&gateway);
    assert_eq!(core.finish().lives, 2);
    let found = versions(&gateway);
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4],
        "{found:?}"
    );
    assert!(
        found.values().all(|state| state != "destroyed"),
        "{found:?}"
    );
    let activated = activations(&gateway);
    assert_eq!(activated.len(), 4, "{activated:?}");
    assert!(activated.values().all(|times| *times == 1), "{activated:?}");
    // Whatever was sealed before, between and after still opens.
    let (mut bare, mut reader) = (Raw::agent(server.addr()), Raw::agent(gateway.addr()));
    reader.subscribe("kept.a");
    for envelope in &sealed {
        bare.publish("kept.a", envelope);
    }
    let opened = reader.arrived();
    assert_eq!(opened.len(), sealed.len());
    assert!(opened.iter().all(|frame| frame.payload() == b"said"));
}
