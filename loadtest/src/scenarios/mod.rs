//! Scenarios: each prepares, then runs once per round and target.

mod case;
mod churn;
mod idle;
mod jetstream;
pub(crate) mod request;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use case::{Case, Overrides};

use crate::error::RunError;
use crate::load::{Flow, LoadResult};
use crate::targets::{Programs, Role, Target};

/// A way to use a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// One publisher, one subscriber, as fast as it goes.
    Pubsub,
    /// Sixteen publishers, one subscriber.
    FanIn,
    /// One publisher, sixteen subscribers that all get everything.
    FanOut,
    /// Eight publishers, eight subscribers that all get everything.
    Mesh,
    /// Sixty-four publishers, each with a subscriber of its own.
    Pairs,
    /// One publisher, one subscriber, at a fixed rate: how long messages take.
    Steady,
    /// One request at a time to one responder.
    Request,
    /// Requests at a fixed rate to one responder.
    SteadyRequest,
    /// Messages into a stream in memory, 256 unacknowledged.
    JsPublish,
    /// A stream read through a pull consumer, each message acknowledged.
    JsConsume,
    /// Values put into a bucket, one at a time.
    KvPut,
    /// Values got from a bucket, one at a time.
    KvGet,
    /// Connections that say nothing: memory of each.
    Idle,
    /// Connect, greet, one message, close; four at once.
    Churn,
}

/// The result of one round on one target.
pub(crate) struct RoundResult {
    pub(crate) moved: LoadResult,
    /// Resident bytes of each process per connection, in the scenario `idle`.
    pub(crate) held: Vec<(Role, f64)>,
}

/// A scenario that is prepared.
pub(crate) type Ready<'t> = Box<dyn FnOnce() -> Result<RoundResult, RunError> + 't>;

impl Scenario {
    pub(crate) const ALL: [Self; 14] = [
        Self::Pubsub,
        Self::FanIn,
        Self::FanOut,
        Self::Mesh,
        Self::Pairs,
        Self::Steady,
        Self::Request,
        Self::SteadyRequest,
        Self::JsPublish,
        Self::JsConsume,
        Self::KvPut,
        Self::KvGet,
        Self::Idle,
        Self::Churn,
    ];

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pubsub => "pubsub",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Mesh => "mesh",
            Self::Pairs => "pairs",
            Self::Steady => "steady",
            Self::Request => "request",
            Self::SteadyRequest => "steady-request",
            Self::JsPublish => "js-publish",
            Self::JsConsume => "js-consume",
            Self::KvPut => "kv-put",
            Self::KvGet => "kv-get",
            Self::Idle => "idle",
            Self::Churn => "churn",
        }
    }
}

impl Case {
    /// Prepares a round.
    pub(crate) fn prepare<'t>(
        &'t self,
        programs: &'t Programs,
        target: &'t Target,
    ) -> Result<Ready<'t>, RunError> {
        let endpoint = &target.endpoint;
        Ok(match self.scenario {
            Scenario::Pubsub
            | Scenario::FanIn
            | Scenario::FanOut
            | Scenario::Mesh
            | Scenario::Pairs
            | Scenario::Steady => {
                let flow = Flow {
                    shape: self.shape,
                    size: self.size,
                    count: self.count,
                    pace: self.pace,
                };
                Box::new(move || flow.run(endpoint).map(RoundResult::from))
            }
            Scenario::Request | Scenario::SteadyRequest => Box::new(move || {
                request::play(endpoint, self.size, self.count, self.pace).map(RoundResult::from)
            }),
            Scenario::JsPublish => jetstream::publish(self, endpoint)?,
            Scenario::JsConsume => jetstream::consume(self, endpoint)?,
            Scenario::KvPut => jetstream::put(self, endpoint)?,
            Scenario::KvGet => jetstream::get(self, endpoint)?,
            Scenario::Idle => Box::new(move || idle::play(programs, target.kind, self.count)),
            Scenario::Churn => Box::new(move || {
                churn::play(endpoint, self.size, self.count).map(RoundResult::from)
            }),
        })
    }
}

impl From<LoadResult> for RoundResult {
    fn from(moved: LoadResult) -> Self {
        Self {
            moved,
            held: Vec::new(),
        }
    }
}
