//! `keyway run`: the gateway, until it is asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Asker;
use crate::app::{self, Gateway, Origin, process};
use crate::audit::{Through, Who};
use crate::clock::Clock;
use crate::config::Checked;
use crate::metrics;

use super::args::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::{log, place, runtime};

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    let (checked, warnings) = place::read(&args.place)?;
    let levels = log::start(checked.log);
    for warning in &warnings {
        app::warn_of(warning.finding());
    }
    let place = args.place.clone();
    let origin = Origin {
        read: Box::new(move || place::check(&place)),
        level: Box::new(move |level| levels.set(level)),
    };
    runtime()?.block_on(serve(&checked, origin))
}

async fn serve(checked: &Checked, origin: Origin) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut asked = Asked::listen()?;
    match process::take_all_descriptors() {
        Ok(descriptors) => tracing::debug!(descriptors, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
    }
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let gateway = Gateway::start(checked, (metrics, Some(origin)), &Clock::system());
    let gateway = gateway.map_err(|error| Failure::of(&error))?;
    let name = loop {
        match asked.next().await {
            Signalled::Stop(name) => break name,
            Signalled::Reload => gateway.reload(by_signal()).await,
        }
    };
    tracing::info!(signal = name, "stopping");
    gateway.stop().await;
    Ok(())
}

/// Whoever may send signals to the process; the kernel does not say who.
const fn by_signal() -> Asker {
    Asker {
        who: Who::Gateway,
        through: Through::Signal,
    }
}

/// What a signal asks for.
enum Signalled {
    /// SIGTERM or SIGINT: its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that ask something of a process.
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

    /// Waits for the next signal.
    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.term.recv() => Signalled::Stop("SIGTERM"),
            _ = self.int.recv() => Signalled::Stop("SIGINT"),
            _ = self.hup.recv() => Signalled::Reload,
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
