//! Reads the configuration again without touching a connection.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use crate::admin::{ApiError, Reload, ReloadFuture};
use crate::audit::{Action, Change, Trigger};
use crate::config::schema::{self, TakesEffect};
use crate::config::{Checked, Errors, Finding, GatewayConfig, Keyring, settings};
use crate::fault::{Faulty, Who};
use crate::operations::{Caller, Mistake, Problem, Reloaded};
use crate::policy::KeyringName;
use crate::rotation::{self, Rotation};

use super::certificates::Certificates;
use super::key_setup::rotation_config;

/// Reads the configuration again, and applies its log level.
pub struct ConfigSource {
    /// Reads and checks it, as at the start. Blocks.
    pub read: Box<dyn Fn() -> Checked + Send + Sync>,
    /// Sets the log level.
    pub level: Box<dyn Fn(tracing::Level) + Send + Sync>,
}

/// Applies a changed configuration.
pub struct Reloader {
    source: ConfigSource,
    /// Empty when the gateway relays only, and while another process has the keys.
    rotation: ArcSwapOption<Rotation>,
    certificates: Arc<Certificates>,
    /// The configuration at the start, for keys that take a restart.
    started: GatewayConfig,
    /// The configuration as of the last reload, for keys that can change. Locked during a reload.
    current: Mutex<GatewayConfig>,
}

impl Reloader {
    /// For a gateway that was started with `checked`.
    pub(super) fn new(
        source: ConfigSource,
        certificates: Arc<Certificates>,
        checked: &GatewayConfig,
    ) -> Self {
        Self {
            source,
            rotation: ArcSwapOption::empty(),
            certificates,
            started: checked.clone(),
            current: Mutex::new(checked.clone()),
        }
    }

    /// Sets the rotation that reloads are applied to.
    pub(super) fn attach(&self, rotation: Option<Rotation>) {
        self.rotation.store(rotation.map(Arc::new));
    }

    /// The configuration in force.
    pub(super) async fn current(&self) -> GatewayConfig {
        self.current.lock().await.clone()
    }

    async fn run(&self, caller: Caller) -> Result<Reloaded, Problem> {
        let mut current = self.current.lock().await;
        let (read, warnings) = (self.source.read)().map_err(|errors| invalid(&errors))?;
        let next = keep_keyring_order(&current, read);
        let certificates = self.certificates.reload();
        let mut applied = changes(&current, &next);
        applied.extend(certificates.applied);
        let wrong = certificates.wrong.into_iter().map(|wrong| Mistake {
            help: wrong.fault.help().to_owned(),
            what: wrong.what,
        });
        let reloaded = Reloaded {
            applied,
            restart: self.started.restart_values.changed(&next.restart_values),
            warnings: warnings.iter().map(mistake).chain(wrong).collect(),
        };
        Box::pin(self.put_in_force(&next, &caller, &reloaded)).await?;
        (self.source.level)(next.log.level);
        *current = next;
        warnings.iter().for_each(warn_of);
        let Reloaded {
            applied, restart, ..
        } = &reloaded;
        tracing::info!(who = %caller.who, ?applied, ?restart, "configuration reloaded");
        Ok(reloaded)
    }

    /// Writes a failed reload to the audit log, as every refused order.
    async fn refused(&self, caller: &Caller, problem: &Problem) {
        let Some(rotation) = self.rotation.load_full() else {
            return;
        };
        let mistakes = problem.mistakes.iter().map(|mistake| mistake.what.as_str());
        let why: Vec<_> = std::iter::once(problem.error.as_str())
            .chain(mistakes)
            .collect();
        let because = caller.reason(Trigger::Manual, "the configuration is to be read again");
        let asked = (None, Action::Reload);
        rotation.refused(asked, because, why.join("; ")).await;
    }

    async fn put_in_force(
        &self,
        next: &GatewayConfig,
        caller: &Caller,
        reloaded: &Reloaded,
    ) -> Result<(), Problem> {
        let Some(rotation) = self.rotation.load_full() else {
            return Ok(());
        };
        let reload = rotation::Reload {
            what: audit_text(caller, reloaded),
            reason: caller.reason(Trigger::Manual, "the configuration was read again"),
        };
        let config = reloaded_config(&self.started, next);
        let done = rotation.reload(config, reload).await;
        done.map_err(|error| {
            tracing::error!(error = %error.with_help(), "the configuration is not reloaded");
            ApiError::of(&error).into_problem()
        })
    }
}

impl Reload for Arc<Reloader> {
    fn reload(&self, caller: Caller) -> ReloadFuture<'_> {
        Box::pin(async move {
            let done = self.run(caller.clone()).await;
            if let Err(problem) = &done {
                self.refused(&caller, problem).await;
            }
            done
        })
    }
}

/// Logs a finding of the configuration.
macro_rules! log_finding {
    ($level:ident, $finding:expr) => {
        let Finding {
            file,
            line,
            column,
            key,
            message,
            help,
        } = $finding;
        tracing::$level!(file, line, column, key, help, "{message}");
    };
}

/// Logs every error, and makes the caller's answer of them.
fn invalid(errors: &Errors) -> Problem {
    for mistake in errors.findings() {
        log_finding!(error, mistake);
    }
    Problem {
        error: "the configuration is not valid, and nothing has changed".to_owned(),
        help: "correct it, and look with `keyway check` before the next reload".to_owned(),
        who: <&str>::from(Who::Operator).to_owned(),
        mistakes: errors.findings().iter().map(mistake).collect(),
    }
}

fn mistake(finding: &Finding) -> Mistake {
    Mistake {
        what: finding.what(),
        help: finding.help.clone(),
    }
}

/// Logs a warning about the configuration.
pub fn warn_of(finding: &Finding) {
    log_finding!(warn, finding);
}

/// Orders keyrings as they were, new ones last: sessions and lanes refer to them by index.
fn keep_keyring_order(current: &GatewayConfig, mut next: GatewayConfig) -> GatewayConfig {
    let rules = current.policy.keyrings().iter();
    let places: Vec<&KeyringName> = rules.map(|rule| &rule.name).collect();
    next.policy = next.policy.reordered(&places);
    let place = |keyring: &Keyring| places.iter().position(|name| **name == keyring.name);
    next.keyrings
        .sort_by_key(|keyring| place(keyring).unwrap_or(usize::MAX));
    next
}

/// The changes that need no restart, one line for each key.
fn changes(current: &GatewayConfig, next: &GatewayConfig) -> Vec<String> {
    let mut changes = Vec::new();
    for rule in next.policy.keyrings() {
        if current.policy.by_name(rule.name.as_str()).is_none() {
            changes.push(format!("keyring `{}` is new", rule.name));
        }
    }
    let known = |change: &Change| {
        let mut new = next.policy.keyrings().iter().map(|rule| &rule.name);
        new.all(|name| {
            current.policy.by_name(name.as_str()).is_some()
                || !change.key.as_str().starts_with(&format!("keyring.{name}."))
        })
    };
    let told = settings(current).changes(&settings(next)).into_iter();
    let told = told.filter(|change| is_reloadable(change.key.as_str()) && known(change));
    changes.extend(told.map(|change| change.to_string()));
    if current.log.level != next.log.level {
        changes.push(format!("log.level: {}", next.log.level));
    }
    changes
}

/// Whether a reload takes a setting that has changed.
fn is_reloadable(setting: &str) -> bool {
    let key = schema::key_of_setting(setting);
    key.is_some_and(|key| key.takes_effect == TakesEffect::AtReload)
}

/// Rotation's configuration after a reload: keys that take a restart stay as at the start.
pub(super) fn reloaded_config(
    started: &GatewayConfig,
    current: &GatewayConfig,
) -> rotation::RotationConfig {
    let config = rotation_config(current);
    rotation::RotationConfig {
        settings: settings(started).with(&config.settings, is_reloadable),
        ..config
    }
}

/// The description of a reload in the audit log.
fn audit_text(caller: &Caller, reloaded: &Reloaded) -> String {
    let list = |items: &[String]| {
        if items.is_empty() {
            "nothing".to_owned()
        } else {
            items.join(", ")
        }
    };
    format!(
        "by {} through {}: {} changed; {} takes a restart",
        caller.who,
        caller.through,
        list(&reloaded.applied),
        list(&reloaded.restart)
    )
}
