//! Where log lines go: standard error, as text for people or JSON for machines.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// What is logged can change later.
#[derive(Clone)]
pub(super) struct Levels(reload::Handle<Targets, Registry>);

impl Levels {
    /// From now on, `level` is the least important one.
    pub(super) fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(levels(level)) {
            tracing::debug!(%error, "the log goes on with the level that it has");
        }
    }
}

/// Of other crates' lines, only warnings are of interest to an operator.
fn levels(level: Level) -> Targets {
    Targets::new()
        .with_target("keyway", level)
        .with_default(level.min(Level::WARN))
}

/// Logs from now on.
pub(super) fn start(log: Log) -> Levels {
    let (levels, handle) = reload::Layer::new(levels(log.level));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(levels))
        .try_init();
    if started.is_err() {
        tracing::debug!("something else in this process logs already");
    }
    Levels(handle)
}
