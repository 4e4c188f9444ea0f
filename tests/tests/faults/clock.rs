//! The wall clock jumps.

use keyway_tests::clock::WallClock;
use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::gateway::Settings;
use keyway_tests::traffic::CoreTraffic;
use keyway_tests::{Gateway, NatsServer, RawClient, wait};
use std::collections::BTreeMap;

const HOURS: i64 = 3600;
const DAYS: i64 = 24 * HOURS;

/// Rotation every hour, with an overlap of an hour.
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
    clock.restart_gateway(&mut gateway);
    let core = CoreTraffic::start(gateway.addr(), 2);
    let mut bare = RawClient::agent(server.addr());
    bare.subscribe("kept.a");
    let mut sealed = Vec::new();
    let mut seal = |gateway: &Gateway| {
        RawClient::agent(gateway.addr()).publish("kept.a", b"said");
        sealed.push(bare.message("kept.a").payload().to_vec());
        bare.forget();
    };
    seal(&gateway);
    core.await_progress();
    // Two hours forward: one new version, not two.
    clock.shift(2 * HOURS);
    seals(&gateway, 2);
    seal(&gateway);
    core.await_progress();
    // Back again: that version began in the future, and is replaced.
    clock.shift(0);
    seals(&gateway, 3);
    core.await_progress();
    seal(&gateway);
    // Back before the start of the gateway; a manual rotation works all the same.
    clock.shift(-48 * HOURS);
    seals(&gateway, 4);
    core.await_progress();
    gateway.rotate("default");
    seals(&gateway, 5);
    seal(&gateway);
    // Correct again: what began two days ago is over.
    clock.shift(0);
    seals(&gateway, 6);
    core.await_progress();
    seal(&gateway);
    assert_eq!(core.finish().connections, 2);
    let found = versions(&gateway);
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6],
        "{found:?}"
    );
    assert!(
        found.values().all(|state| state != "destroyed"),
        "{found:?}"
    );
    let activated = activations(&gateway);
    assert_eq!(activated.len(), 6, "{activated:?}");
    assert!(activated.values().all(|times| *times == 1), "{activated:?}");
    // Everything that was sealed before, between and after still opens.
    let [mut bare, mut reader] = [server.addr(), gateway.addr()].map(RawClient::agent);
    reader.subscribe("kept.a");
    for envelope in &sealed {
        bare.publish("kept.a", envelope);
    }
    let opened = reader.arrived();
    assert_eq!(opened.len(), sealed.len());
    assert!(opened.iter().all(|frame| frame.payload() == b"said"));
}

fn keyring(terms: &str) -> Settings {
    Settings {
        tables: format!("[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n{terms}\n"),
        ..Settings::default()
    }
}

fn active(gateway: &Gateway) -> u64 {
    let found = versions(gateway);
    let mut active = found.into_iter().filter(|(_, state)| state == "active");
    active.next().unwrap().0
}

/// The clock changes in the audit log, in hours.
fn told(gateway: &Gateway) -> Vec<i64> {
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let set = lines.filter(|line: &serde_json::Value| line["note"] == "clock-set");
    // Two readings are a moment apart, so round.
    let hours = |line: serde_json::Value| (line["seconds"].as_i64().unwrap() + 60).div_euclid(3600);
    set.map(hours).collect()
}

#[test]
fn key_that_is_to_be_shredded_is_there_for_its_whole_overlap_although_the_clock_is_two_days_ahead()
{
    let server = NatsServer::start();
    let settings =
        keyring("overlap = \"10m\"\nretain = \"shred\"\nrotate = { after = \"24h\", jitter = 0 }");
    let mut gateway = Gateway::start(&server.url(), settings);
    let clock = WallClock::new();
    clock.restart_gateway(&mut gateway);
    let (mut bare, mut agent) = (
        RawClient::agent(server.addr()),
        RawClient::agent(gateway.addr()),
    );
    bare.subscribe("kept.a");
    agent.publish("kept.a", b"said");
    let envelope = bare.message("kept.a").payload().to_vec();
    gateway.rotate("default");
    clock.shift(2 * DAYS);
    // By the wall clock the successor has expired, and is rotated: early is harmless.
    seals(&gateway, 3);
    assert_eq!(versions(&gateway)[&1], "decrypt-only");
    // The clock is corrected, and then wrong again, while no gateway runs.
    for shift in [0, 2 * DAYS, -DAYS] {
        clock.shift(shift);
        clock.restart_gateway(&mut gateway);
        assert_eq!(versions(&gateway)[&1], "decrypt-only", "{shift}");
        let mut reader = RawClient::agent(gateway.addr());
        reader.subscribe("kept.a");
        bare.publish("kept.a", &envelope);
        assert_eq!(reader.message("kept.a").payload(), b"said", "{shift}");
    }
    assert_eq!(told(&gateway), [48, -48, 48, -72]);
    let set = gateway.metrics();
    assert_eq!(set.sum("keyway_clock_set_total", &[("way", "back")]), 1.0);
}

#[test]
fn version_born_a_year_ahead_is_replaced_and_rotation_by_time_goes_on() {
    let server = NatsServer::start();
    let settings = keyring("rotate = { after = \"6s\", jitter = 0 }");
    let mut gateway = Gateway::start(&server.url(), settings);
    let clock = WallClock::new();
    clock.shift(364 * DAYS);
    clock.restart_gateway(&mut gateway);
    seals(&gateway, active(&gateway) + 1);
    for shift in [0, -DAYS] {
        let before = active(&gateway);
        clock.shift(shift);
        // The first for the birth in the future, the second by time.
        wait::until("two rotations", || {
            (active(&gateway) >= before + 2).then_some(())
        });
    }
}

#[test]
fn date_on_which_plaintext_ended_is_not_taken_back_by_a_clock_that_is_set_back() {
    let server = NatsServer::start();
    let settings = keyring("plaintext = \"accept\"\nuntil = 2099-12-31");
    let mut gateway = Gateway::start(&server.url(), settings);
    let clock = WallClock::new();
    clock.restart_gateway(&mut gateway);
    let mut bare = RawClient::agent(server.addr());
    let mut arrives = |gateway: &Gateway| {
        let mut reader = RawClient::agent(gateway.addr());
        reader.subscribe("plain.a");
        bare.publish("plain.a", b"clear");
        !reader.arrived().is_empty()
    };
    assert!(arrives(&gateway));
    clock.shift(100 * 365 * DAYS);
    wait::until("the date to be written down", || {
        let kept = std::fs::read_to_string(gateway.state().join("clock.json")).ok()?;
        kept.contains("2100-01-01").then_some(())
    });
    assert!(!arrives(&gateway));
    clock.shift(0);
    wait::until("the clock to be right again", || {
        (told(&gateway).len() == 2).then_some(())
    });
    assert!(!arrives(&gateway));
    clock.restart_gateway(&mut gateway);
    assert!(!arrives(&gateway));
}

#[test]
fn clock_that_is_set_whenever_it_may_be_is_in_the_log_before_any_line_of_its_time() {
    let server = NatsServer::start();
    let mut gateway = Gateway::start(&server.url(), Settings::default());
    let clock = WallClock::new();
    clock.restart_gateway(&mut gateway);
    clock.shift_at_next_write(-10 * DAYS);
    let done = keyway(&["rotate", "--why", "a", "--config", path(&gateway.config())]);
    assert_eq!(code(&done), 0, "{}", stderr_of(&done));
    // A refused command, and the end, each right after the clock was set.
    clock.shift(20 * DAYS);
    let refused = keyway(&["abort", "--why", "a", "--config", path(&gateway.config())]);
    assert_ne!(code(&refused), 0);
    clock.shift(-30 * DAYS);
    assert!(gateway.process().terminate().success());
    lines_are_of_the_time_that_the_log_says(&gateway);
}

/// Fails unless every time in a line fits the clock before or after the last `clock-set`: an intent may precede its outcome.
fn lines_are_of_the_time_that_the_log_says(gateway: &Gateway) {
    let log = std::fs::read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let lines = log.lines().map(serde_json::from_str);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().unwrap();
    let parsed = |time: &serde_json::Value| time.as_str().map(seconds);
    let begun = parsed(&lines[0]["time"]).unwrap();
    let (mut before, mut shift, mut sets) = (0, 0, 0);
    let near = |time: i64, shift: i64| (time - begun - shift).abs() < HOURS;
    for line in &lines {
        if line["note"] == "clock-set" {
            (before, shift) = (shift, shift + line["seconds"].as_i64().unwrap());
            sets += 1;
        }
        let written = ["time", "completed"].map(|key| parsed(&line[key]));
        let fits = written.into_iter().flatten().all(|time| near(time, shift));
        let initiated = parsed(&line["initiated"]);
        let began = initiated.is_none_or(|time| near(time, shift) || near(time, before));
        assert!(fits && began, "{shift}: {line}");
    }
    assert_eq!(sets, 3, "{log}");
}

/// Seconds of a time in a line.
fn seconds(time: &str) -> i64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    time.as_second()
}
