//! Prometheus metrics.
//!
//! Names follow the Prometheus conventions: `keyway_` first, the unit spelled out, `_total` for counters. On the message path
//! each worker counts in plain cells ([`LocalCounter`]), which it adds to the shared counters once per batch: no message costs an
//! atomic read-modify-write.

mod export;
mod labels;
mod meter;
mod names;
mod rotation;
mod stopwatch;
mod throttle;
mod tls;

pub use export::{InstallError, install, upkeep};
pub use labels::{Cause, CauseTable, Direction, LaneSource, MissOutcome, Side, SideTable};
pub use meter::{
    Flow, KeyringMetrics, LocalCounter, WorkerMetrics, connections_refused, dials_failed,
    loads_on_demand, pending_waiting,
};
pub use metrics::{Counter, Gauge};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use names::describe;
pub use rotation::{
    ActiveKey, AuditLogState, KeyringKeyMetrics, MessagesAndBytes, RotationMetrics,
    RotationOutcome, RotationStep,
};
pub use stopwatch::{BatchStage, BatchStageTable, Stopwatch};
pub use throttle::Throttle;
pub use tls::{CertificateMetrics, HandshakeMetrics};
