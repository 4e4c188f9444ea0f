//! Audit log entries of a relay-only gateway, where the log can be written.
//!
//! Such a gateway must start when keys, catalogue or log are broken, so that no error here keeps it from starting. It locks the
//! state directory only while it writes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{Fact, Log, Outcome, PendingEvent, Settings, Trigger, WriteFailed};
use crate::clock::Clock;
use crate::config::{GatewayConfig, settings};
use crate::disk::{Lock, Real, StateDir};
use crate::fault::{Fault, faults};
use crate::rotation::Reason;
use crate::rotation::protection::{self, weakened};

use super::audit::{self, AuditError};
use super::state::OpenError;

/// Why nothing was written to the audit log.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayAuditError {
    /// There is no audit log.
    #[error("there is no audit log in {}", .0.display())]
    NoLog(PathBuf),
    /// The state directory or the KEK cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] AuditError),
    /// A line could not be written.
    #[error(transparent)]
    Write(#[from] WriteFailed),
}

faults! { RelayAuditError {
    Self::NoLog(_) => Fault::operator("`keyway init` begins one"),
    Self::Open(error) => error.fault(),
    Self::Log(error) => error.fault(),
    Self::Write(error) => error.fault(),
} }

/// An open audit log in which the start of a relay-only gateway is announced.
pub(super) struct RelayAudit {
    log: Log,
    /// Released after the log is closed: fields drop in order.
    _lock: Lock,
    settings: Settings,
    weaker: Option<PendingEvent>,
    clock: Clock,
}

/// Writes which protections this start weakens, before it takes effect.
pub(super) fn log_relay_start(
    checked: &GatewayConfig,
    clock: &Clock,
) -> Result<Box<RelayAudit>, RelayAuditError> {
    let (lock, mut log) = open(checked, clock)?;
    let settings = settings(checked);
    // An older log may not name the policy in force: then the gateway is taken to have sealed.
    let old = log.last_policy().cloned().unwrap_or_else(|| {
        let mut sealing = settings.clone();
        sealing.set("relay-only", false);
        sealing
    });
    let changes = weakened(&old, &settings);
    let weaker = if changes.is_empty() {
        None
    } else {
        let reason = Reason::of_gateway(Trigger::Start, "the gateway is started to relay only");
        let act = protection::weaken_act(changes, &old, reason);
        Some(log.begin(act, audit::now(clock)?)?)
    };
    Ok(Box::new(RelayAudit {
        log,
        _lock: lock,
        settings,
        weaker,
        clock: clock.clone(),
    }))
}

/// Writes that the gateway has stopped.
pub(super) fn log_relay_stop(
    checked: &GatewayConfig,
    clock: &Clock,
) -> Result<(), RelayAuditError> {
    let (_lock, mut log) = open(checked, clock)?;
    Ok(log.note(Fact::GatewayStopped, audit::now(clock)?)?)
}

fn open(checked: &GatewayConfig, clock: &Clock) -> Result<(Lock, Log), RelayAuditError> {
    let dir = StateDir::open(&checked.state).map_err(OpenError::from)?;
    if audit::audit_verifier(dir.path()).is_err() {
        return Err(RelayAuditError::NoLog(dir.path().to_owned()));
    }
    let opener = checked.custody.opener().map_err(OpenError::from)?;
    let lock = Lock::acquire(dir.clone()).map_err(OpenError::from)?;
    let custodian = opener.open(&dir).map_err(OpenError::from)?;
    // The log exists, so that it needs no catalogue id: the catalogue's key may be what is broken.
    let log = audit::open(&dir, Arc::new(Real), &*custodian, ("", clock))?;
    Ok((lock, log))
}

impl RelayAudit {
    /// Writes that the gateway has started.
    pub(super) fn in_force(mut self: Box<Self>) -> Result<(), RelayAuditError> {
        let now = audit::now(&self.clock)?;
        let started = Fact::GatewayStarted {
            version: env!("CARGO_PKG_VERSION").into(),
            policy: Some(self.settings.in_force()),
        };
        self.log.note(started, now)?;
        if let Some(weaker) = self.weaker.take() {
            self.log.finish(weaker, &Outcome::Done, now)?;
        }
        Ok(())
    }
}
