//! Certificates and keys of TLS: loaded at the start, reloaded when their files change, exported as metrics, warned of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dataplane::{self, Tls};
use crate::metrics::{self, Side};
use crate::tls::{self, Acceptor, Changed, Dialer, Doubt, Live, Settings};

/// How often the files are checked for changes.
const LOOK: Duration = Duration::from_secs(5);

/// How often warnings about certificates are logged again.
const REMIND: Duration = Duration::from_hours(24);

/// TLS with clients and with servers.
pub(super) struct Certificates {
    tls: Tls,
    clock: Clock,
    meters: metrics::Certificates,
    told: Mutex<Told>,
}

/// What was logged already, so that it is not repeated.
#[derive(Default)]
struct Told {
    /// The last error of changed files, for clients and servers.
    wrong: [Option<String>; 2],
    /// When warnings were logged last.
    doubts: Option<Instant>,
}

/// What a reload of the files has done.
#[derive(Default)]
pub(super) struct Looked {
    /// Configuration keys whose files have changed and are in use now.
    pub(super) applied: Vec<String>,
    /// Errors of changed files that cannot be used.
    pub(super) wrong: Vec<String>,
}

/// Errors and warnings about the files that the configuration names. Blocks.
#[must_use]
pub(super) fn check_certificates(
    config: &dataplane::Config,
    clock: &Clock,
) -> (Vec<tls::Error>, Vec<Doubt>) {
    let (mut wrong, mut doubts) = (Vec::new(), Vec::new());
    match load(config.tls.as_ref(), clock) {
        Ok(clients) => doubts.extend(clients.iter().flat_map(Live::doubts)),
        Err(error) => wrong.push(error),
    }
    match load(config.server_tls.as_ref(), clock) {
        Ok(servers) => doubts.extend(servers.iter().flat_map(Live::doubts)),
        Err(error) => wrong.push(error),
    }
    (wrong, doubts)
}

impl Certificates {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// [`tls::Error`].
    pub(super) fn load(config: &dataplane::Config, clock: &Clock) -> Result<Self, tls::Error> {
        let clients: Option<Acceptor> = load(config.tls.as_ref(), clock)?;
        let servers: Option<Dialer> = load(config.server_tls.as_ref(), clock)?;
        let certificates = Self {
            tls: Tls {
                clients: clients.map(Arc::new),
                servers: servers.map(Arc::new),
            },
            clock: clock.clone(),
            meters: metrics::Certificates::default(),
            told: Mutex::default(),
        };
        certificates.measure();
        certificates.remind();
        Ok(certificates)
    }

    /// For the message path.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reads changed files again; those that cannot be used are logged, and the ones before stay in use. Blocks.
    pub(super) fn look(&self) -> Looked {
        let mut looked = Looked::default();
        if let Some(clients) = &self.tls.clients {
            self.follow(Side::Client, clients, &mut looked);
        }
        if let Some(servers) = &self.tls.servers {
            self.follow(Side::Server, servers, &mut looked);
        }
        self.measure();
        if !looked.applied.is_empty() {
            self.told().doubts = None;
        }
        self.remind();
        looked
    }

    /// Reloads changed files periodically. Runs until dropped.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut due = tokio::time::interval(LOOK);
        loop {
            due.tick().await;
            let certificates = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || certificates.look()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "certificates are not looked at");
            }
        }
    }

    fn follow<S: Settings>(&self, side: Side, live: &Live<S>, looked: &mut Looked) {
        let wrong = match live.reload() {
            Ok(Changed::Nothing) => None,
            Ok(Changed::Files(roles)) => {
                let files: Vec<_> = roles.iter().map(|role| role.word().to_owned()).collect();
                tracing::info!(?files, "new certificates are in use; connections go on");
                looked.applied.extend(files);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = &wrong {
            self.meters.reload_failed(side);
            looked.wrong.push(wrong.clone());
        }
        let mut told = self.told();
        let [client, server] = &mut told.wrong;
        let said = match side {
            Side::Client => client,
            Side::Server => server,
        };
        if let Some(error) = wrong.as_ref().filter(|_| *said != wrong) {
            tracing::error!(%error, "changed certificates cannot be used; those before stay in use");
        }
        *said = wrong;
    }

    fn measure(&self) {
        let clients = self.tls.clients.iter().flat_map(|live| live.expiries());
        let servers = self.tls.servers.iter().flat_map(|live| live.expiries());
        for (role, at) in clients.chain(servers) {
            self.meters.expires(role.word(), at);
        }
    }

    /// Logs warnings, once a day at most.
    fn remind(&self) {
        let now = self.clock.instant();
        let mut told = self.told();
        let due = |last: Instant| now.saturating_duration_since(last) >= REMIND;
        if !told.doubts.is_none_or(due) {
            return;
        }
        told.doubts = Some(now);
        let clients = self.tls.clients.iter().flat_map(|live| live.doubts());
        let servers = self.tls.servers.iter().flat_map(|live| live.doubts());
        for Doubt {
            role,
            message,
            help,
        } in clients.chain(servers)
        {
            tracing::warn!(key = role.word(), help, "{message}");
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load<S: Settings + Clone>(
    settings: Option<&S>,
    clock: &Clock,
) -> Result<Option<Live<S>>, tls::Error> {
    let settings = settings.cloned();
    settings
        .map(|settings| Live::load(settings, clock))
        .transpose()
}
