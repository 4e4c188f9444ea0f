//! A person's or script's request to the running gateway.
//!
//! Two doors: TCP for metrics and health, which anybody may see who can reach the port; and a unix socket in the state
//! directory, for its owner alone, where keys can be listed and switched. Both speak HTTP.
//!
//! | path | TCP | unix socket |
//! |---|---|---|
//! | `GET /metrics` | Prometheus text | the same |
//! | `GET /healthz` | 200 while the process lives | the same |
//! | `GET /readyz` | 200, or 503 with reasons | the same |
//! | `GET /v1/status` | | what the gateway is and how it is |
//! | `GET /v1/keyrings` | | every keyring and its key versions |
//! | `POST /v1/keyrings/{name}/rotate` | | switch to a new key version now |

pub mod api;
mod error;
mod health;
mod problem;
mod routes;
mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::metrics::PrometheusHandle;
use crate::rotation::Rotation;

pub use error::StartError;
pub use health::Health;

/// How long requests that have begun may take once the gateway stops.
const GRACE: Duration = Duration::from_secs(2);

/// Where operators ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Metrics and health over TCP; `None`: not served. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// The unix socket.
    pub socket: PathBuf,
}

/// Whom the answers come from.
pub struct Sources {
    /// The keys; `None` when the gateway relays only.
    pub rotation: Option<Rotation>,
    /// The numbers.
    pub metrics: PrometheusHandle,
    /// How the gateway is.
    pub health: Health,
}

/// The running doors.
pub struct Running {
    addr: Option<SocketAddr>,
    socket: PathBuf,
    sources: Arc<Shared>,
    closing: watch::Sender<bool>,
    doors: JoinSet<()>,
}

/// What every request may ask. The way to the keys can be taken back: rotation ends only when nobody holds it.
struct Shared {
    rotation: ArcSwapOption<Rotation>,
    metrics: PrometheusHandle,
    health: Health,
}

/// Opens both doors. Call within a tokio runtime, holding the lock of the state directory: a socket that a dead gateway left is
/// replaced.
///
/// # Errors
/// [`StartError`]; neither door is open then.
pub fn serve(config: &Config, sources: Sources) -> Result<Running, StartError> {
    let tcp = config.listen.map(bind).transpose()?;
    let addr = tcp.as_ref().map(|(addr, _listener)| *addr);
    let unix = socket::Guarded::bind(&config.socket)?;
    let shared = Arc::new(Shared {
        rotation: ArcSwapOption::from_pointee(sources.rotation),
        metrics: sources.metrics,
        health: sources.health,
    });
    let closing = watch::Sender::new(false);
    let mut doors = JoinSet::new();
    if let Some((_addr, listener)) = tcp {
        let server = axum::serve(listener, routes::open(&shared));
        doors.spawn(run(server.with_graceful_shutdown(closed(&closing))));
    }
    let server = axum::serve(unix, routes::owner(&shared));
    doors.spawn(run(server.with_graceful_shutdown(closed(&closing))));
    Ok(Running {
        addr,
        socket: config.socket.clone(),
        sources: shared,
        closing,
        doors,
    })
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
    pub async fn stop(mut self) {
        self.closing.send_replace(true);
        let ended = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::debug!("an administrative connection did not end in time");
        }
        self.sources.rotation.store(None);
        socket::remove(&self.socket);
    }
}

fn bind(addr: SocketAddr) -> Result<(SocketAddr, tokio::net::TcpListener), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}

async fn run(server: impl IntoFuture<Output = std::io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, "an administrative listener ended");
    }
}

fn closed(closing: &watch::Sender<bool>) -> impl Future<Output = ()> + use<> {
    let mut closing = closing.subscribe();
    // A sender that is gone closes too.
    async move { drop(closing.wait_for(|closed| *closed).await) }
}
