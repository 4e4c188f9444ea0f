//! Certificates and keys of TLS: loaded at the start, reloaded when their files change, exported as metrics, warned of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dataplane::{self, Tls};
use crate::fault::{Failure, Faulty};
use crate::metrics::{self, Side};
use crate::tls::{self, Acceptor, Changed, Dialer, ReloadableConfig, Settings};

/// How often the files are checked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How often warnings about certificates are logged again.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// TLS with clients and with servers.
pub(super) struct Certificates {
    tls: Tls,
    clock: Clock,
    meters: metrics::CertificateMetrics,
    logged: Mutex<Logged>,
}

/// What was logged already, so that it is not repeated.
#[derive(Default)]
struct Logged {
    /// The last error of changed files, for clients and servers.
    wrong: [Option<Failure>; 2],
    /// When warnings were logged last.
    doubts: Option<Instant>,
}

/// What a reload of the files has done.
#[derive(Default)]
pub(super) struct ReloadedFiles {
    /// Configuration keys whose files have changed and are in use now.
    pub(super) applied: Vec<String>,
    /// Errors of changed files that cannot be used.
    pub(super) wrong: Vec<Failure>,
}

/// Errors and warnings about the files that the configuration names. Blocks.
#[must_use]
pub(super) fn check_certificates(
    config: &dataplane::Config,
    clock: &Clock,
) -> (Vec<tls::Error>, Vec<tls::Warning>) {
    let (mut wrong, mut doubts) = (Vec::new(), Vec::new());
    match load(config.tls.as_ref(), clock) {
        Ok(clients) => doubts.extend(clients.iter().flat_map(ReloadableConfig::warnings)),
        Err(error) => wrong.push(error),
    }
    match load(config.server_tls.as_ref(), clock) {
        Ok(servers) => doubts.extend(servers.iter().flat_map(ReloadableConfig::warnings)),
        Err(error) => wrong.push(error),
    }
    (wrong, doubts)
}

impl Certificates {
    /// Reads the files. Blocks.
    pub(super) fn load(config: &dataplane::Config, clock: &Clock) -> Result<Self, tls::Error> {
        let clients: Option<Acceptor> = load(config.tls.as_ref(), clock)?;
        let servers: Option<Dialer> = load(config.server_tls.as_ref(), clock)?;
        let certificates = Self {
            tls: Tls {
                clients: clients.map(Arc::new),
                servers: servers.map(Arc::new),
            },
            clock: clock.clone(),
            meters: metrics::CertificateMetrics::default(),
            logged: Mutex::default(),
        };
        certificates.export_expiries();
        certificates.log_warnings();
        Ok(certificates)
    }

    /// For the message path.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads changed files again; those that cannot be used are logged, and the ones before stay in use. Blocks.
    pub(super) fn reload(&self) -> ReloadedFiles {
        let mut reloaded = ReloadedFiles::default();
        if let Some(clients) = &self.tls.clients {
            self.reload_side(Side::Client, clients, &mut reloaded);
        }
        if let Some(servers) = &self.tls.servers {
            self.reload_side(Side::Server, servers, &mut reloaded);
        }
        self.export_expiries();
        if !reloaded.applied.is_empty() {
            self.logged().doubts = None;
        }
        self.log_warnings();
        reloaded
    }

    /// Reloads changed files periodically. Runs until dropped.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut due = tokio::time::interval(POLL_INTERVAL);
        loop {
            due.tick().await;
            let certificates = Arc::clone(&self);
            let reloaded = tokio::task::spawn_blocking(move || certificates.reload()).await;
            if let Err(error) = reloaded {
                tracing::error!(%error, "certificates are not looked at");
            }
        }
    }

    fn reload_side<S: Settings>(
        &self,
        side: Side,
        live: &ReloadableConfig<S>,
        reloaded: &mut ReloadedFiles,
    ) {
        let wrong = match live.reload() {
            Ok(Changed::Nothing) => None,
            Ok(Changed::Files(roles)) => {
                let files: Vec<_> = roles.iter().map(ToString::to_string).collect();
                tracing::info!(?files, "new certificates are in use; connections go on");
                reloaded.applied.extend(files);
                None
            }
            Err(error) => Some(Failure::of(&error)),
        };
        if let Some(wrong) = &wrong {
            self.meters.reload_failed(side);
            reloaded.wrong.push(wrong.clone());
        }
        let mut logged = self.logged();
        let [client, server] = &mut logged.wrong;
        let said = match side {
            Side::Client => client,
            Side::Server => server,
        };
        if let Some(error) = wrong.as_ref().filter(|_| *said != wrong) {
            tracing::error!(
                error = %error.with_help(),
                "changed certificates cannot be used; those before stay in use"
            );
        }
        *said = wrong;
    }

    fn export_expiries(&self) {
        let clients = self.tls.clients.iter().flat_map(|live| live.expiries());
        let servers = self.tls.servers.iter().flat_map(|live| live.expiries());
        for (role, at) in clients.chain(servers) {
            self.meters.expires(<&str>::from(role), at);
        }
    }

    /// Logs warnings, once a day at most.
    fn log_warnings(&self) {
        let now = self.clock.instant();
        let mut logged = self.logged();
        let due = |last: Instant| now.saturating_duration_since(last) >= WARNING_INTERVAL;
        if !logged.doubts.is_none_or(due) {
            return;
        }
        logged.doubts = Some(now);
        let clients = self.tls.clients.iter().flat_map(|live| live.warnings());
        let servers = self.tls.servers.iter().flat_map(|live| live.warnings());
        for tls::Warning {
            role,
            message,
            help,
        } in clients.chain(servers)
        {
            tracing::warn!(key = <&str>::from(role), help, "{message}");
        }
    }

    fn logged(&self) -> std::sync::MutexGuard<'_, Logged> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load<S: Settings + Clone>(
    settings: Option<&S>,
    clock: &Clock,
) -> Result<Option<ReloadableConfig<S>>, tls::Error> {
    let load = |settings: &S| ReloadableConfig::load(settings.clone(), clock);
    settings.map(load).transpose()
}
