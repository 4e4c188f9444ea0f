//! A scenario with its numbers.

use serde::Serialize;

use super::Scenario;
use crate::load::{Pace, Shape};

/// Bytes of a round of a flow, with an estimate of the cost of each message: about a second's worth.
const ROUND: u64 = 400_000_000;

/// Messages a second of an open loop, and how many bytes a second at most.
const RATE: f64 = 50_000.0;
const BYTES: f64 = 100e6;

/// Requests a second of an open loop.
const REQUESTS: f64 = 2000.0;

/// Seconds of a round of an open loop.
const SECONDS: f64 = 3.0;

/// Messages into a stream that are not yet acknowledged.
const UNACKNOWLEDGED: u64 = 256;

/// Connections of a fan, and pairs.
const FAN: u64 = 16;
const MESH: u64 = 8;
const PAIRS: u64 = 64;

/// A scenario with its parameters.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    /// Payload in bytes.
    pub(crate) size: usize,
    /// Messages, requests or connections of a round.
    pub(crate) count: u64,
    pub(crate) shape: Shape,
    pub(crate) pace: Pace,
}

/// Parameters of the command line.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Messages, requests or connections of a round; chosen by scenario and size when not given.
    #[arg(long)]
    messages: Option<u64>,
    /// Messages a second of `steady`, 50,000 when not given; of `steady-request`, 2,000.
    #[arg(long)]
    rate: Option<f64>,
    /// Messages in flight at most in a closed loop.
    #[arg(long)]
    window: Option<u64>,
    /// Publishers of `fan-in`, `mesh` and `pairs`.
    #[arg(long)]
    publishers: Option<u64>,
    /// Subscribers of `fan-out` and `mesh`.
    #[arg(long)]
    subscribers: Option<u64>,
}

impl Overrides {
    /// Overrides the number of messages alone.
    pub(crate) fn messages(messages: Option<u64>) -> Self {
        Self {
            messages,
            ..Self::default()
        }
    }
}

impl Case {
    /// With the default parameters.
    pub(crate) fn new(scenario: Scenario, size: usize, wanted: &Overrides) -> Self {
        let pace = pace(scenario, size, wanted);
        Self {
            scenario,
            size,
            count: wanted
                .messages
                .unwrap_or_else(|| count(scenario, size, pace))
                .max(1),
            shape: shape(scenario, wanted),
            pace,
        }
    }

    /// A tenth of it, as warm-up.
    pub(crate) fn tenth(&self) -> Self {
        Self {
            count: self.count / 10 + 1,
            ..self.clone()
        }
    }

    /// `pubsub 128 B`.
    pub(crate) fn title(&self) -> String {
        let name = self.scenario.name();
        if self.scenario == Scenario::Idle {
            return name.to_owned();
        }
        format!("{name} {} B", self.size)
    }

    /// Describes a round.
    pub(crate) fn words(&self) -> String {
        let Shape {
            publishers,
            subscribers,
            ..
        } = self.shape;
        let count = self.count;
        let pace = match self.pace {
            Pace::Window(u64::MAX) => "as fast as it goes".to_owned(),
            Pace::Window(1) => "one at a time".to_owned(),
            Pace::Window(window) => format!("{window} under way"),
            Pace::Rate(rate) => format!("{rate} a second"),
        };
        match self.scenario {
            Scenario::Pubsub
            | Scenario::FanIn
            | Scenario::FanOut
            | Scenario::Mesh
            | Scenario::Pairs
            | Scenario::Steady => {
                format!("{publishers} to {subscribers}, {count} deliveries a round, {pace}")
            }
            Scenario::Request | Scenario::SteadyRequest => {
                format!("{count} requests a round, {pace}")
            }
            Scenario::JsPublish | Scenario::JsConsume => {
                format!("{count} messages a round, {pace}")
            }
            Scenario::KvPut | Scenario::KvGet => format!("{count} values a round, {pace}"),
            Scenario::Idle => format!("{count} connections"),
            Scenario::Churn => format!("{count} connections a round, 4 at once"),
        }
    }
}

fn shape(scenario: Scenario, wanted: &Overrides) -> Shape {
    let publishers = |usual| wanted.publishers.unwrap_or(usual).max(1);
    let subscribers = |usual| wanted.subscribers.unwrap_or(usual).max(1);
    let (publishers, subscribers, paired) = match scenario {
        Scenario::FanIn => (publishers(FAN), 1, false),
        Scenario::FanOut => (1, subscribers(FAN), false),
        Scenario::Mesh => (publishers(MESH), subscribers(MESH), false),
        Scenario::Pairs => (publishers(PAIRS), publishers(PAIRS), true),
        Scenario::Pubsub
        | Scenario::Steady
        | Scenario::Request
        | Scenario::SteadyRequest
        | Scenario::JsPublish
        | Scenario::JsConsume
        | Scenario::KvPut
        | Scenario::KvGet
        | Scenario::Idle
        | Scenario::Churn => return Shape::ONE_TO_ONE,
    };
    Shape {
        publishers,
        subscribers,
        paired,
    }
}

fn pace(scenario: Scenario, size: usize, wanted: &Overrides) -> Pace {
    let size = crate::report::float(u64::try_from(size).unwrap_or(u64::MAX));
    let window = |usual| Pace::Window(wanted.window.unwrap_or(usual).max(1));
    match scenario {
        Scenario::Steady => Pace::Rate(wanted.rate.unwrap_or_else(|| RATE.min(BYTES / size))),
        Scenario::SteadyRequest => Pace::Rate(wanted.rate.unwrap_or(REQUESTS)),
        Scenario::Pubsub
        | Scenario::FanIn
        | Scenario::FanOut
        | Scenario::Mesh
        | Scenario::Pairs => window(u64::MAX),
        Scenario::JsPublish | Scenario::JsConsume => window(UNACKNOWLEDGED),
        Scenario::Request
        | Scenario::KvPut
        | Scenario::KvGet
        | Scenario::Idle
        | Scenario::Churn => window(1),
    }
}

fn count(scenario: Scenario, size: usize, pace: Pace) -> u64 {
    if let Pace::Rate(rate) = pace {
        return crate::load::whole(rate * SECONDS);
    }
    match scenario {
        Scenario::Pubsub
        | Scenario::FanIn
        | Scenario::FanOut
        | Scenario::Mesh
        | Scenario::Pairs
        | Scenario::Steady => ROUND / u64::try_from(size).unwrap_or(u64::MAX).saturating_add(384),
        Scenario::Request | Scenario::SteadyRequest => 5000,
        Scenario::JsPublish | Scenario::JsConsume => 20_000,
        Scenario::KvPut | Scenario::KvGet => 3000,
        Scenario::Idle => 2000,
        Scenario::Churn => 1000,
    }
}
