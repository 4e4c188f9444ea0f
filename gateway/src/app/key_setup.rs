//! Opens the keys of a gateway, and starts rotation.

use std::sync::Arc;

use super::error::StartError;
use super::ports;
use super::state::{self, OpenState};
use crate::catalogue::{CatalogueThread, View};
use crate::clock::Clock;
use crate::config::{GatewayConfig, settings};
use crate::custodian::Custodian;
use crate::fleet::SingleMember;
use crate::keyring::{Keys, Snapshot};
use crate::policy::Policy;
use crate::retention::{JetStream, NoInspector};
use crate::rotation::{self, DrainLink, ProcessKind, Rotation, Stores};

/// The handle to rotation and its thread; `None` when the gateway relays only.
pub(super) type StartedRotation = Option<(Rotation, rotation::Running)>;

/// Keys, rotation and custodian of a gateway that has opened its state directory.
pub(super) struct KeySetup {
    pub(super) keys: Arc<Keys>,
    pub(super) rotation: StartedRotation,
    pub(super) custodian: Option<Arc<dyn Custodian>>,
}

/// Opens the keys and starts rotation. A relay-only gateway touches neither KEK nor catalogue: it must start with these broken.
pub(super) fn open_keys(
    checked: &GatewayConfig,
    (custodian, drainers): (Option<Arc<dyn Custodian>>, Vec<DrainLink>),
    clock: &Clock,
) -> Result<KeySetup, StartError> {
    if checked.dataplane.relay_only {
        let nothing = Arc::new(Policy::nothing());
        let (keys, _nobody_misses) = Keys::new(Snapshot::new(nothing, Vec::new(), Vec::new(), 0));
        return Ok(KeySetup {
            keys: Arc::new(keys),
            rotation: None,
            custodian: None,
        });
    }
    let opened = match custodian {
        Some(custodian) => state::reopen(&checked.state, &custodian, (clock, None))?,
        None => state::open(&checked.state, &checked.custody, clock)?,
    };
    ports::remove(&checked.state);
    let custodian = opened.catalogue.custodian();
    let (rotation, keys, running) = rotation::start(
        rotation_config(checked),
        stores(checked, opened, (ProcessKind::Gateway, drainers))?,
        clock.clone(),
    )?;
    Ok(KeySetup {
        keys,
        rotation: Some((rotation, running)),
        custodian: Some(custodian),
    })
}

/// What rotation reads and writes, for a process of this kind: the one place that says which catalogue, inspector and fleet.
pub(super) fn stores(
    checked: &GatewayConfig,
    OpenState { catalogue, audit }: OpenState,
    (user, drainers): (ProcessKind, Vec<DrainLink>),
) -> Result<Stores, rotation::StartError> {
    let view = View::clone(&catalogue);
    let records = CatalogueThread::start(catalogue).map_err(rotation::StartError::Thread)?;
    Ok(Stores {
        view,
        records: Box::new(records),
        audit,
        inspector: match &checked.control {
            Some(control) => Box::new(JetStream::new(control.clone())),
            None => Box::new(NoInspector),
        },
        fleet: Box::new(SingleMember),
        drainers,
        user,
    })
}

/// Rotation's part of the configuration.
#[must_use]
pub fn rotation_config(checked: &GatewayConfig) -> rotation::RotationConfig {
    let terms = checked.keyrings.iter().map(|keyring| keyring.terms.clone());
    rotation::RotationConfig {
        policy: Arc::new(checked.policy.clone()),
        terms: terms.collect(),
        workers: checked.dataplane.worker_count(),
        settings: settings(checked),
    }
}
