//! The deployment that is checked.

use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::proxy::Key;

use super::connection::Dialers;
use super::finding::Finding;
use super::login::Login;
use super::probe_client::Credentials;

/// A configuration, and what is needed to connect as its gateway and as its agents.
pub(super) struct Deployment {
    pub(super) checked: GatewayConfig,
    pub(super) clock: Clock,
    /// The key of a trusted proxy, where there is one that can be used.
    pub(super) key: Option<Key>,
    /// TLS with servers, where it is configured and its files can be used.
    pub(super) dialers: Dialers,
    /// An agent's credentials.
    pub(super) agent: Option<Login>,
    /// Whether messages may be published.
    pub(super) probe: bool,
}

impl Deployment {
    /// Reads the proxy key and the TLS files; those that cannot be used are findings.
    pub(super) fn new(
        checked: GatewayConfig,
        (agent, probe): (Option<Login>, bool),
        findings: &mut Vec<Finding>,
    ) -> Self {
        let clock = Clock::system();
        let key = checked.proxy_seed.as_deref().map(Key::read).transpose();
        let key = key.unwrap_or_else(|error| {
            findings.push(Finding::of_error("proxy-key", &error));
            None
        });
        let dialers = Dialers::load(checked.dataplane.server_tls.as_ref(), &clock);
        let dialers = dialers.unwrap_or_else(|error| {
            findings.push(Finding::of_error("server-tls", &error));
            Dialers::default()
        });
        Self {
            checked,
            clock,
            key,
            dialers,
            agent,
            probe,
        }
    }

    /// The agent's, with the proxy key: as many of them as there are.
    pub(super) const fn credentials(&self) -> Credentials<'_> {
        Credentials {
            login: self.agent.as_ref(),
            key: self.key.as_ref(),
        }
    }
}
