//! The administration API of a running gateway, over HTTP; `docs/openapi.json` has every path.
//!
//! Two listeners: TCP with metrics and health, without authentication; and a unix socket in the state directory, for its owner
//! alone, with key management. With one of `[admin] tokens`, a caller over TCP may do what the owner may.

mod api_error;
mod caller;
mod error;
mod extract;
#[expect(
    clippy::large_stack_frames,
    reason = "what describes them for OpenAPI is generated, and runs when somebody asks for it"
)]
mod handlers;
mod health;
mod http_server;
mod json;
mod openapi;
mod reload;
mod routes;
mod shared;
mod slots;
mod socket;
mod tokens;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dataplane;
use crate::disk::OwnedFile;
use crate::metrics::PrometheusHandle;
use crate::rotation::Rotation;

pub use api_error::ApiError;
pub use error::StartError;
pub use health::Health;
pub use reload::{Reload, ReloadFuture};
pub(crate) use slots::{ConnectionSlot, ConnectionSlots};
pub use tokens::{MIN_LEN as MIN_TOKEN_LEN, Token, TokenError};

use http_server::Timeouts;
use shared::Shared;
use tokens::Tokens;

/// How long requests that have begun may take once the gateway stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The section `[admin]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Metrics and health over TCP; `None`: not served. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// The unix socket.
    pub socket: PathBuf,
    /// Bearer tokens that allow key management over TCP; empty: TCP has metrics and health only.
    pub tokens: Vec<Token>,
}

/// What the handlers answer from.
pub struct Dependencies {
    /// The key service; `None` when the gateway relays only.
    pub rotation: Option<Rotation>,
    /// Renders the Prometheus page.
    pub metrics: PrometheusHandle,
    /// Readiness.
    pub health: Health,
    /// Reloads the configuration; `None`: a reload is refused.
    pub reload: Option<Box<dyn Reload>>,
}

/// The running listeners of the administration API.
pub struct AdminServer {
    addr: Option<SocketAddr>,
    socket: PathBuf,
    owned_socket: OwnedFile,
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
    listeners: JoinSet<()>,
    /// A second handle of the TCP socket, to be handed over to the next process.
    tcp_listener: Option<TcpListener>,
}

/// Starts both listeners; `inherited` is a TCP socket that listens already. Call within a tokio runtime, holding the lock of the
/// state directory: a stale unix socket is replaced.
///
/// # Errors
/// [`StartError`]; neither listener is open then.
pub fn serve(
    config: &AdminConfig,
    dependencies: Dependencies,
    inherited: Option<TcpListener>,
) -> Result<AdminServer, StartError> {
    let tokens = Arc::new(Tokens::read(&config.tokens)?);
    let tcp_listener = config.listen.map(|addr| match inherited {
        Some(listener) => Ok(listener),
        None => dataplane::bind(addr).map_err(|e| failed(addr, e)),
    });
    let tcp_listener = tcp_listener.transpose()?;
    let tcp = config.listen.zip(tcp_listener.as_ref());
    let tcp = tcp.map(|(addr, listener)| tokio_listener(listener).map_err(|e| failed(addr, e)));
    let tcp = tcp.transpose()?;
    let addr = tcp.as_ref().map(|(addr, _listener)| *addr);
    let unix = socket::OwnerListener::bind(&config.socket)?;
    let shared = Arc::new(Shared {
        rotation: ArcSwapOption::from_pointee(dependencies.rotation),
        reload: ArcSwapOption::from_pointee(dependencies.reload),
        metrics: dependencies.metrics,
        health: dependencies.health,
    });
    let (closing, timeouts) = (watch::Sender::new(false), Timeouts::default());
    let mut listeners = JoinSet::new();
    if let Some((_addr, listener)) = tcp {
        let routes = (routes::tcp(&shared, &tokens), timeouts);
        listeners.spawn(http_server::serve(listener, routes, closing.subscribe()));
    }
    let routes = (routes::unix(&shared), timeouts);
    listeners.spawn(http_server::serve(unix, routes, closing.subscribe()));
    Ok(AdminServer {
        addr,
        owned_socket: OwnedFile::new(&config.socket),
        socket: config.socket.clone(),
        shared,
        closing,
        listeners,
        tcp_listener,
    })
}

/// Checks the configuration without opening anything: unusable tokens, and a path where no unix socket can be created. The state
/// directory `state` need not exist yet.
#[must_use]
pub fn examine(config: &AdminConfig, state: &Path) -> Vec<StartError> {
    let (_known, wrong) = Tokens::sort(&config.tokens);
    let wrong = wrong.into_iter().map(StartError::from);
    let socket = socket::examine(&config.socket, state);
    wrong.chain(socket.err()).collect()
}

impl AdminServer {
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

    /// Closes both listeners, waits for requests in progress, and drops the handle of rotation.
    pub async fn stop(self) {
        drop(self.hand_over().await);
    }

    /// Stops, but keeps the TCP socket listening: connections queue until the next process accepts them.
    pub async fn hand_over(mut self) -> Option<TcpListener> {
        self.closing.send_replace(true);
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::debug!("an administrative connection did not end in time");
        }
        self.shared.rotation.store(None);
        self.shared.reload.store(None);
        // Commands that look for a running gateway find none.
        self.owned_socket.remove();
        self.tcp_listener.take()
    }
}

/// A tokio listener on a clone of the socket, and its local address.
fn tokio_listener(listener: &TcpListener) -> io::Result<(SocketAddr, tokio::net::TcpListener)> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok((listener.local_addr()?, listener))
}

const fn failed(addr: SocketAddr, source: io::Error) -> StartError {
    StartError::Listen { addr, source }
}
