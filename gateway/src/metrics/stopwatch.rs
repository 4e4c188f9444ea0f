//! How long a batch spends in each stage.

use std::time::{Duration, Instant};

use metrics::Histogram;
use strum::{EnumTable, IntoStaticStr, VariantArray};

use crate::clock::Clock;

/// One batch in this many is measured: reading the clock between stages costs as much as parsing.
const SAMPLE: u32 = 64;

/// A stage of a batch on the message path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum BatchStage {
    /// Parsing, and policy decisions.
    Parse,
    /// Sealing or opening, with the writing of the control line.
    Crypto,
    /// Writing the batch to the socket, including the wait for the peer.
    Write,
}

/// Times the batches of one direction of a session.
#[derive(Default)]
pub struct Stopwatch {
    batches: u32,
    running: Option<Running>,
}

struct Running {
    last: Instant,
    spent: BatchStageTable<Duration>,
}

impl Stopwatch {
    /// Begins a batch; every [`SAMPLE`]th is measured.
    pub fn start(&mut self, clock: &Clock) {
        self.batches = self.batches.wrapping_add(1);
        self.running = self.batches.is_multiple_of(SAMPLE).then(|| Running {
            last: clock.instant(),
            spent: BatchStageTable::default(),
        });
    }

    /// Adds the time since the last lap to `stage`.
    pub fn lap(&mut self, stage: BatchStage, clock: &Clock) {
        if let Some(running) = &mut self.running {
            let now = clock.instant();
            let spent = &mut running.spent[stage];
            *spent = spent.saturating_add(now.saturating_duration_since(running.last));
            running.last = now;
        }
    }

    /// Ends the batch and records its times.
    pub fn stop(&mut self, histograms: &BatchStageTable<Histogram>) {
        if let Some(running) = self.running.take() {
            for stage in BatchStage::VARIANTS {
                histograms[*stage].record(running.spent[*stage]);
            }
        }
    }
}
