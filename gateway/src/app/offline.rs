//! Commands on the state directory of a gateway that does not run: the same rotation driver, without traffic.

use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::rotation::{self, ProcessKind, Rotation, StartError};

use super::key_setup::{rotation_config, stores};
use super::state::OpenState;

/// Starts rotation, runs `order` with its handle, and stops rotation. Waits for the disk.
///
/// # Errors
/// [`StartError`].
pub async fn offline<T>(
    checked: &GatewayConfig,
    opened: OpenState,
    order: impl AsyncFnOnce(Rotation) -> T,
) -> Result<T, StartError> {
    let stores = stores(checked, opened, (ProcessKind::Command, Vec::new()))?;
    let (rotation, _keys, running) =
        rotation::start(rotation_config(checked), stores, Clock::system())?;
    let outcome = order(rotation).await;
    running.stop().await;
    Ok(outcome)
}
