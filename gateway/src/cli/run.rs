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
    block_on(serve((checked, args), source, inherited))
}

async fn serve(
    (checked, args): (GatewayConfig, &Run),
    source: ConfigSource,
    inherited: Vec<Inherited>,
) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut signals = Signals::listen()?;
    match process::raise_descriptor_limit() {
        Ok(descriptors) => tracing::debug!(descriptors, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors cannot be raised"),
    }
    let metrics = metrics::install()?;
    let mut options = StartOptions::new(metrics);
    options.config_source = Some(source);
    options.inherited = inherited;
    if args.take_over {
        tokio::select! {
            taken = Box::pin(take_over(checked.clone(), &mut options)) => taken?,
            () = signals.stop() => return Ok(()),
        }
    }
    let took_over = options.take_over.is_some();
    let mut gateway = Gateway::start(&checked, options, &Clock::system())?;
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
        let custodian = app::check_without_lock(&checked)?;
        Ok((custodian, app::take_over(&checked.state)?))
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
                Some(signal) => {
                    tracing::info!(signal, "stopping");
                    manager::stopping();
                    return;
                }
                None => None,
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

    /// Waits for the next signal: the name of one that stops the gateway, or `None` for SIGHUP, which has it reload.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.term.recv() => Some("SIGTERM"),
            _ = self.int.recv() => Some("SIGINT"),
            _ = self.hup.recv() => None,
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
        let _which = self.next().await;
    }
}
