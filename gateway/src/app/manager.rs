//! The service manager: socket activation and notifications (systemd's `sd_listen_fds(3)` and `sd_notify(3)`). No-op without one.

use std::io;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::admin::Health;
use crate::dataplane::{BoundBy, Inherited, ListenSocket, Liveness};
use crate::printable::Count;
use crate::rotation::{Overview, Rotation};

/// How often the status is sent, unless the watchdog needs it more often.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The listening sockets that the manager has passed. Call once, before any thread is started.
#[must_use]
pub fn inherited() -> Vec<Inherited> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        match take(&mut passed, index) {
            Ok(Some(socket)) => sockets.push(socket),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(index, %error, "a socket of the service manager is of no use: it is neither TCP nor a unix stream, or does not listen");
            }
        }
    }
    sockets
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Inherited>> {
    let socket = match passed.take_unix_listener(index) {
        Ok(listener) => listener.map(ListenSocket::Unix),
        Err(_another_kind) => passed.take_tcp_listener(index)?.map(ListenSocket::Tcp),
    };
    socket
        .map(|socket| Inherited::new(socket, BoundBy::Manager))
        .transpose()
}

/// `READY=1`: the gateway serves, or a reload is done.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// `READY=1` after a take-over: this process is the main one now.
pub fn ready_after_take_over() {
    notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// `RELOADING=1`: the configuration is read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of a reload"),
    }
}

/// `STOPPING=1`.
pub fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: connections are being drained"),
    ]);
}

fn notify(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Sends status and watchdog notifications.
pub(super) struct Reporter {
    pub(super) liveness: Liveness,
    pub(super) health: Health,
    /// `None` when the gateway relays only.
    pub(super) rotation: Option<Rotation>,
}

impl Reporter {
    /// Sends the status when it changes, and `WATCHDOG=1` only while every worker and rotation answer.
    pub(super) async fn run(self) {
        let watchdog = sd_notify::watchdog_enabled();
        if watchdog.is_none() && std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let mut pace = tokio::time::interval(
            watchdog
                .and_then(|limit| limit.checked_div(2))
                .map_or(STATUS_INTERVAL, |half| half.min(STATUS_INTERVAL)),
        );
        let mut told = String::new();
        loop {
            pace.tick().await;
            self.liveness.probe_workers().await;
            let status = self.status().await;
            let mut news = Vec::new();
            if watchdog.is_some() {
                news.push(NotifyState::Watchdog);
            }
            if status != told {
                news.push(NotifyState::Status(&status));
            }
            if !news.is_empty() {
                notify(&news);
            }
            told = status;
        }
    }

    /// The status in one line.
    async fn status(&self) -> String {
        let overview = match &self.rotation {
            Some(rotation) => rotation.overview().await,
            None => Overview::default(),
        };
        let readiness = self.health.readiness(&overview);
        let mut words = vec![Count(self.liveness.clients(), "client").to_string()];
        if readiness.ready && readiness.degraded.is_empty() {
            words.push("ready".to_owned());
        }
        words.extend(readiness.reasons);
        words.extend(readiness.degraded);
        words.join("; ").replace('\n', " ")
    }
}
