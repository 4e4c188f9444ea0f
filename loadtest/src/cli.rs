//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::{AIMS, Outputs};
use crate::run::{Plan, Planned};
use crate::scenarios::{Case, Overrides, Scenario};
use crate::targets::TargetKind;
use crate::trials::{hostile, outstanding, rotation, soak, versions};

/// Payload sizes when none are given.
const SIZES: [usize; 4] = [16, 128, 1024, 16_384];

/// The payload size of all scenarios but `pubsub`.
const SIZE: usize = 128;

/// Idle connections of the memory aim.
const IDLE: u64 = 5000;

/// Ways to a NATS bus under load, side by side: the server alone, HAProxy, the server's own TLS, Keyway.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) programs: ProgramArgs,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// The programs under test.
#[derive(Args)]
pub(crate) struct ProgramArgs {
    /// The `nats-server` program.
    #[arg(long, global = true, default_value = "nats-server")]
    pub(crate) server: PathBuf,
    /// The `keyway` program; the one beside this program when not given.
    #[arg(long, global = true)]
    pub(crate) gateway: Option<PathBuf>,
    /// Another build of `keyway`: `relay-before` and `sealing-before` run it, so that a change is measured in one run.
    #[arg(long, global = true)]
    pub(crate) before: Option<PathBuf>,
    /// The `haproxy` program.
    #[arg(long, global = true, default_value = "haproxy")]
    pub(crate) haproxy: PathBuf,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Scenarios on targets, alternating by round.
    Run(RunArgs),
    /// What the project aims at: each figure with its aim.
    Aims(AimArgs),
    /// Many requests without an answer: memory of the gateway.
    Outstanding(outstanding::Args),
    /// Keys replaced by usage and by hand under full load: what it costs, and what is lost.
    Rotation(rotation::Args),
    /// Many versions in one record: how much longer a rotation takes.
    Versions(versions::Args),
    /// Requests beside clients that attack the port: how much longer an answer takes.
    Hostile(hostile::Args),
    /// Everything at once for a long time, with a rotation every minute: whether anything grows.
    Soak(soak::Args),
    /// All of these but the soak, with their defaults.
    All,
}

/// What to run.
#[derive(Clone, Args)]
pub(crate) struct RunArgs {
    /// All when none is given.
    scenarios: Vec<Scenario>,
    /// Only these targets.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<TargetKind>,
    /// Payload sizes in bytes; for `pubsub` 16, 128, 1024 and 16,384 when not given, else 128.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Rounds of each scenario on each target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// `pubsub`, `steady-request` and `js-publish` alone, in three rounds.
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    wanted: Overrides,
}

/// How often to look.
#[derive(Clone, Args)]
pub(crate) struct AimArgs {
    /// Rounds; five at least, or it proves nothing.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages, requests or connections of a round; chosen by scenario and size when not given.
    #[arg(long)]
    messages: Option<u64>,
    /// Exit with 1 when an aim is missed.
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Default for RunArgs {
    fn default() -> Self {
        Self {
            scenarios: Vec::new(),
            targets: Vec::new(),
            sizes: Vec::new(),
            rounds: 5,
            short: false,
            wanted: Overrides::default(),
        }
    }
}

impl RunArgs {
    pub(crate) fn plan(&self, programs: &ProgramArgs) -> Plan {
        let targets = if self.targets.is_empty() {
            let there = |kind: &TargetKind| programs.before.is_some() || !kind.is_before();
            TargetKind::ALL.into_iter().filter(there).collect()
        } else {
            self.targets.clone()
        };
        let scenarios = match self.scenarios.as_slice() {
            [] if self.short => vec![
                Scenario::Pubsub,
                Scenario::SteadyRequest,
                Scenario::JsPublish,
            ],
            [] => Scenario::ALL.to_vec(),
            scenarios => scenarios.to_vec(),
        };
        let cases = scenarios.iter().flat_map(|&scenario| {
            let sizes = self.sizes(scenario).into_iter();
            sizes.map(move |size| Case::new(scenario, size, &self.wanted))
        });
        Plan {
            cases: cases
                .map(|case| Planned {
                    case,
                    targets: targets.clone(),
                })
                .collect(),
            rounds: if self.short { 3 } else { self.rounds },
        }
    }

    fn sizes(&self, scenario: Scenario) -> Vec<usize> {
        match (self.sizes.as_slice(), scenario) {
            (_, Scenario::Idle) => vec![SIZE],
            ([], Scenario::Pubsub) => SIZES.to_vec(),
            ([], _) => vec![SIZE],
            (sizes, _) => sizes.to_vec(),
        }
    }
}

impl AimArgs {
    /// The cases that the aims need, each with its targets.
    pub(crate) fn plan(&self) -> Plan {
        let mut cases: Vec<Planned> = Vec::new();
        for aim in AIMS {
            let same = |planned: &&mut Planned| {
                planned.case.scenario == aim.scenario && planned.case.size == aim.size
            };
            let targets = [Some(aim.target), aim.base].into_iter().flatten();
            match cases.iter_mut().find(same) {
                Some(planned) => planned.targets.extend(targets),
                None => cases.push(Planned {
                    case: self.case(aim.scenario, aim.size),
                    targets: targets.collect(),
                }),
            }
        }
        for planned in &mut cases {
            planned.targets.sort();
            planned.targets.dedup();
        }
        Plan {
            cases,
            rounds: self.rounds,
        }
    }

    fn case(&self, scenario: Scenario, size: usize) -> Case {
        let usual = (scenario == Scenario::Idle).then_some(IDLE);
        Case::new(
            scenario,
            size,
            &Overrides::messages(self.messages.or(usual)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aim_has_its_case_on_both_its_targets() {
        let args = AimArgs {
            rounds: 5,
            messages: None,
            strict: false,
        };
        let plan = args.plan();
        for aim in AIMS {
            let found = plan.cases.iter().find(|planned| {
                planned.case.scenario == aim.scenario && planned.case.size == aim.size
            });
            let targets = &found.unwrap().targets;
            assert!(targets.contains(&aim.target), "{aim:?}");
            assert!(aim.base.is_none_or(|base| targets.contains(&base)));
        }
    }
}
