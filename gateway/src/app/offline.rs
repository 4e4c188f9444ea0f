//! Commands on the state directory of a gateway that does not run: the same rotation driver, without traffic.

use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::retention::JetStream;
use crate::rotation::{self, ProcessKind, Rotation, StartError, Stores};

use super::{OpenState, rotation_config};

/// Starts rotation, runs `order` with its handle, and stops rotation. Waits for the disk.
///
/// # Errors
/// [`StartError`].
pub async fn offline<T>(
    checked: &GatewayConfig,
    opened: OpenState,
    order: impl AsyncFnOnce(Rotation) -> T,
) -> Result<T, StartError> {
    let stores = Stores {
        catalogue: opened.catalogue,
        audit: opened.audit,
        control: checked.control.clone().map(JetStream::new),
        drainers: Vec::new(),
        user: ProcessKind::Command,
    };
    let (rotation, _keys, running) =
        rotation::start(rotation_config(checked), stores, Clock::system())?;
    let outcome = order(rotation).await;
    running.stop().await;
    Ok(outcome)
}
