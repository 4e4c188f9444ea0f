//! `keyway run`: runs the gateway until SIGTERM or SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Asker;
use crate::app::{self, Attended, Gateway, Origin, Surroundings, manager, process};
use crate::audit::{Through, Who};
use crate::clock::Clock;
use crate::config::Checked;
use crate::dataplane::{Inherited, Stopped};
use crate::metrics;

use super::args::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::{log, place, runtime};

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    let (checked, warnings) = place::read(&args.place)?;
    let levels = log::start(checked.log);
    // Before the runtime starts threads that could read the environment.
    let inherited = manager::inherited();
    for warning in &warnings {
        app::warn_of(warning.finding());
    }
    let place = args.place.clone();
    let origin = Origin {
        read: Box::new(move || place::check(&place)),
        level: Box::new(move |level| levels.set(level)),
    };
    let start = Start {
        checked,
        take_over: args.take_over,
    };
    runtime()?.block_on(serve(&start, origin, inherited))
}

/// The arguments of a start.
struct Start {
    checked: Checked,
    /// Take over from a running gateway.
    take_over: bool,
}

async fn serve(start: &Start, origin: Origin, inherited: Vec<Inherited>) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut asked = Asked::listen()?;
    match process::take_all_descriptors() {
        Ok(descriptors) => tracing::debug!(descriptors, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
    }
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let mut surroundings = Surroundings::bare(metrics);
    surroundings.origin = Some(origin);
    surroundings.inherited = inherited;
    if start.take_over {
        tokio::select! {
            taken = Box::pin(take_over(start.checked.clone(), &mut surroundings)) => taken?,
            () = asked.stop() => return Ok(()),
        }
    }
    let instead = surroundings.claim.is_some();
    let mut gateway = Gateway::start(&start.checked, surroundings, &Clock::system())
        .map_err(|error| Failure::of(&error))?;
    if instead {
        manager::ready_instead();
    } else {
        manager::ready();
    }
    Box::pin(attend(&mut gateway, &mut asked)).await;
    match Box::pin(gateway.stop(asked.stop())).await {
        Stopped::Drained => Ok(()),
        Stopped::Cut => Err(Failure::silent(Exit::Interrupted)),
    }
}

/// Checks what can be checked, then takes over from the running gateway, if there is one.
async fn take_over(checked: Checked, surroundings: &mut Surroundings) -> Result<(), Failure> {
    let claimed = tokio::task::spawn_blocking(move || {
        let custodian = app::rehearse(&checked).map_err(|error| Failure::of(&error))?;
        let claim = app::claim(&checked.state).map_err(|error| Failure::of(&error))?;
        Ok((custodian, claim))
    });
    let claimed = claimed.await.unwrap_or_else(|error| {
        let what = format!("taking over ended early: {error}");
        Err(Failure::new(Exit::Failed, what, ""))
    });
    (surroundings.custodian, surroundings.claim) = claimed?;
    if surroundings.claim.is_none() {
        tracing::info!("no gateway runs on this state directory: nothing to take over");
    }
    Ok(())
}

/// Handles signals and hand-over requests until the gateway is to stop.
async fn attend(gateway: &mut Gateway, asked: &mut Asked) {
    loop {
        let due = tokio::select! {
            signal = asked.next() => match signal {
                Signalled::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    manager::stopping();
                    return;
                }
                Signalled::Reload => None,
            },
            due = gateway.due() => Some(due),
        };
        match due {
            None => {
                manager::reloading();
                gateway.reload(by_signal()).await;
                manager::ready();
            }
            Some(due) => {
                if gateway.attend(due).await == Attended::HandedOver {
                    return;
                }
            }
        }
    }
}

/// The sender of a signal, whose identity the kernel does not report.
const fn by_signal() -> Asker {
    Asker {
        who: Who::Gateway,
        through: Through::Signal,
    }
}

/// The action of a signal.
enum Signalled {
    /// SIGTERM or SIGINT: its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that the process handles.
pub(super) struct Asked {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Asked {
    /// Installs the handlers; the signals no longer end the process by themselves.
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

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Waits for any of them, where SIGHUP ends the command as well.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}
