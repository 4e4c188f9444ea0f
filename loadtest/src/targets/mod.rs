//! Targets: a server of its own each, and what is in front of it.
//!
//! ```text
//! bare       agent ──────────────────────────────────────► nats-server
//! haproxy    agent ──────────► HAProxy, mode tcp ────────► nats-server
//! nats-tls   agent ═════════════════ TLS ════════════════► nats-server
//! relay      agent ──────────► Keyway, relay-only ───────► nats-server
//! sealing    agent ──────────► Keyway ───────────────────► nats-server
//! storm      agent ──────────► Keyway, another key each second ► nats-server
//! chain      agent ──► Keyway ──────────► Keyway ────────► nats-server
//! ```
//!
//! `relay-before` and `sealing-before` are the same with another build of Keyway, to compare a change in one run.

mod certificate;
mod gateway;
mod operator;
mod programs;
mod server;
mod storm;

use std::time::Duration;

use clap::ValueEnum;
use keyway_test_kit::{Process, haproxy};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

pub(crate) use gateway::{Gateway, Mode};
pub(crate) use programs::{Programs, Versions, open_files};
pub(crate) use storm::storm;

use crate::error::RunError;
use crate::load::Endpoint;
use server::Server;

/// How often a rotation is requested in `storm`.
const STORM: Duration = Duration::from_millis(100);

/// A keyring with an overlap of a second, so that versions do not pile up under constant rotation.
pub(crate) const SHORT_LIVED: &str =
    "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\noverlap = \"1s\"\nretain = \"shred\"\n";

/// A kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TargetKind {
    /// The server alone.
    Bare,
    /// HAProxy in TCP mode.
    Haproxy,
    /// The server's own TLS, on every connection.
    NatsTls,
    /// Keyway that touches no payload.
    Relay,
    /// Keyway that seals and opens.
    Sealing,
    /// The same under constant rotation, which is limited to once a second.
    Storm,
    /// Two sealing gateways in a row, each with keys of its own.
    Chain,
    /// `relay` with the program of `--before`.
    RelayBefore,
    /// `sealing` with the program of `--before`.
    SealingBefore,
}

/// A running target.
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    /// Where clients connect.
    pub(crate) endpoint: Endpoint,
    haproxy: Option<Process>,
    /// In the order from client to server.
    gateways: Vec<Gateway>,
    server: Server,
}

/// A process of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// The load generator: this program.
    Generator,
    Haproxy,
    Gateway,
    /// The second one of `chain`.
    SecondGateway,
    Server,
}

/// Resource use of a process.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) role: Role,
    pub(crate) cpu: Duration,
    /// Peak memory in bytes; unknown for the generator.
    pub(crate) peak: Option<u64>,
}

impl TargetKind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Bare,
        Self::Haproxy,
        Self::NatsTls,
        Self::Relay,
        Self::Sealing,
        Self::Storm,
        Self::Chain,
        Self::RelayBefore,
        Self::SealingBefore,
    ];

    /// The targets that its figures are compared to, where they are in the run.
    pub(crate) const fn bases(self) -> &'static [Self] {
        match self {
            Self::Bare => &[],
            Self::Haproxy => &[Self::Bare],
            Self::NatsTls => &[Self::Bare, Self::Haproxy],
            Self::Relay => &[Self::Bare, Self::Haproxy, Self::NatsTls, Self::RelayBefore],
            Self::Sealing => &[
                Self::Bare,
                Self::Haproxy,
                Self::NatsTls,
                Self::SealingBefore,
            ],
            Self::Chain | Self::RelayBefore | Self::SealingBefore => {
                &[Self::Bare, Self::Haproxy, Self::NatsTls]
            }
            Self::Storm => &[Self::Bare, Self::Haproxy, Self::NatsTls, Self::Sealing],
        }
    }

    /// Whether it runs the program of `--before`.
    pub(crate) const fn is_before(self) -> bool {
        matches!(self, Self::RelayBefore | Self::SealingBefore)
    }

    /// Its name in `--targets`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Haproxy => "haproxy",
            Self::NatsTls => "nats-tls",
            Self::Relay => "relay",
            Self::Sealing => "sealing",
            Self::Storm => "storm",
            Self::Chain => "chain",
            Self::RelayBefore => "relay-before",
            Self::SealingBefore => "sealing-before",
        }
    }
}

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Generator,
        Self::Haproxy,
        Self::Gateway,
        Self::SecondGateway,
        Self::Server,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Haproxy => "haproxy",
            Self::Gateway => "gateway",
            Self::SecondGateway => "second gateway",
            Self::Server => "server",
        }
    }
}

impl Target {
    /// Starts a server and what is in front of it.
    pub(crate) fn start(programs: &Programs, kind: TargetKind) -> Result<Self, RunError> {
        let mut server = match kind {
            TargetKind::NatsTls => programs.tls_server()?,
            TargetKind::Bare
            | TargetKind::Haproxy
            | TargetKind::Relay
            | TargetKind::Sealing
            | TargetKind::Storm
            | TargetKind::Chain
            | TargetKind::RelayBefore
            | TargetKind::SealingBefore => programs.server()?,
        };
        let bus = server.addr;
        let gateways = match kind {
            TargetKind::Bare | TargetKind::Haproxy | TargetKind::NatsTls => vec![],
            TargetKind::Relay => vec![programs.gateway(bus, Mode::Relay)?],
            TargetKind::Sealing => vec![programs.gateway(bus, Mode::Sealing)?],
            TargetKind::RelayBefore => vec![programs.before()?.gateway(bus, Mode::Relay)?],
            TargetKind::SealingBefore => vec![programs.before()?.gateway(bus, Mode::Sealing)?],
            TargetKind::Storm => vec![programs.configured(bus, Mode::Sealing, SHORT_LIVED)?],
            TargetKind::Chain => {
                let inner = programs.gateway(bus, Mode::Sealing)?;
                vec![programs.gateway(inner.addr, Mode::Sealing)?, inner]
            }
        };
        let haproxy = (kind == TargetKind::Haproxy)
            .then(|| haproxy::start(&programs.haproxy, "", (bus, "")))
            .transpose()?;
        let (haproxy, proxied) = haproxy.unzip();
        let before = gateways.first().map(|gateway| gateway.addr).or(proxied);
        let endpoint = Endpoint {
            addr: before.unwrap_or(bus),
            tls: server.tls.take(),
        };
        Ok(Self {
            kind,
            endpoint,
            haproxy,
            gateways,
            server,
        })
    }

    /// Runs `play`; for `storm` with rotations meanwhile.
    pub(crate) fn during<T>(
        &self,
        play: impl FnOnce() -> Result<T, RunError>,
    ) -> Result<T, RunError> {
        match (self.kind, self.gateways.first()) {
            (TargetKind::Storm, Some(gateway)) => storm(gateway, STORM, play),
            _ => play(),
        }
    }

    /// Every process, from client to server.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Role, &Process)> {
        let haproxy = self.haproxy.iter();
        let haproxy = haproxy.map(|process| (Role::Haproxy, process));
        let roles = [Role::Gateway, Role::SecondGateway];
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        haproxy
            .chain(roles.into_iter().zip(gateways))
            .chain([(Role::Server, &self.server.process)])
    }

    /// Runs `play`, and measures the cost in every process.
    pub(crate) fn costs_of<T>(
        &self,
        play: impl FnOnce() -> Result<T, RunError>,
    ) -> Result<(T, Vec<Cost>), RunError> {
        let mut before = vec![own_cpu()];
        for (_, process) in self.processes() {
            process.forget_peak();
            before.push(process.cpu()?);
        }
        let played = play()?;
        let mut after = vec![(Role::Generator, own_cpu(), None)];
        for (role, process) in self.processes() {
            after.push((role, process.cpu()?, Some(process.peak()?)));
        }
        let costs = after.into_iter().zip(before);
        let costs = costs.map(|((role, after, peak), before)| Cost {
            role,
            cpu: after.saturating_sub(before),
            peak,
        });
        Ok((played, costs.collect()))
    }
}

/// CPU time of this program, including threads that have ended.
pub(crate) fn own_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}
