//! Commands on the state directory of a gateway that does not run: the same rotation driver, without traffic.

use crate::clock::Clock;
use crate::config::Checked;
use crate::control::Control;
use crate::rotation::{self, Rotation, StartError, Stores, User};

use super::{Opened, rotation_config};

/// Starts rotation, runs `order` with its handle, and stops rotation. Waits for the disk.
///
/// # Errors
/// [`StartError`].
pub async fn offline<T>(
    checked: &Checked,
    opened: Opened,
    order: impl AsyncFnOnce(Rotation) -> T,
) -> Result<T, StartError> {
    let stores = Stores {
        catalogue: opened.catalogue,
        audit: opened.audit,
        control: checked.control.clone().map(Control::new),
        drainers: Vec::new(),
        user: User::Command,
    };
    let (rotation, _keys, running) =
        rotation::start(rotation_config(checked), stores, Clock::system())?;
    let outcome = order(rotation).await;
    running.stop().await;
    Ok(outcome)
}
