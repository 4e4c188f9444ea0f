//! Figures: measurements of one target in each round, and ratios to the other targets of the same run.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::spread::{Spread, float, ratio};
use crate::error::RunError;
use crate::load::Times;
use crate::scenarios::{Case, RoundResult, Scenario};
use crate::targets::{Cost, Role, TargetKind};

/// The quantiles that an HTML page draws.
const PARTS: [f64; 9] = [0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];

/// What a figure measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Messages, answers or connections a second.
    Rate,
    /// Median latency in microseconds.
    P50,
    P90,
    P99,
    /// The 99.9th percentile.
    P999,
    Longest,
    /// Seconds of CPU per million messages.
    Cpu(Role),
    /// Peak resident memory, in MiB.
    Peak(Role),
    /// Resident KiB per connection.
    Held(Role),
}

/// One measure of one target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) measure: Measure,
    pub(crate) unit: &'static str,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
    /// Ratios to the bases.
    pub(crate) against: Vec<TargetRatio>,
}

/// A ratio to another target.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TargetRatio {
    pub(crate) base: TargetKind,
    /// Of the medians over all rounds.
    pub(crate) of_medians: f64,
    /// Of the two in each round.
    pub(crate) within_rounds: Spread,
}

/// A target in one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) target: TargetKind,
    pub(crate) figures: Vec<Figure>,
    /// Quantiles and latencies in microseconds, of all rounds together.
    pub(crate) percentiles: Vec<(f64, f64)>,
}

/// A case and its results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) case: Case,
    pub(crate) title: String,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
}

/// A case while it is measured.
pub(crate) struct Series {
    case: Case,
    targets: Vec<Collected>,
}

struct Collected {
    kind: TargetKind,
    rounds: BTreeMap<Measure, Vec<f64>>,
    times: Option<Times>,
}

impl Measure {
    /// Its name in JSON and CSV.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Rate => "rate".to_owned(),
            Self::P50 => "p50".to_owned(),
            Self::P90 => "p90".to_owned(),
            Self::P99 => "p99".to_owned(),
            Self::P999 => "p99.9".to_owned(),
            Self::Longest => "longest".to_owned(),
            Self::Cpu(role) => format!("cpu of {}", role.name()),
            Self::Peak(role) => format!("peak memory of {}", role.name()),
            Self::Held(role) => format!("memory of {}", role.name()),
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "1/s",
            Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Longest => "us",
            Self::Cpu(_) => "s/million",
            Self::Peak(_) => "MiB",
            Self::Held(_) => "KiB/connection",
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl Series {
    pub(crate) fn new(case: &Case, targets: &[TargetKind]) -> Self {
        let none = |kind: &TargetKind| Collected {
            kind: *kind,
            rounds: BTreeMap::new(),
            times: None,
        };
        Self {
            case: case.clone(),
            targets: targets.iter().map(none).collect(),
        }
    }

    /// Adds one round of one target.
    pub(crate) fn add(
        &mut self,
        kind: TargetKind,
        played: &RoundResult,
        costs: &[Cost],
    ) -> Result<(), RunError> {
        let mut targets = self.targets.iter_mut();
        let Some(target) = targets.find(|target| target.kind == kind) else {
            return Ok(());
        };
        for (role, bytes) in &played.held {
            target.push(Measure::Held(*role), bytes / 1024.0);
        }
        if self.case.scenario == Scenario::Idle {
            return Ok(());
        }
        let count = float(played.moved.count);
        target.push(Measure::Rate, count / played.moved.took.as_secs_f64());
        for cost in costs {
            target.push(
                Measure::Cpu(cost.role),
                cost.cpu.as_secs_f64() * 1e6 / count,
            );
            if let Some(peak) = cost.peak {
                target.push(Measure::Peak(cost.role), float(peak) / 1_048_576.0);
            }
        }
        match &played.moved.times {
            Some(times) => target.take(times),
            None => Ok(()),
        }
    }

    pub(crate) fn table(&self, rounds: usize) -> Table {
        Table {
            case: self.case.clone(),
            title: self.case.title(),
            rounds,
            rows: self.targets.iter().map(|target| self.row(target)).collect(),
        }
    }

    fn row(&self, target: &Collected) -> Row {
        let figure = |(measure, rounds): (&Measure, &Vec<f64>)| Figure {
            measure: *measure,
            unit: measure.unit(),
            spread: Spread::of(rounds.iter().copied()),
            against: self.against(target.kind, *measure, rounds),
            rounds: rounds.clone(),
        };
        let times = target.times.iter();
        let percentiles = times.flat_map(|times| PARTS.map(|part| (part, times.micros(part))));
        Row {
            target: target.kind,
            figures: target.rounds.iter().map(figure).collect(),
            percentiles: percentiles.collect(),
        }
    }

    fn against(&self, kind: TargetKind, measure: Measure, rounds: &[f64]) -> Vec<TargetRatio> {
        let median = |rounds: &[f64]| Spread::of(rounds.iter().copied()).median;
        let bases = kind.bases();
        let others = self.targets.iter();
        let others = others.filter(|other| bases.contains(&other.kind));
        let of = |other: &Collected| {
            let base = other.rounds.get(&measure)?;
            (median(base) > 0.0).then(|| TargetRatio {
                base: other.kind,
                of_medians: median(rounds) / median(base),
                within_rounds: ratio(rounds, base),
            })
        };
        others.filter_map(of).collect()
    }
}

impl Collected {
    fn push(&mut self, measure: Measure, value: f64) {
        self.rounds.entry(measure).or_default().push(value);
    }

    fn take(&mut self, times: &Times) -> Result<(), RunError> {
        let parts = [
            (Measure::P50, 0.5),
            (Measure::P90, 0.9),
            (Measure::P99, 0.99),
            (Measure::P999, 0.999),
        ];
        for (measure, part) in parts {
            self.push(measure, times.micros(part));
        }
        self.push(Measure::Longest, times.longest());
        match &mut self.times {
            Some(all) => all.add(times),
            none => {
                *none = Some(times.clone());
                Ok(())
            }
        }
    }
}

impl Table {
    /// The figure of a target.
    pub(crate) fn figure(&self, target: TargetKind, measure: Measure) -> Option<&Figure> {
        let row = self.rows.iter().find(|row| row.target == target)?;
        row.figure(measure)
    }
}

impl Row {
    pub(crate) fn figure(&self, measure: Measure) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.measure == measure)
    }
}

impl TargetRatio {
    /// The ratio of medians; in brackets the lowest and the highest within a round.
    pub(crate) fn words(self) -> String {
        let Spread { low, high, .. } = self.within_rounds;
        format!("{:.2} ({low:.2} to {high:.2})", self.of_medians)
    }
}

impl Figure {
    /// The ratio to another target.
    pub(crate) fn of(&self, base: TargetKind) -> Option<TargetRatio> {
        self.against
            .iter()
            .find(|ratio| ratio.base == base)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LoadResult;
    use crate::report::show;
    use crate::scenarios::Overrides;
    use std::time::Duration;

    #[test]
    fn ratios_are_of_medians_and_of_each_round_with_its_own() {
        let case = Case::new(Scenario::Pubsub, 128, &Overrides::default());
        let mut series = Series::new(&case, &[TargetKind::Haproxy, TargetKind::Sealing]);
        let rounds = [
            (TargetKind::Haproxy, [100, 200, 400]),
            (TargetKind::Sealing, [100, 100, 100]),
        ];
        for (kind, counts) in rounds {
            for count in counts {
                let moved = LoadResult {
                    count,
                    took: Duration::from_secs(1),
                    times: None,
                };
                series.add(kind, &moved.into(), &[]).unwrap();
            }
        }
        let table = series.table(3);
        let figure = table.figure(TargetKind::Sealing, Measure::Rate).unwrap();
        let ratio = figure.of(TargetKind::Haproxy).unwrap();
        assert!((ratio.of_medians - 0.5).abs() < 1e-9);
        assert_eq!(show(ratio.within_rounds, 2), "0.50 (0.25 to 1.00)");
    }
}
