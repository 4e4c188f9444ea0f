//! `keyway run`: runs the gateway until SIGTERM or SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, ConfigSource, Gateway, HandoverOutcome, StartOptions, manager, process};
use crate::audit::{Actor, Channel};
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::dataplane::{Inherited, Stopped};
use crate::metrics;
use crate::operations::Caller;

use super::args::Run;
use super::exit::Exit;
use super::failure::Failure;
use super::runtime::block_on;
use super::{load, log};

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    let (checked, warnings) = load::read(&args.options)?;
    let levels = log::start(checked.log);
    // Before the runtime starts threads that could read the environment.
    let inherited = manager::inherited();
    for warning in &warnings {
        app::warn_of(warning);
    }
    let options = args.options.clone();
    let source = ConfigSource {
        read: Box::new(move || load::check(&options)),
        level: Box::new(move |level| levels.set(level)),
    };
    let start = Start {
        checked,
        take_over: args.take_over,
    };
    block_on(serve(&start, source, inherited))
}

/// The arguments of a start.
struct Start {
    checked: GatewayConfig,
    /// Take over from a running gateway.
    take_over: bool,
}

async fn serve(
    start: &Start,
    source: ConfigSource,
    inherited: Vec<Inherited>,
) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut signals = Signals::listen()?;
    match process::raise_descriptor_limit() {
        Ok(descriptors) => tracing::debug!(descriptors, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
    }
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let mut options = StartOptions::new(metrics);
    options.config_source = Some(source);
    options.inherited = inherited;
    if start.take_over {
        tokio::select! {
            taken = Box::pin(take_over(start.checked.clone(), &mut options)) => taken?,
            () = signals.stop() => return Ok(()),
        }
    }
    let took_over = options.take_over.is_some();
    let mut gateway = Gateway::start(&start.checked, options, &Clock::system())
        .map_err(|error| Failure::of(&error))?;
    if took_over {
        manager::ready_after_take_over();
    } else {
        manager::ready();
    }
    Box::pin(event_loop(&mut gateway, &mut signals)).await;
    match Box::pin(gateway.stop(signals.stop())).await {
        Stopped::Drained => Ok(()),
        Stopped::Aborted => Err(Failure::silent(Exit::Interrupted)),
    }
}

/// Checks what can be checked, then takes over from the running gateway, if there is one.
async fn take_over(checked: GatewayConfig, options: &mut StartOptions) -> Result<(), Failure> {
    let claimed = tokio::task::spawn_blocking(move || {
        let custodian = app::check_without_lock(&checked).map_err(|error| Failure::of(&error))?;
        let take_over = app::take_over(&checked.state).map_err(|error| Failure::of(&error))?;
        Ok((custodian, take_over))
    });
    let claimed = claimed.await.unwrap_or_else(|error| {
        let what = format!("taking over ended early: {error}");
        Err(Failure::new(Exit::Failed, what, ""))
    });
    (options.custodian, options.take_over) = claimed?;
    if options.take_over.is_none() {
        tracing::info!("no gateway runs on this state directory: nothing to take over");
    }
    Ok(())
}

/// Handles signals and hand-over requests until the gateway is to stop.
async fn event_loop(gateway: &mut Gateway, signals: &mut Signals) {
    loop {
        let due = tokio::select! {
            signal = signals.next() => match signal {
                SignalAction::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    manager::stopping();
                    return;
                }
                SignalAction::Reload => None,
            },
            due = gateway.handover_event() => Some(due),
        };
        match due {
            None => {
                manager::reloading();
                gateway.reload(by_signal()).await;
                manager::ready();
            }
            Some(due) => {
                if gateway.handle_handover(due).await == HandoverOutcome::HandedOver {
                    return;
                }
            }
        }
    }
}

/// The sender of a signal, whose identity the kernel does not report.
const fn by_signal() -> Caller {
    Caller {
        who: Actor::Gateway,
        through: Channel::Signal,
    }
}

/// The action of a signal.
enum SignalAction {
    /// SIGTERM or SIGINT: its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that the process handles.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
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
    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.term.recv() => SignalAction::Stop("SIGTERM"),
            _ = self.int.recv() => SignalAction::Stop("SIGINT"),
            _ = self.hup.recv() => SignalAction::Reload,
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
