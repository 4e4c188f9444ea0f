//! Where log lines go: standard error, as text for people or JSON for machines.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Log, LogFormat};

/// Logs from now on. Of other crates' lines, only warnings are of interest to an operator.
pub(super) fn start(log: Log) {
    let levels = Targets::new()
        .with_target("keyway", log.level)
        .with_default(log.level.min(Level::WARN));
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
}
