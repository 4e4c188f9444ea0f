//! Whom a server accepts: clients that bypass the gateway, and the gateway.

use std::io;

use crate::cli::proxy_key::server_block;
use crate::dataplane::ServerAddr;
use crate::proxy::Version;
use crate::tls::Failure;

use super::connection::DialOptions;
use super::deployment::Deployment;
use super::finding::Finding;
use super::login::Login;
use super::probe_client::{ConnectOutcome, Credentials, ProbeClient};

/// Connect as the gateway (with its certificate, and a PROXY header of this version), or without either.
#[derive(Clone, Copy)]
enum ConnectAs {
    Gateway(Option<Version>),
    Anonymous,
}

/// Connects as the gateway would, up to INFO.
pub(super) fn connect(deployment: &Deployment, server: &ServerAddr) -> io::Result<ProbeClient> {
    ProbeClient::connect(dial_options(deployment, server, ConnectAs::Gateway(None)))
}

fn dial_options<'a>(
    deployment: &'a Deployment,
    server: &'a ServerAddr,
    by: ConnectAs,
) -> DialOptions<'a> {
    let (tls, header) = match by {
        ConnectAs::Gateway(header) => (&deployment.dialers.gateway, header),
        ConnectAs::Anonymous => (&deployment.dialers.anonymous, None),
    };
    DialOptions {
        server,
        timeout: deployment.checked.dataplane.dial_timeout,
        tls: tls.as_ref(),
        header,
    }
}

/// Connects as the gateway would, if the server accepts that.
pub(super) fn accepted(
    deployment: &Deployment,
    server: &ServerAddr,
    credentials: Credentials<'_>,
) -> Option<ProbeClient> {
    let mut client = connect(deployment, server).ok()?;
    let outcome = client.authenticate(credentials).ok()?;
    (outcome == ConnectOutcome::Accepted).then_some(client)
}

/// Connects and authenticates.
fn try_connect(
    (deployment, server): (&Deployment, &ServerAddr),
    by: ConnectAs,
    credentials: Credentials<'_>,
) -> io::Result<ConnectOutcome> {
    let dial_options = dial_options(deployment, server, by);
    match ProbeClient::connect(dial_options) {
        Ok(mut client) => client.authenticate(credentials),
        // A server that misses the client certificate sends an alert, or just closes.
        Err(error)
            if dial_options.tls.is_some()
                && matches!(Failure::of(&error), Failure::Declined | Failure::Closed) =>
        {
            Ok(ConnectOutcome::Refused(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn check(deployment: &Deployment, server: &ServerAddr) -> Vec<Finding> {
    let directly = |login| {
        let credentials = Credentials { login, key: None };
        try_connect((deployment, server), ConnectAs::Anonymous, credentials)
    };
    let mut findings = vec![anonymous_access(deployment, server, directly(None))];
    match &deployment.agent {
        Some(login) => {
            let direct = directly(Some(login));
            findings.extend(agent_access(deployment, server, (login, direct)));
        }
        None => findings.push(Finding::warning(
            "bypass",
            format!("{server}: whether agents can bypass the gateway was not tried"),
            "name an agent's credentials: `--user` and `--password-file`, `--creds`, `--nkey-seed-file` or `--token-file`",
        )),
    }
    findings.extend(header(deployment, server));
    findings
}

/// Whether clients without credentials are accepted.
fn anonymous_access(
    deployment: &Deployment,
    server: &ServerAddr,
    how: io::Result<ConnectOutcome>,
) -> Finding {
    match how {
        Ok(ConnectOutcome::Accepted) => Finding::problem(
            "bypass",
            format!("{server} lets in anybody, without credentials and past the gateway"),
            remedy(deployment),
        ),
        Ok(ConnectOutcome::Refused(_)) => Finding::ok(
            "bypass",
            format!(
                "{server} turns away whoever has no credentials{}",
                deployment.dialers.without_certificate_note()
            ),
        ),
        Err(error) => no_answer(server, &error),
    }
}

/// Whether an agent is accepted when it bypasses the gateway, and through the gateway.
fn agent_access(
    deployment: &Deployment,
    server: &ServerAddr,
    (login, direct): (&Login, io::Result<ConnectOutcome>),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let refused = match direct {
        Ok(ConnectOutcome::Accepted) => {
            findings.push(Finding::problem(
                "bypass",
                format!("{server} lets the agent in past the gateway"),
                remedy(deployment),
            ));
            false
        }
        Ok(ConnectOutcome::Refused(_)) => true,
        Err(error) => return vec![no_answer(server, &error)],
    };
    if deployment.key.is_none() && !deployment.dialers.has_client_certificate() {
        if refused {
            findings.push(unproven(server));
        }
        return findings;
    }
    let credentials = Credentials {
        login: Some(login),
        key: deployment.key.as_ref(),
    };
    let by = ConnectAs::Gateway(deployment.checked.dataplane.proxy.send);
    let through = try_connect((deployment, server), by, credentials);
    findings.push(match through {
        Ok(ConnectOutcome::Accepted) if refused => Finding::ok(
            "bypass",
            format!(
                "{server} turns the agent away{}, and takes it through the gateway",
                deployment.dialers.without_certificate_note()
            ),
        ),
        Ok(ConnectOutcome::Accepted) if credentials.key.is_none() => return findings,
        Ok(ConnectOutcome::Refused(_)) if refused && credentials.key.is_none() => unproven(server),
        Ok(ConnectOutcome::Accepted) => Finding::ok(
            "proxy-key",
            format!("{server} takes the gateway's signature"),
        ),
        Ok(ConnectOutcome::Refused(words)) => explain_refusal(deployment, server, &words),
        Err(error) => no_answer(server, &error),
    });
    findings
}

/// The agent is refused both directly and through the gateway, and the server does not say whether for the proxy key or for the
/// agent's credentials. The gateway's own login tells them apart: a wrong signature gets any user refused.
fn explain_refusal(deployment: &Deployment, server: &ServerAddr, words: &str) -> Finding {
    let control = deployment.checked.control.as_ref();
    let own = control.and_then(|control| Login::of_gateway(control.login.as_ref()?));
    let by = ConnectAs::Gateway(deployment.checked.dataplane.proxy.send);
    let is_accepted = |key| {
        let login = own.as_ref();
        let entered = try_connect((deployment, server), by, Credentials { login, key });
        matches!(entered, Ok(ConnectOutcome::Accepted))
    };
    let what = format!("{server} turns away the agent that comes through the gateway: {words}");
    if own.is_some() && is_accepted(deployment.key.as_ref()) {
        return Finding::problem(
            "login",
            format!("{what}; it takes the gateway's signature from the user of [control]"),
            "check the agent's credentials: the key is not to blame",
        );
    }
    if own.is_some() && is_accepted(None) {
        return Finding::problem("proxy-key", what, remedy(deployment));
    }
    Finding::problem(
        "login",
        format!("{what}; whether for its credentials or for the gateway's key, it does not say"),
        format!(
            "check the agent's credentials; if they are right, {}",
            remedy(deployment)
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
fn header(deployment: &Deployment, server: &ServerAddr) -> Option<Finding> {
    let version = deployment.checked.dataplane.proxy.send?;
    let [without, with] = [None, Some(version)].map(|header| {
        let by = ConnectAs::Gateway(header);
        try_connect((deployment, server), by, deployment.credentials())
    });
    Some(match (without, with) {
        (Ok(ConnectOutcome::Accepted), Ok(ConnectOutcome::Accepted)) => Finding::ok(
            "proxy-header",
            format!("{server} reads the header that `proxy.send` puts first"),
        ),
        // Before authentication, a server answers the same to anything that it does not understand.
        (Ok(ConnectOutcome::Refused(_)), Ok(ConnectOutcome::Refused(_))) => Finding::warning(
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

fn no_answer(server: &ServerAddr, error: &io::Error) -> Finding {
    Finding::problem(
        "server",
        format!("{server} does not answer: {error}"),
        "look into the server's log",
    )
}

/// How to close the bypass: `proxy_required` for the agents, and a trusted proxy key.
fn remedy(deployment: &Deployment) -> String {
    match &deployment.key {
        Some(key) => format!(
            "in nats-server, trust the gateway and bind every agent to it:\n{}",
            server_block(&key.public())
        ),
        None => "make a key with `keyway proxy-key`, and set what it prints".to_owned(),
    }
}
