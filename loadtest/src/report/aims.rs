//! The project's end-to-end performance aims, and whether a run reached them.

use std::io::{self, Write};

use serde::Serialize;

use super::figure::{Measure, Table};
use super::spread::Spread;
use crate::scenarios::Scenario;
use crate::targets::{Role, TargetKind};

/// One aim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) scenario: Scenario,
    pub(crate) size: usize,
    pub(crate) target: TargetKind,
    /// The base of the ratio; `None`: the figure itself counts.
    pub(crate) base: Option<TargetKind>,
    measure: Measure,
    bound: Bound,
}

/// A lower or upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// An aim, and the result of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AimResult {
    what: String,
    bound: Bound,
    /// The ratio of medians, or the median.
    measured: f64,
    /// The ratios within rounds, or the figures.
    spread: Spread,
    pub(crate) reached: bool,
}

/// All end-to-end aims.
pub(crate) const AIMS: &[Aim] = &[
    rate(16, TargetKind::Sealing, TargetKind::Haproxy, 0.9),
    rate(128, TargetKind::Sealing, TargetKind::Haproxy, 1.0),
    rate(1024, TargetKind::Sealing, TargetKind::Haproxy, 1.0),
    rate(16_384, TargetKind::Sealing, TargetKind::Haproxy, 1.0),
    rate(128, TargetKind::Sealing, TargetKind::NatsTls, 2.0),
    rate(1024, TargetKind::Sealing, TargetKind::NatsTls, 1.6),
    rate(16_384, TargetKind::Sealing, TargetKind::NatsTls, 2.0),
    rate(16, TargetKind::Relay, TargetKind::Haproxy, 1.1),
    rate(128, TargetKind::Relay, TargetKind::Haproxy, 1.1),
    rate(1024, TargetKind::Relay, TargetKind::Haproxy, 1.1),
    rate(16_384, TargetKind::Relay, TargetKind::Haproxy, 1.1),
    rate(128, TargetKind::Storm, TargetKind::Sealing, 0.98),
    Aim {
        scenario: Scenario::Pairs,
        ..rate(128, TargetKind::Sealing, TargetKind::Haproxy, 1.0)
    },
    time(
        Scenario::SteadyRequest,
        Measure::P50,
        TargetKind::Haproxy,
        1.0,
    ),
    time(
        Scenario::SteadyRequest,
        Measure::P99,
        TargetKind::Haproxy,
        1.05,
    ),
    Aim {
        target: TargetKind::Storm,
        ..time(Scenario::Steady, Measure::P999, TargetKind::Sealing, 1.1)
    },
    Aim {
        scenario: Scenario::Idle,
        size: 128,
        target: TargetKind::Sealing,
        base: None,
        measure: Measure::Held(Role::Gateway),
        bound: Bound::AtMost(16.0),
    },
];

const fn rate(size: usize, target: TargetKind, base: TargetKind, at_least: f64) -> Aim {
    Aim {
        scenario: Scenario::Pubsub,
        size,
        target,
        base: Some(base),
        measure: Measure::Rate,
        bound: Bound::AtLeast(at_least),
    }
}

const fn time(scenario: Scenario, measure: Measure, base: TargetKind, at_most: f64) -> Aim {
    Aim {
        scenario,
        size: 128,
        target: TargetKind::Sealing,
        base: Some(base),
        measure,
        bound: Bound::AtMost(at_most),
    }
}

/// Every aim for which these tables have figures.
pub(crate) fn judge(tables: &[Table]) -> Vec<AimResult> {
    AIMS.iter().filter_map(|aim| aim.judge(tables)).collect()
}

impl Aim {
    fn judge(&self, tables: &[Table]) -> Option<AimResult> {
        let of =
            |table: &&Table| table.case.scenario == self.scenario && table.case.size == self.size;
        let table = tables.iter().find(of)?;
        let figure = table.figure(self.target, self.measure)?;
        let (measured, spread) = match self.base {
            None => (figure.spread.median, figure.spread),
            Some(base) => {
                let ratio = figure.of(base)?;
                (ratio.of_medians, ratio.within_rounds)
            }
        };
        let reached = match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        };
        Some(AimResult {
            what: self.words(table),
            bound: self.bound,
            measured,
            spread,
            reached,
        })
    }

    fn words(&self, table: &Table) -> String {
        let (title, target) = (&table.title, self.target.name());
        let (name, unit) = (self.measure.name(), self.measure.unit());
        match self.base {
            Some(base) => format!("{title}, {name}: {target} of {}", base.name()),
            None => format!("{title}, {name}: {target}, {unit}"),
        }
    }
}

impl AimResult {
    /// Its columns: figure, aim, measured, spread, verdict.
    pub(super) fn cells(&self) -> [String; 5] {
        let bound = match self.bound {
            Bound::AtLeast(bound) => format!("at least {bound:.2}"),
            Bound::AtMost(bound) => format!("at most {bound:.2}"),
        };
        let Spread { median, low, high } = self.spread;
        [
            self.what.clone(),
            bound,
            format!("{:.2}", self.measured),
            format!("{median:.2} ({low:.2} to {high:.2})"),
            if self.reached { "reached" } else { "MISSED" }.to_owned(),
        ]
    }
}

/// For people.
pub(super) fn print(out: &mut impl Write, aims: &[AimResult]) -> io::Result<()> {
    if aims.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<52}{:>16}{:>12}{:>26}  verdict",
        "aims", "", "of medians", "within rounds"
    )?;
    for judged in aims {
        let [what, bound, measured, spread, verdict] = judged.cells();
        writeln!(
            out,
            "{what:<52}{bound:>16}{measured:>12}{spread:>26}  {verdict}"
        )?;
    }
    Ok(())
}
