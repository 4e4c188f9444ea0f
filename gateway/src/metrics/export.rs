//! The Prometheus text page.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::names;
use crate::fault::{Fault, Faulty};

/// Bucket limits of the batch histogram, in seconds: 1 µs to 1 s.
const BATCH_BUCKETS: [f64; 13] = [
    1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0,
];

/// Bucket limits of a rotation's steps, in seconds: 1 ms, for a write to a good disk, to 30 days, for a long overlap.
const STEP_BUCKETS: [f64; 14] = [
    1e-3,
    3e-3,
    1e-2,
    3e-2,
    1e-1,
    3e-1,
    1.0,
    3.0,
    10.0,
    60.0,
    600.0,
    3600.0,
    86_400.0,
    2_592_000.0,
];

/// Bucket limits of a reservation, in seconds: one write.
const WRITE_BUCKETS: [f64; 9] = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0];

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot record metrics: {0}")]
pub struct InstallError(#[from] BuildError);

impl Faulty for InstallError {
    fn fault(&self) -> Fault {
        Fault::DEFECT
    }
}

/// Installs the process-wide recorder; [`PrometheusHandle::render`] renders the page.
///
/// # Errors
/// [`InstallError`] when a recorder is there already.
pub fn install() -> Result<PrometheusHandle, InstallError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full(names::BATCH_SECONDS.to_owned()),
            &BATCH_BUCKETS,
        )?
        .set_buckets_for_metric(Matcher::Full(names::STEP_SECONDS.to_owned()), &STEP_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Full(names::RESERVATION_SECONDS.to_owned()),
            &WRITE_BUCKETS,
        )?
        .install_recorder()?;
    names::describe();
    Ok(handle)
}

/// How often histogram samples are put into their buckets; without that they accumulate between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds the recorder's memory even when nothing scrapes. Runs until dropped.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        due.tick().await;
        handle.run_upkeep();
    }
}
