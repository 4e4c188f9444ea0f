//! Servers: reachable, supported version, `max_payload` with room for envelopes, one cluster, synchronised clocks.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use crate::dataplane::ServerAddr;
use crate::envelope::OVERHEAD;

use super::finding::Finding;
use super::visitor::{Card, Greeting, Reception};
use super::{Patient, passage};

/// The oldest server that is supported.
const OLDEST: (u64, u64) = (2, 12);
/// The default `max_payload` of nats-server, which clients expect.
const USUAL_PAYLOAD: i64 = 1 << 20;
/// The recommended addition for the envelope, in bytes.
const ROOM: i64 = 64;
/// The default `max_control_line` of nats-server, in bytes.
const USUAL_LINE: usize = 4096;
/// How far clocks may differ.
pub(super) const CLOCKS_APART: Duration = Duration::from_secs(2);

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut clusters = BTreeSet::new();
    for server in &patient.checked.dataplane.servers {
        match passage::reach(patient, server) {
            Ok(visitor) => {
                let greeting = &visitor.greeting;
                clusters.insert(greeting.text("cluster").to_owned());
                findings.push(version(server, greeting));
                findings.push(room(server, greeting));
                findings.extend(signature(patient, server, greeting));
                if greeting.says("tls_required") && !visitor.is_encrypted() {
                    findings.extend(unencrypted(patient, server));
                    continue;
                }
                if visitor.is_encrypted() {
                    let what = format!("{server} speaks TLS, and its certificate is believed");
                    findings.push(Finding::ok("server-tls", what));
                }
                findings.extend(passage::check(patient, server));
                findings.push(clock(patient, server));
            }
            Err(error) => {
                let help = patient.dialers.help(&error);
                findings.push(Finding::problem(
                    "server",
                    format!("{server} cannot be reached: {error}"),
                    help.unwrap_or_else(|| {
                        "check `servers`, and that a server runs there".to_owned()
                    }),
                ));
            }
        }
    }
    if clusters.len() > 1 {
        let names: Vec<_> = clusters.iter().map(|name| format!("`{name}`")).collect();
        findings.push(Finding::problem(
            "cluster",
            format!("the servers belong to several clusters: {}", names.join(", ")),
            "name servers of one cluster: a client that reconnects finds its streams on any of them",
        ));
    }
    findings.push(control_line(patient));
    findings
}

fn version(server: &ServerAddr, greeting: &Greeting) -> Finding {
    let version = greeting.text("version");
    let with = if greeting.says("jetstream") {
        "with JetStream"
    } else {
        "without JetStream"
    };
    let what = format!("{server} runs nats-server {version}, {with}");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST {
        let (major, minor) = OLDEST;
        let remedy =
            format!("upgrade it to {major}.{minor} or later: only then can it trust a proxy");
        return Finding::warning("server", what, remedy);
    }
    Finding::ok("server", what)
}

/// Clients are told the server's `max_payload` less the envelope.
fn room(server: &ServerAddr, greeting: &Greeting) -> Finding {
    let limit = greeting.number("max_payload");
    let overhead = i64::try_from(OVERHEAD).unwrap_or(i64::MAX);
    let told = limit.saturating_sub(overhead);
    if limit <= 0 || told >= USUAL_PAYLOAD {
        return Finding::ok("max-payload", format!("{server} has room for the envelope"));
    }
    let raised = limit.max(USUAL_PAYLOAD).saturating_add(ROOM);
    Finding::warning(
        "max-payload",
        format!("{server} takes {limit} bytes, so that clients are told {told}"),
        format!("set `max_payload: {raised}` in nats-server"),
    )
}

/// Whether the server accepts proxy signatures: it sends a nonce, and its `api_lvl` is 2 or more.
fn signature(patient: &Patient, server: &ServerAddr, greeting: &Greeting) -> Option<Finding> {
    let key = patient.key.as_ref()?;
    let asks = greeting.nonce.is_some() && greeting.number("api_lvl") >= 2;
    (!asks).then(|| {
        Finding::problem(
            "proxy-key",
            format!("{server} takes no proxy's signature"),
            format!(
                "set `proxies {{ trusted: [ {{ key: {} }} ] }}` in nats-server 2.12 or later",
                key.public()
            ),
        )
    })
}

/// The server requires TLS, and the gateway has none configured. With unusable files, that was reported already.
fn unencrypted(patient: &Patient, server: &ServerAddr) -> Option<Finding> {
    let is_blind = patient.checked.dataplane.server_tls.is_none();
    is_blind.then(|| {
        Finding::problem(
            "server-tls",
            format!("{server} requires TLS, and the gateway speaks none with servers"),
            "write `tls://` in `servers`, or add a section [server-tls]",
        )
    })
}

/// Compares the clocks, by the server's time in the reply to `$SYS.REQ.USER.INFO`.
fn clock(patient: &Patient, server: &ServerAddr) -> Finding {
    let Some(told) = time(patient, server) else {
        return Finding::warning(
            "clock",
            format!(
                "{server} does not say what time it is: nobody is let in who may ask $SYS.REQ.USER.INFO"
            ),
            "name an agent's credentials, or compare the clocks by hand",
        );
    };
    let ours = patient.clock.wall();
    let apart = ours
        .duration_since(told)
        .unwrap_or_else(|earlier| earlier.duration());
    let shown = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    if apart <= CLOCKS_APART {
        return Finding::ok("clock", format!("{server} has the same time, within 2 s"));
    }
    Finding::warning(
        "clock",
        format!("the clock of {server} and this one are {shown} apart"),
        "synchronise both (NTP): cryptoperiods, migrations and audit lines go by this clock",
    )
}

fn time(patient: &Patient, server: &ServerAddr) -> Option<SystemTime> {
    let card = Card {
        login: patient.agent.as_ref(),
        key: patient.key.as_ref(),
    };
    let strangers = [card, Card::default()];
    let mut visitor = strangers.into_iter().find_map(|card| {
        let mut visitor = passage::reach(patient, server).ok()?;
        (visitor.enter(card).ok()? == Reception::LetIn).then_some(visitor)
    })?;
    let answer: Value = serde_json::from_slice(&visitor.ask("$SYS.REQ.USER.INFO")?).ok()?;
    let time: Timestamp = answer.get("server")?.get("time")?.as_str()?.parse().ok()?;
    SystemTime::try_from(time).ok()
}

/// Information only: servers do not announce their `max_control_line`.
fn control_line(patient: &Patient) -> Finding {
    let ours = patient.checked.dataplane.max_control_line;
    let what = format!(
        "the gateway takes control lines of {ours} bytes; servers take {USUAL_LINE} unless told otherwise"
    );
    Finding::ok("max-control-line", what)
}
