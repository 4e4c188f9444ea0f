//! The state behind the handlers.

use arc_swap::ArcSwapOption;

use crate::metrics::PrometheusHandle;
use crate::rotation::Rotation;

use super::health::Health;
use super::reload::Reload;

/// The state of all handlers. `rotation` can be cleared: the rotation thread ends only when nobody holds a handle.
pub(super) struct Shared {
    pub(super) rotation: ArcSwapOption<Rotation>,
    pub(super) reload: ArcSwapOption<Box<dyn Reload>>,
    pub(super) metrics: PrometheusHandle,
    pub(super) health: Health,
}
