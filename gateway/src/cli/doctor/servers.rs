//! Servers: reachable, supported version, `max_payload` with room for envelopes, one cluster, synchronised clocks.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use crate::dataplane::ServerAddr;
use crate::envelope::OVERHEAD;

use super::access;
use super::deployment::Deployment;
use super::finding::Finding;
use super::probe_client::{Credentials, ServerInfo};

/// The oldest server that is supported.
const MIN_VERSION: (u64, u64) = (2, 12);
/// The default `max_payload` of nats-server, which clients expect.
const DEFAULT_MAX_PAYLOAD: i64 = 1 << 20;
/// The recommended addition for the envelope, in bytes.
const ENVELOPE_ROOM: i64 = 64;
/// The default `max_control_line` of nats-server, in bytes.
const DEFAULT_MAX_CONTROL_LINE: usize = 4096;
/// How far clocks may differ.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(2);

pub(super) fn check(deployment: &Deployment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut clusters = BTreeSet::new();
    for server in &deployment.checked.dataplane.servers {
        match access::connect(deployment, server) {
            Ok(client) => {
                let server_info = &client.server_info;
                clusters.insert(server_info.text("cluster").to_owned());
                findings.push(version(server, server_info));
                findings.push(max_payload(server, server_info));
                findings.extend(signature(deployment, server, server_info));
                if server_info.flag("tls_required") && !client.is_encrypted() {
                    findings.extend(unencrypted(deployment, server));
                    continue;
                }
                if client.is_encrypted() {
                    let what = format!("{server} speaks TLS, and its certificate is believed");
                    findings.push(Finding::ok("server-tls", what));
                }
                findings.extend(access::check(deployment, server));
                findings.push(clock(deployment, server));
            }
            Err(error) => {
                let help = deployment.dialers.help(&error);
                let help = help.as_deref();
                findings.push(Finding::problem(
                    "server",
                    format!("{server} cannot be reached: {error}"),
                    help.unwrap_or("check `servers`, and that a server runs there"),
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
    findings.push(control_line(deployment));
    findings
}

fn version(server: &ServerAddr, server_info: &ServerInfo) -> Finding {
    let version = server_info.text("version");
    let with = if server_info.flag("jetstream") {
        "with JetStream"
    } else {
        "without JetStream"
    };
    let what = format!("{server} runs nats-server {version}, {with}");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < MIN_VERSION {
        let (major, minor) = MIN_VERSION;
        let remedy =
            format!("upgrade it to {major}.{minor} or later: only then can it trust a proxy");
        return Finding::warning("server", what, remedy);
    }
    Finding::ok("server", what)
}

/// Clients are told the server's `max_payload` less the envelope.
fn max_payload(server: &ServerAddr, server_info: &ServerInfo) -> Finding {
    let limit = server_info.number("max_payload");
    let overhead = i64::try_from(OVERHEAD).unwrap_or(i64::MAX);
    let told = limit.saturating_sub(overhead);
    if limit <= 0 || told >= DEFAULT_MAX_PAYLOAD {
        return Finding::ok("max-payload", format!("{server} has room for the envelope"));
    }
    let raised = limit.max(DEFAULT_MAX_PAYLOAD).saturating_add(ENVELOPE_ROOM);
    Finding::warning(
        "max-payload",
        format!("{server} takes {limit} bytes, so that clients are told {told}"),
        format!("set `max_payload: {raised}` in nats-server"),
    )
}

/// Whether the server accepts proxy signatures: it sends a nonce, and its `api_lvl` is 2 or more.
fn signature(
    deployment: &Deployment,
    server: &ServerAddr,
    server_info: &ServerInfo,
) -> Option<Finding> {
    let key = deployment.key.as_ref()?;
    let asks = server_info.nonce.is_some() && server_info.number("api_lvl") >= 2;
    let key = key.public();
    (!asks).then(|| {
        Finding::problem(
            "proxy-key",
            format!("{server} takes no proxy's signature"),
            format!(
                "set `proxies {{ trusted: [ {{ key: {key} }} ] }}` in nats-server 2.12 or later"
            ),
        )
    })
}

/// The server requires TLS, and the gateway has none configured. With unusable files, that was reported already.
fn unencrypted(deployment: &Deployment, server: &ServerAddr) -> Option<Finding> {
    let lacks_tls = deployment.checked.dataplane.server_tls.is_none();
    lacks_tls.then(|| {
        Finding::problem(
            "server-tls",
            format!("{server} requires TLS, and the gateway speaks none with servers"),
            "write `tls://` in `servers`, or add a section [server-tls]",
        )
    })
}

/// Compares the clocks, by the server's time in the reply to `$SYS.REQ.USER.INFO`.
fn clock(deployment: &Deployment, server: &ServerAddr) -> Finding {
    let Some(told) = time(deployment, server) else {
        return Finding::warning(
            "clock",
            format!(
                "{server} does not say what time it is: nobody is let in who may ask $SYS.REQ.USER.INFO"
            ),
            "name an agent's credentials, or compare the clocks by hand",
        );
    };
    let apart = deployment.clock.wall().duration_since(told);
    let apart = apart.unwrap_or_else(|earlier| earlier.duration());
    let shown = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    if apart <= MAX_CLOCK_SKEW {
        return Finding::ok("clock", format!("{server} has the same time, within 2 s"));
    }
    Finding::warning(
        "clock",
        format!("the clock of {server} and this one are {shown} apart"),
        "synchronise both (NTP): cryptoperiods, migrations and audit lines go by this clock",
    )
}

fn time(deployment: &Deployment, server: &ServerAddr) -> Option<SystemTime> {
    let client = |credentials| access::accepted(deployment, server, credentials);
    let client = client(deployment.credentials()).or_else(|| client(Credentials::default()));
    let mut client = client?;
    let answer: Value = serde_json::from_slice(&client.request("$SYS.REQ.USER.INFO")?).ok()?;
    let time: Timestamp = answer.get("server")?.get("time")?.as_str()?.parse().ok()?;
    SystemTime::try_from(time).ok()
}

/// Information only: servers do not announce their `max_control_line`.
fn control_line(deployment: &Deployment) -> Finding {
    let ours = deployment.checked.dataplane.max_control_line;
    let what = format!(
        "the gateway takes control lines of {ours} bytes; servers take {DEFAULT_MAX_CONTROL_LINE} unless told otherwise"
    );
    Finding::ok("max-control-line", what)
}
