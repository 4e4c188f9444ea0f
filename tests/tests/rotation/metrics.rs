//! Promise: what operators graph of keys and their rotation is what has happened.

use keyway_tests::agent::publish;
use keyway_tests::gateway::Settings;
use keyway_tests::metrics::Metrics;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, wait};

const KEYRING: (&str, &str) = ("keyring", "busy");

/// A gateway whose versions are replaced after 100 messages and hold 100,000.
fn gateway(server: &NatsServer) -> Gateway {
    let tables = "[[keyring]]\nname = \"busy\"\nsubjects = [\"busy.>\"]\nrotate = { messages = 100 }\nlimit = { messages = 100_000 }\noverlap = \"10m\"\n";
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

fn send(agent: &mut RawClient, count: usize) {
    for _ in 0..count {
        agent.send(&publish("busy.a", None, b"1234"));
    }
    agent.flush();
}

/// Scrapes until this holds. A scrape reads gauges one after another, so related values must be checked within one scrape and may
/// be inconsistent in it.
fn metrics(gateway: &Gateway, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
    wait::until(what, || {
        let metrics = gateway.metrics();
        holds(&metrics).then_some(metrics)
    })
}

#[test]
fn rotation_by_usage_is_counted_with_its_trigger_its_steps_and_its_versions() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    let rotations = |metrics: &Metrics, trigger| {
        let labels = [KEYRING, ("trigger", trigger), ("outcome", "done")];
        metrics.sum("keyway_rotations_total", &labels)
    };
    let before = gateway.metrics();
    assert_eq!(rotations(&before, "start"), 1.0);
    assert_eq!(rotations(&before, "messages"), 0.0);
    let mut agent = RawClient::agent(gateway.addr());
    send(&mut agent, 100);
    let states =
        |metrics: &Metrics, state| metrics.sum("keyway_key_versions", &[KEYRING, ("state", state)]);
    let after = metrics(&gateway, "a rotation by usage", |now| {
        rotations(now, "messages") == 1.0
            && now.sum("keyway_budget_used_messages", &[KEYRING]) == 0.0
            && now.sum("keyway_budget_left_messages", &[KEYRING]) == 100_000.0
            && states(now, "decrypt-only") == 1.0
    });
    assert_eq!(states(&after, "active"), 1.0);
    assert_eq!(states(&after, "destroyed"), 0.0);
    for step in ["generate", "distribute", "prove", "activate"] {
        let count = after.sum("keyway_rotation_step_seconds_count", &[("step", step)]);
        assert_eq!(count, 2.0, "{step}: at the start, and by usage");
    }
    assert_eq!(
        after.sum("keyway_rotation_step_seconds_count", &[("step", "overlap")]),
        0.0
    );
    assert_eq!(after.sum("keyway_key_events_failed_total", &[]), 0.0);
    assert!(after.sum("keyway_rotation_due_timestamp_seconds", &[KEYRING]) > 1.7e9);
}

#[test]
fn budget_of_the_active_version_adds_up() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    let mut agent = RawClient::agent(gateway.addr());
    send(&mut agent, 40);
    let now = metrics(&gateway, "40 messages sealed", |now| {
        now.sum("keyway_budget_used_messages", &[KEYRING]) == 40.0
            && now.sum("keyway_budget_used_bytes", &[KEYRING]) == 160.0
            && now.sum("keyway_budget_left_messages", &[KEYRING]) == 99_960.0
    });
    let granted = now.sum("keyway_grants_outstanding_messages", &[KEYRING]);
    assert!((0.0..=99_960.0).contains(&granted), "{granted}");
    // A single burst has no rate.
    let forecast = now.sum("keyway_forecast_limit_seconds", &[KEYRING]);
    assert!(forecast > 0.0, "{forecast}");
    assert_eq!(now.sum("keyway_audit_log_closed", &[]), 0.0);
    assert_eq!(now.sum("keyway_audit_reserve_present", &[]), 1.0);
}

#[test]
fn versions_that_are_read_and_envelopes_that_do_not_open_are_seen() {
    let server = NatsServer::start();
    let gateway = gateway(&server);
    let mut tap = BusTap::open(server.addr());
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("busy.a");
    let mut agent = RawClient::agent(gateway.addr());
    send(&mut agent, 1);
    let sealed = tap.message("busy.a").payload().to_vec();
    metrics(&gateway, "a version that is read", |now| {
        now.sum("keyway_oldest_opened_version", &[KEYRING]) == 1.0
    });
    gateway.rotate("busy");
    send(&mut agent, 1);
    let mut forged = sealed;
    *forged.last_mut().unwrap() ^= 1;
    let mut bare = RawClient::agent(server.addr());
    bare.publish("busy.a", &forged);
    let now = metrics(&gateway, "a forgery", |now| {
        now.sum("keyway_failed_opens_total", &[KEYRING]) == 1.0
    });
    // The first version was read within the minute, the second one since.
    assert_eq!(now.sum("keyway_oldest_opened_version", &[KEYRING]), 1.0);
    assert!(now.sum("keyway_oldest_opened_version_age_seconds", &[KEYRING]) > 0.0);
    let manual = [KEYRING, ("trigger", "manual"), ("outcome", "done")];
    assert_eq!(now.sum("keyway_rotations_total", &manual), 1.0);
}
