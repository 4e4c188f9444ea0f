//! Promise: a client without keys gains nothing by what the bus lets everybody do, nor a denied client by what others do for it.
//!
//! The attacker is a client on the bus itself, without a gateway, or a client behind one that a keyring denies.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod answers;
mod consumers;
mod denied_clients;
mod destinations;
mod headers;
mod replay;

use keyway_tests::frame::Frame;
use keyway_tests::{Gateway, RawClient, wait};
use std::sync::atomic::{AtomicU32, Ordering};

const SAID: &[u8] = b"the launch code is 0000";

/// A fresh inbox below the subscription `_INBOX.test.*`.
fn inbox() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("_INBOX.test.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks JetStream's API; the agent must have subscribed to `_INBOX.test.*`.
fn api(agent: &mut RawClient, request: &str, body: &str) -> serde_json::Value {
    let inbox = inbox();
    agent.request(&format!("$JS.API.{request}"), &inbox, body.as_bytes());
    serde_json::from_slice(agent.message(&inbox).payload()).unwrap()
}

/// A stream of this name on these subjects, which answers direct gets.
fn stream(agent: &mut RawClient, name: &str, subjects: &str) {
    let body = format!(
        r#"{{"name":"{name}","subjects":[{subjects}],"storage":"memory","allow_direct":true}}"#
    );
    let made = api(agent, &format!("STREAM.CREATE.{name}"), &body);
    assert!(made.get("error").is_none(), "{made}");
}

/// The payloads of the answers to a request, once something has come or was withheld.
fn answers(agent: &mut RawClient, gateway: &Gateway, subject: &str, body: &str) -> Vec<Vec<u8>> {
    let all = || {
        let metrics = gateway.metrics();
        metrics.sum("keyway_withheld_messages_total", &[])
    };
    let (before, reply) = (all(), inbox());
    agent.request(subject, &reply, body.as_bytes());
    let came = wait::until("an answer, or that it is withheld", || {
        let mut came = agent.take_arrived();
        came.retain(|frame| frame.subject() == reply);
        (!came.is_empty() || all() > before).then_some(came)
    });
    let payloads = came.iter().map(|frame| frame.payload().to_vec());
    payloads.filter(|payload| !payload.is_empty()).collect()
}

/// The messages received, by subject and payload.
fn arrived(agent: &mut RawClient) -> Vec<(String, Vec<u8>)> {
    let parts = |frame: &Frame| (frame.subject().to_owned(), frame.payload().to_vec());
    agent.take_arrived().iter().map(parts).collect()
}

/// The errors that a client has received since the last call.
fn errors(agent: &mut RawClient) -> Vec<String> {
    agent.flush();
    let mut frames = agent.take();
    frames.retain(|frame| frame.verb() == "-ERR");
    frames.into_iter().map(|frame| frame.line).collect()
}

/// How many messages a gateway has withheld for this cause.
fn withheld(gateway: &Gateway, cause: &str) -> f64 {
    let labels = [("cause", cause)];
    gateway
        .metrics()
        .sum("keyway_withheld_messages_total", &labels)
}

/// How many publishes a gateway has refused for this cause.
fn refused(gateway: &Gateway, cause: &str) -> f64 {
    let labels = [("cause", cause)];
    gateway
        .metrics()
        .sum("keyway_refused_messages_total", &labels)
}
