//! Whom a server accepts: clients that bypass the gateway, and the gateway.

use std::io;

use crate::cli::proxy_key::server_block;
use crate::dataplane::ServerAddr;
use crate::proxy::Version;
use crate::tls::Failure;

use super::Patient;
use super::finding::Finding;
use super::line::Way;
use super::login::Login;
use super::visitor::{Card, Reception, Visitor};

/// Connect as the gateway (with its certificate, and a PROXY header of this version), or without either.
#[derive(Clone, Copy)]
enum By {
    Gateway(Option<Version>),
    Stranger,
}

/// Connects as the gateway would, up to INFO.
pub(super) fn reach(patient: &Patient, server: &ServerAddr) -> io::Result<Visitor> {
    Visitor::reach(way(patient, server, By::Gateway(None)))
}

fn way<'a>(patient: &'a Patient, server: &'a ServerAddr, by: By) -> Way<'a> {
    let (tls, header) = match by {
        By::Gateway(header) => (&patient.dialers.gateway, header),
        By::Stranger => (&patient.dialers.stranger, None),
    };
    Way {
        server,
        within: patient.checked.dataplane.dial_timeout,
        tls: tls.as_ref(),
        header,
    }
}

/// Connects and authenticates.
fn try_to_enter(way: Way<'_>, card: Card<'_>) -> io::Result<Reception> {
    match Visitor::reach(way) {
        Ok(mut visitor) => visitor.enter(card),
        // A server that misses the client certificate sends an alert, or just closes.
        Err(error)
            if way.tls.is_some()
                && matches!(Failure::of(&error), Failure::Declined | Failure::Closed) =>
        {
            Ok(Reception::Refused(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn check(patient: &Patient, server: &ServerAddr) -> Vec<Finding> {
    let agent = patient.agent.as_ref();
    let directly = |login| {
        let card = Card {
            login,
            ..Card::default()
        };
        try_to_enter(way(patient, server, By::Stranger), card)
    };
    let mut findings = vec![strangers(patient, server, directly(None))];
    match agent {
        Some(login) => {
            let direct = directly(Some(login));
            findings.extend(agents(patient, server, (login, direct)));
        }
        None => findings.push(Finding::warning(
            "bypass",
            format!("{server}: whether agents can bypass the gateway was not tried"),
            "name an agent's credentials: `--user` and `--password-file`, `--creds`, `--nkey-seed-file` or `--token-file`",
        )),
    }
    findings.extend(header(patient, server));
    findings
}

/// Whether clients without credentials are accepted.
fn strangers(patient: &Patient, server: &ServerAddr, how: io::Result<Reception>) -> Finding {
    match how {
        Ok(Reception::LetIn) => Finding::problem(
            "bypass",
            format!("{server} lets in anybody, without credentials and past the gateway"),
            remedy(patient),
        ),
        Ok(Reception::Refused(_)) => Finding::ok(
            "bypass",
            format!(
                "{server} turns away whoever has no credentials{}",
                patient.dialers.unless()
            ),
        ),
        Err(error) => silent(server, &error),
    }
}

/// Whether an agent is accepted when it bypasses the gateway, and through the gateway.
fn agents(
    patient: &Patient,
    server: &ServerAddr,
    (login, direct): (&Login, io::Result<Reception>),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let refused = match direct {
        Ok(Reception::LetIn) => {
            findings.push(Finding::problem(
                "bypass",
                format!("{server} lets the agent in past the gateway"),
                remedy(patient),
            ));
            false
        }
        Ok(Reception::Refused(_)) => true,
        Err(error) => return vec![silent(server, &error)],
    };
    if patient.key.is_none() && !patient.dialers.show_a_certificate() {
        if refused {
            findings.push(unproven(server));
        }
        return findings;
    }
    let card = Card {
        login: Some(login),
        key: patient.key.as_ref(),
    };
    let by = By::Gateway(patient.checked.dataplane.proxy.send);
    let through = try_to_enter(way(patient, server, by), card);
    findings.push(match through {
        Ok(Reception::LetIn) if refused => Finding::ok(
            "bypass",
            format!(
                "{server} turns the agent away{}, and takes it through the gateway",
                patient.dialers.unless()
            ),
        ),
        Ok(Reception::LetIn) if card.key.is_none() => return findings,
        Ok(Reception::Refused(_)) if refused && card.key.is_none() => unproven(server),
        Ok(Reception::LetIn) => Finding::ok(
            "proxy-key",
            format!("{server} takes the gateway's signature"),
        ),
        Ok(Reception::Refused(words)) => turned_away(patient, server, &words),
        Err(error) => silent(server, &error),
    });
    findings
}

/// The agent is refused both directly and through the gateway, and the server does not say whether for the proxy key or for the
/// agent's credentials. The gateway's own login tells them apart: a wrong signature gets any user refused.
fn turned_away(patient: &Patient, server: &ServerAddr, words: &str) -> Finding {
    let control = patient.checked.control.as_ref();
    let own = control.and_then(|control| Login::of_gateway(control.login.as_ref()?));
    let enters = |key| {
        let card = Card {
            login: own.as_ref(),
            key,
        };
        let entered = try_to_enter(
            way(
                patient,
                server,
                By::Gateway(patient.checked.dataplane.proxy.send),
            ),
            card,
        );
        matches!(entered, Ok(Reception::LetIn))
    };
    let what = format!("{server} turns away the agent that comes through the gateway: {words}");
    if own.is_some() && enters(patient.key.as_ref()) {
        return Finding::problem(
            "login",
            format!("{what}; it takes the gateway's signature from the user of [control]"),
            "check the agent's credentials: the key is not to blame",
        );
    }
    if own.is_some() && enters(None) {
        return Finding::problem("proxy-key", what, remedy(patient));
    }
    Finding::problem(
        "login",
        format!("{what}; whether for its credentials or for the gateway's key, it does not say"),
        format!(
            "check the agent's credentials; if they are right, {}",
            remedy(patient)
        ),
    )
}

/// The agent is refused both directly and through the gateway, which has neither proxy key nor certificate to show.
fn unproven(server: &ServerAddr) -> Finding {
    Finding::warning(
        "bypass",
        format!("{server} turns the agent away, and through the gateway too: it has no proxy key"),
        "check the credentials; if the user has `proxy_required`, make a key with `keyway proxy-key`",
    )
}

/// Whether the server reads the PROXY header of `proxy.send`.
fn header(patient: &Patient, server: &ServerAddr) -> Option<Finding> {
    let version = patient.checked.dataplane.proxy.send?;
    let card = Card {
        login: patient.agent.as_ref(),
        key: patient.key.as_ref(),
    };
    let [without, with] = [None, Some(version)]
        .map(|header| try_to_enter(way(patient, server, By::Gateway(header)), card));
    Some(match (without, with) {
        (Ok(Reception::LetIn), Ok(Reception::LetIn)) => Finding::ok(
            "proxy-header",
            format!("{server} reads the header that `proxy.send` puts first"),
        ),
        // Before authentication, a server answers the same to anything that it does not understand.
        (Ok(Reception::Refused(_)), Ok(Reception::Refused(_))) => Finding::warning(
            "proxy-header",
            format!(
                "whether {server} reads the header of `proxy.send` was not seen: it lets nobody in"
            ),
            "name an agent's credentials",
        ),
        _ => Finding::problem(
            "proxy-header",
            format!("{server} does not take the header that `proxy.send` puts first"),
            "set `proxy_protocol: true` in nats-server 2.12 or later, or `proxy.send = \"off\"`",
        ),
    })
}

fn silent(server: &ServerAddr, error: &io::Error) -> Finding {
    Finding::problem(
        "server",
        format!("{server} does not answer: {error}"),
        "look into the server's log",
    )
}

/// How to close the bypass: `proxy_required` for the agents, and a trusted proxy key.
fn remedy(patient: &Patient) -> String {
    match &patient.key {
        Some(key) => format!(
            "in nats-server, trust the gateway and bind every agent to it:\n{}",
            server_block(&key.public())
        ),
        None => "make a key with `keyway proxy-key`, and set what it prints".to_owned(),
    }
}
