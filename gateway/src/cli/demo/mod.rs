//! `keyway demo`: a NATS server, a gateway and agents, side by side with what subscribers on the server itself see.
//!
//! Everything is real: a `nats-server`, the gateway with its embedded defaults (but for a low rotation threshold), ordinary
//! clients, and an outsider that bypasses the gateway. The summary has measured numbers. `scenario` is the script, `screen` and
//! `layout` draw.

mod agent;
mod keys;
mod layout;
mod notes;
mod observer;
mod participants;
mod scenario;
mod screen;
mod summary;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use keyway_test_kit::{Process, nats_server};
use tokio::task::{JoinError, spawn_blocking};

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

use screen::Screen;
use summary::Totals;

pub(super) fn run(args: &Demo, out: Output) -> Result<(), Failure> {
    let folder = keyway_test_kit::folder("demo").map_err(|error| {
        let what = format!("cannot make a temporary directory: {}", error.cause);
        Failure::new(Exit::Operator, what, "name a writable one in TMPDIR")
    })?;
    let screen = Screen::new(out);
    let shown = block_on(Box::pin(run_with_bus(args, folder.path(), screen)));
    let emptied = folder.close().map_err(|error| {
        let what = format!("a temporary directory stays behind: {error}");
        Failure::new(Exit::Operator, what, "remove it by hand")
    });
    shown.and(emptied)
}

/// Runs the demo with its own nats-server, which has ended when this returns.
async fn run_with_bus(args: &Demo, folder: &Path, mut screen: Screen) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let metrics = metrics::install().map_err(|error| Failure::of(&error))?;
    let given = args.nats_server.clone();
    let program = given.unwrap_or_else(|| "nats-server".into());
    let (server, store) = (program.clone(), folder.join("bus"));
    let starting = spawn_blocking(move || start_server(&server, &store));
    let stuck = |error: JoinError| Failure::new(Exit::Failed, error.to_string(), "");
    let (server, addr) = tokio::select! {
        started = starting => started.map_err(stuck)??,
        () = signals.any() => return Err(Failure::silent(Exit::Interrupted)),
    };
    let shown = run_with_gateway(addr, folder, metrics, (&mut screen, &mut signals)).await;
    drop(server);
    summary::print_summary(&mut screen, &shown?, &program)
}

/// A server on a free port, which ends when the process is dropped.
fn start_server(program: &Path, store: &Path) -> Result<(Process, SocketAddr), Failure> {
    let mut command = Command::new(program);
    command.arg("--jetstream").arg("--store_dir").arg(store);
    nats_server::start(command, None).map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("cannot start {}: {}", program.display(), error.cause),
            "`make demo` fetches one; or name a nats-server of at least 2.12 with --nats-server",
        )
    })
}

/// Runs the demo with its own gateway, which no longer writes into the folder when this returns.
async fn run_with_gateway(
    bus: SocketAddr,
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
fn configuration(bus: SocketAddr, folder: &Path) -> Result<GatewayConfig, Failure> {
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
