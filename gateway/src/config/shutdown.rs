//! `[shutdown]`: how connections are drained when the gateway stops.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::value;
use crate::dataplane::Shutdown;

const HOUR: Duration = Duration::from_hours(1);

/// Reads `[shutdown]`.
pub(super) fn convert(section: &Section<'_>) -> Option<Shutdown> {
    let span = |name| section.one(name, |v| value::duration(v, Duration::ZERO, HOUR));
    let (grace, spread, drain) = (span("grace"), span("spread"), span("drain"));
    Some(Shutdown {
        grace: grace?,
        spread: spread?,
        drain: drain?,
    })
}
