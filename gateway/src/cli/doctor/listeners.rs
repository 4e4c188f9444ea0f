//! The gateway's own listen addresses.

use crate::admin;
use crate::dataplane::ListenAddr;

use super::deployment::Deployment;
use super::finding::Finding;

pub(super) fn check(deployment: &Deployment) -> Vec<Finding> {
    let checked = &deployment.checked;
    let mut findings = Vec::new();
    if !checked.dataplane.listen.iter().any(ListenAddr::is_open) {
        findings.push(Finding::ok(
            "listen",
            "agents on this host alone can connect",
        ));
    }
    let wrong = admin::examine(&checked.admin, &checked.state);
    findings.extend(wrong.iter().map(|error| Finding::of_error("admin", error)));
    // Other addresses are among the warnings of the configuration, which this report includes.
    findings.push(match checked.admin.listen {
        Some(addr) if !addr.ip().is_loopback() => Finding::warning(
            "admin",
            format!("metrics and health are served on {addr}, to whoever reaches it"),
            "listen on a loopback address, or keep that network to operators",
        ),
        Some(_) | None => Finding::ok("admin", "the admin address is out of others' reach"),
    });
    findings
}
