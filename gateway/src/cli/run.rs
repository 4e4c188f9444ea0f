//! `keyway run`: the gateway, until it is asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Gateway, process};
use crate::clock::Clock;
use crate::config::{Checked, Finding};
use crate::metrics;

use super::args::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::{log, place, runtime};

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    let (checked, warnings) = place::read(&args.place)?;
    log::start(checked.log);
    for warning in &warnings {
        warn(warning.finding());
    }
    runtime()?.block_on(serve(&checked))
}

/// A doubt about the configuration, in the format that its log has.
fn warn(finding: &Finding) {
    let Finding {
        file,
        line,
        column,
        key,
        message,
        help,
    } = finding;
    tracing::warn!(file, line, column, key, help, "{message}");
}

async fn serve(checked: &Checked) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut asked = Asked::listen()?;
    match process::take_all_descriptors() {
        Ok(descriptors) => tracing::debug!(descriptors, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
    }
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let gateway =
        Gateway::start(checked, metrics, &Clock::system()).map_err(|error| Failure::of(&error))?;
    let name = asked.stop().await;
    tracing::info!(signal = name, "stopping");
    gateway.stop().await;
    Ok(())
}

/// The signals that ask a process to end.
pub(super) struct Asked {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Asked {
    /// From now on the signals do not end the process by themselves.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                let what = format!("cannot listen for signals: {error}");
                Failure::new(Exit::Failed, what, "")
            })
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. A terminal that hangs up is none of a gateway's business.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.int.recv() => return "SIGINT",
                _ = self.hup.recv() => tracing::debug!("SIGHUP: nothing to reload yet"),
            }
        }
    }

    /// Waits for any of the signals that would end a process that does not ask for them.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}
