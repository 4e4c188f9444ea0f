//! A person's or script's request to the running gateway.
//!
//! Two doors: TCP for metrics and health, which anybody may see who can reach the port; and a unix socket in the state
//! directory, for its owner alone, where keys are listed, switched and revoked. Whoever bears one of `[admin] tokens` may do over TCP
//! what the owner may. Both speak HTTP; `docs/openapi.json` has every path.

mod answer;
#[expect(
    clippy::large_stack_frames,
    reason = "what describes them for OpenAPI is generated, and runs when somebody asks for it"
)]
pub mod api;
mod asked;
mod asker;
mod desk;
mod door;
mod error;
#[expect(
    clippy::large_stack_frames,
    reason = "what describes them for OpenAPI is generated, and runs when somebody asks for it"
)]
mod handlers;
mod health;
mod openapi;
mod places;
mod problem;
mod reload;
mod routes;
mod socket;
mod tokens;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::dataplane;
use crate::disk::Own;
use crate::metrics::PrometheusHandle;
use crate::rotation::Rotation;

pub use asker::Asker;
pub use desk::{Change, Desk};
pub use error::StartError;
pub use health::Health;
pub(crate) use places::{Place, Places};
pub use problem::Refusal;
pub use reload::{Reload, Reloading};
pub use tokens::{MIN_LEN as SHORTEST_TOKEN, Token, TokenError};

use door::Patience;
use tokens::Tokens;

/// How long requests that have begun may take once the gateway stops.
const GRACE: Duration = Duration::from_secs(2);

/// Where operators ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Metrics and health over TCP; `None`: not served. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// The unix socket.
    pub socket: PathBuf,
    /// What opens TCP for more than metrics and health; none: nothing does.
    pub tokens: Vec<Token>,
}

/// Whom the answers come from.
pub struct Sources {
    /// The keys; `None` when the gateway relays only.
    pub rotation: Option<Rotation>,
    /// The numbers.
    pub metrics: PrometheusHandle,
    /// How the gateway is.
    pub health: Health,
    /// Whoever can read the configuration again; `None`: nobody.
    pub reload: Option<Box<dyn Reload>>,
    /// What time it is.
    pub clock: Clock,
}

/// The running doors.
pub struct Running {
    addr: Option<SocketAddr>,
    socket: PathBuf,
    made: Own,
    sources: Arc<Shared>,
    closing: watch::Sender<bool>,
    doors: JoinSet<()>,
    /// The TCP socket once more, for whoever comes after this process.
    again: Option<TcpListener>,
}

/// What every request may ask. The way to the keys can be taken back: rotation ends only when nobody holds it.
struct Shared {
    rotation: ArcSwapOption<Rotation>,
    reload: ArcSwapOption<Reloader>,
    metrics: PrometheusHandle,
    health: Health,
    clock: Clock,
}

/// Sized, so that it can be swapped out.
struct Reloader(Box<dyn Reload>);

/// Opens both doors; the TCP socket may be there already. Call within a tokio runtime, holding the lock of the state directory: a socket that a dead gateway left is
/// replaced.
///
/// # Errors
/// [`StartError`]; neither door is open then.
pub fn serve(
    config: &Config,
    sources: Sources,
    inherited: Option<TcpListener>,
) -> Result<Running, StartError> {
    let tokens = Arc::new(Tokens::read(&config.tokens)?);
    let (tcp, again) = match (config.listen, inherited) {
        (Some(addr), Some(listener)) => (Some(adopt(addr, &listener)?), Some(listener)),
        (Some(addr), None) => {
            let listener = dataplane::bind(addr).map_err(|e| failed(addr, e))?;
            (Some(adopt(addr, &listener)?), Some(listener))
        }
        (None, _) => (None, None),
    };
    let addr = tcp.as_ref().map(|(addr, _listener)| *addr);
    let unix = socket::Guarded::bind(&config.socket)?;
    let shared = Arc::new(Shared {
        rotation: ArcSwapOption::from_pointee(sources.rotation),
        reload: ArcSwapOption::from_pointee(sources.reload.map(Reloader)),
        metrics: sources.metrics,
        health: sources.health,
        clock: sources.clock,
    });
    let (closing, patience) = (watch::Sender::new(false), Patience::default());
    let mut doors = JoinSet::new();
    if let Some((_addr, listener)) = tcp {
        let routes = routes::tcp(&shared, &tokens);
        doors.spawn(door::serve(listener, routes, patience, closing.subscribe()));
    }
    let owner = routes::unix(&shared);
    doors.spawn(door::serve(unix, owner, patience, closing.subscribe()));
    Ok(Running {
        addr,
        made: Own::new(&config.socket),
        socket: config.socket.clone(),
        sources: shared,
        closing,
        doors,
        again,
    })
}

/// What can be said of it before anything is opened: tokens that cannot be used, and a socket that cannot be made where it is wanted. The
/// state directory may be yet to be made.
#[must_use]
pub fn examine(config: &Config, state: &Path) -> Vec<StartError> {
    let (_known, wrong) = Tokens::sort(&config.tokens);
    let wrong = wrong.into_iter().map(StartError::from);
    wrong
        .chain(socket::examine(&config.socket, state).err())
        .collect()
}

impl Running {
    /// Where metrics and health are served.
    #[must_use]
    pub const fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Closes both doors, lets requests that have begun finish, and lets go of the keys.
    pub async fn stop(self) {
        drop(self.hand_over().await);
    }

    /// The same, but for the TCP socket: whoever comes there waits for the next that serves it.
    pub async fn hand_over(mut self) -> Option<TcpListener> {
        self.closing.send_replace(true);
        let ended = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::debug!("an administrative connection did not end in time");
        }
        self.sources.rotation.store(None);
        self.sources.reload.store(None);
        // Whoever looks for a gateway finds none.
        self.made.remove();
        self.again.take()
    }
}

/// A listener of the runtime's for a socket that `addr` asked for; where it listens.
fn adopt(
    addr: SocketAddr,
    listener: &TcpListener,
) -> Result<(SocketAddr, tokio::net::TcpListener), StartError> {
    let listener = listener.try_clone().map_err(|e| failed(addr, e))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| failed(addr, e))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| failed(addr, e))?;
    let at = listener.local_addr().map_err(|e| failed(addr, e))?;
    Ok((at, listener))
}

const fn failed(addr: SocketAddr, source: std::io::Error) -> StartError {
    StartError::Listen { addr, source }
}
