//! A run: every case, round by round, on every target.

use crate::error::RunError;
use crate::report::{Progress, Series, Table};
use crate::scenarios::Case;
use crate::targets::{Programs, Target, TargetKind};

/// What to run.
pub(crate) struct Plan {
    pub(crate) cases: Vec<Planned>,
    pub(crate) rounds: usize,
}

/// A case, and where.
pub(crate) struct Planned {
    pub(crate) case: Case,
    pub(crate) targets: Vec<TargetKind>,
}

/// Starts every target once; then for each case warms up, and in each round prepares, runs and measures target after target, with
/// another one first each time; compares at the end.
pub(crate) fn run(programs: &Programs, plan: &Plan) -> Result<Vec<Table>, RunError> {
    let targets = start(programs, plan)?;
    let mut progress = Progress::new(plan.steps());
    let mut tables = Vec::new();
    for Planned {
        case,
        targets: kinds,
    } in &plan.cases
    {
        let mut series = Series::new(case, kinds);
        let tenth = case.tenth();
        for target in in_turn(&targets, kinds, 0) {
            tenth.prepare(programs, target)?()?;
        }
        for round in 0..plan.rounds {
            for target in in_turn(&targets, kinds, round) {
                let name = format!("{}, {}", case.title(), target.kind.name());
                progress.step(&name);
                let costs = case
                    .prepare(programs, target)
                    .and_then(|ready| target.costs_of(|| target.during(ready)));
                let (played, costs) = costs.map_err(|failed| failed.of_round(name))?;
                series.add(target.kind, &played, &costs)?;
            }
        }
        tables.push(series.table(plan.rounds));
    }
    Ok(tables)
}

impl Plan {
    fn steps(&self) -> usize {
        let targets = self.cases.iter().map(|planned| planned.targets.len());
        targets.sum::<usize>() * self.rounds
    }
}

/// Starts every target that a case needs.
fn start(programs: &Programs, plan: &Plan) -> Result<Vec<Target>, RunError> {
    let needed = |kind: &TargetKind| {
        plan.cases
            .iter()
            .any(|planned| planned.targets.contains(kind))
    };
    let kinds = TargetKind::ALL.into_iter().filter(needed);
    kinds.map(|kind| Target::start(programs, kind)).collect()
}

/// The targets of a case, rotated each round, so that the order does not matter.
fn in_turn<'t>(targets: &'t [Target], kinds: &[TargetKind], round: usize) -> Vec<&'t Target> {
    let wanted = |target: &&Target| kinds.contains(&target.kind);
    let mut turns: Vec<&Target> = targets.iter().filter(wanted).collect();
    if !turns.is_empty() {
        let first = round % turns.len();
        turns.rotate_left(first);
    }
    turns
}
