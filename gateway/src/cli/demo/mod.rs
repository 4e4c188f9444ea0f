//! `keyway demo`: a NATS server, a gateway and agents, side by side with what subscribers on the server itself see.
//!
//! Everything is real: a `nats-server`, the gateway with its embedded defaults (but for a low rotation threshold), ordinary
//! clients, and an outsider that bypasses the gateway. The summary has measured numbers. `scenario` is the script, `screen` and
//! `layout` draw.

mod agent;
mod bus;
mod keys;
mod layout;
mod notes;
mod observer;
mod participants;
mod scenario;
mod screen;
mod summary;

use std::path::Path;

use tempfile::TempDir;

use crate::app::{Gateway, StartOptions};
use crate::clock::Clock;
use crate::config::{self, Environment, GatewayConfig};
use crate::metrics::{self, PrometheusHandle};

use super::args::Demo;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::Output;
use super::run::Signals;
use super::runtime::block_on;

use bus::Bus;
use screen::Screen;
use summary::Totals;

pub(super) fn run(args: &Demo, out: Output) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("keyway-demo-")
        .tempdir()
        .map_err(|error| {
            let what = format!("cannot make a temporary directory: {error}");
            Failure::new(Exit::Operator, what, "name a writable one in TMPDIR")
        })?;
    let shown = block_on(Box::pin(run_with_bus(args, &folder, Screen::new(out))));
    let emptied = folder.close().map_err(|error| {
        let what = format!("a temporary directory stays behind: {error}");
        Failure::new(Exit::Operator, what, "remove it by hand")
    });
    shown.and(emptied)
}

/// Runs the demo with its own nats-server, which has ended when this returns.
async fn run_with_bus(args: &Demo, folder: &TempDir, mut screen: Screen) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let store = folder.path().join("bus");
    let mut bus = tokio::select! {
        bus = Bus::start(args.nats_server.as_deref(), &store) => bus?,
        () = signals.any() => return Err(Failure::silent(Exit::Interrupted)),
    };
    let addr = bus.addr();
    let shown = tokio::select! {
        shown = run_with_gateway(addr, folder.path(), metrics, (&mut screen, &mut signals)) => shown,
        () = bus.read_log() => Err(Failure::new(Exit::Unreachable, "the bus fell silent", "")),
    };
    bus.stop().await;
    let server = args.nats_server.as_deref();
    summary::print_summary(
        &mut screen,
        &shown?,
        server.unwrap_or_else(|| Path::new("nats-server")),
    )
}

/// Runs the demo with its own gateway, which no longer writes into the folder when this returns.
async fn run_with_gateway(
    bus: std::net::SocketAddr,
    folder: &Path,
    metrics: PrometheusHandle,
    (screen, signals): (&mut Screen, &mut Signals),
) -> Result<Totals, Failure> {
    let checked = configuration(bus, folder)?;
    let options = StartOptions::new(metrics.clone());
    let gateway =
        Gateway::start(&checked, options, &Clock::system()).map_err(|error| Failure::of(&error))?;
    let told = tokio::select! {
        told = Box::pin(scenario::run(bus, &gateway, &metrics, screen)) => told,
        () = signals.any() => Err(Failure::silent(Exit::Interrupted)),
    };
    gateway.stop(std::future::ready(())).await;
    told
}

/// The embedded defaults, on free ports and in a directory of its own, with a low rotation threshold.
fn configuration(bus: std::net::SocketAddr, folder: &Path) -> Result<GatewayConfig, Failure> {
    let state = folder.join("state");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nservers = [\"nats://{bus}\"]\nstate = {state:?}\n[admin]\nlisten = \"off\"\n"
    );
    let environment = Environment::from_process(&Clock::system());
    let checked = config::check_text("(demo)", &text, folder, &environment);
    checked
        .map(|(checked, _warnings)| soon_replaced(checked))
        .map_err(|errors| load::invalid(&errors))
}

/// Lowers the threshold, which is a billion messages by default.
fn soon_replaced(mut checked: GatewayConfig) -> GatewayConfig {
    for keyring in &mut checked.keyrings {
        keyring.terms.rotate.messages = keys::THRESHOLD;
    }
    checked
}
