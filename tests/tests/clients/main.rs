//! Promise: an unchanged client of any language sees through the gateway what it sees on the server itself.
//!
//! Each client runs the scenario list of its driver three times: against the bare server, through a gateway that relays, and
//! through one that seals everything. All scenarios must pass, and what the client saw must be the same each time.

mod differential;
mod equivalence;
mod harness;
mod info_rewriting;
mod lifecycle;
mod listening;

use keyway_tests::driver::{Client, Outcome, assert_passed, assert_same};
use keyway_tests::{Gateway, NatsServer, scenarios};

type Start = fn(&str) -> Gateway;

const KINDS: [(&str, Start); 2] = [("relay", Gateway::relay), ("sealing", Gateway::sealing)];

fn restart(server: &mut NatsServer, cue: &str) {
    assert!(
        matches!(cue, "restart-front" | "restart-server"),
        "unknown cue {cue}"
    );
    server.restart();
}

/// Runs the list in each of the three places and compares.
fn sees_the_same(name: &str, mut run: impl FnMut(&str, &mut dyn FnMut(&str)) -> Vec<Outcome>) {
    let mut server = NatsServer::start();
    let url = server.url();
    let direct = run(&url, &mut |cue| restart(&mut server, cue));
    assert_passed(&format!("{name} on the server itself"), &direct);
    for (kind, start) in KINDS {
        let place = format!("{name} through the {kind} gateway");
        let mut gateway = start(&url);
        let through = run(&gateway.url(), &mut |cue| match cue {
            "restart-front" => gateway.restart(),
            other => restart(&mut server, other),
        });
        assert_passed(&place, &through);
        assert_same(&place, &direct, &through);
    }
}

#[test]
fn nats_py_sees_the_same_through_the_gateway() {
    sees_the_same("nats-py", |url, cue| Client::Python.run(url, &[], cue));
}

#[test]
fn nats_js_sees_the_same_through_the_gateway() {
    sees_the_same("nats.js", |url, cue| Client::JavaScript.run(url, &[], cue));
}

#[test]
fn nats_c_sees_the_same_through_the_gateway() {
    sees_the_same("nats.c", |url, cue| Client::C.run(url, &[], cue));
}

#[test]
fn async_nats_sees_the_same_through_the_gateway() {
    sees_the_same("async-nats", scenarios::run);
}
