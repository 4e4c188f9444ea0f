//! Tables for people.

use std::io::{self, Write};

use super::figure::{Figure, Measure, Row, Table, TargetRatio};
use super::spread::{scaled, show};
use crate::scenarios::Scenario;
use crate::targets::{Role, TargetKind};

/// The targets that have a column of ratios, where they are in the run.
const BASES: [TargetKind; 3] = [TargetKind::Bare, TargetKind::Haproxy, TargetKind::NatsTls];

/// Characters for the names of targets.
const NAMES: usize = 16;

/// One case: a line for each target.
pub(super) fn print(out: &mut impl Write, table: &Table) -> io::Result<()> {
    writeln!(
        out,
        "\n{}: {}; {} rounds: median (lowest to highest round)",
        table.title,
        table.case.words(),
        table.rounds
    )?;
    if table.case.scenario == Scenario::Idle {
        return held(out, table);
    }
    rates(out, table)?;
    times(out, table)?;
    costs(out, table)
}

fn rates(out: &mut impl Write, table: &Table) -> io::Result<()> {
    let bases = bases(table);
    write!(out, "{:<NAMES$}{:>28}", "", "thousand a second")?;
    for base in &bases {
        write!(out, "{:>24}", format!("of {}", base.name()))?;
    }
    writeln!(out)?;
    for row in &table.rows {
        let Some(rate) = row.figure(Measure::Rate) else {
            continue;
        };
        let thousands = scaled(rate.spread, 1e-3);
        let digits = if thousands.median < 100.0 { 2 } else { 0 };
        write!(
            out,
            "{:<NAMES$}{:>28}",
            row.target.name(),
            show(thousands, digits)
        )?;
        for base in &bases {
            write!(out, "{:>24}", against(rate, *base))?;
        }
        writeln!(out)?;
    }
    similar_targets(out, table, &[Measure::Rate])
}

fn times(out: &mut impl Write, table: &Table) -> io::Result<()> {
    let measures = [Measure::P50, Measure::P99, Measure::P999];
    let timed = |row: &&Row| row.figure(Measure::P50).is_some();
    if !table.rows.iter().any(|row| timed(&row)) {
        return Ok(());
    }
    write!(out, "{:<NAMES$}", "")?;
    for measure in measures {
        write!(out, "{:>30}", format!("{}, us", measure.name()))?;
    }
    writeln!(out, "{:>14}", "longest, us")?;
    for row in table.rows.iter().filter(timed) {
        write!(out, "{:<NAMES$}", row.target.name())?;
        for measure in measures {
            let shown = row.figure(measure).map(|figure| show(figure.spread, 0));
            write!(out, "{:>30}", shown.unwrap_or_default())?;
        }
        let longest = row.figure(Measure::Longest);
        let longest = longest.map_or(0.0, |figure| figure.spread.high);
        writeln!(out, "{longest:>14.0}")?;
    }
    for target in [
        TargetKind::NatsTls,
        TargetKind::Relay,
        TargetKind::Sealing,
        TargetKind::Chain,
    ] {
        ratios(out, table, target, TargetKind::Haproxy, &measures)?;
    }
    similar_targets(out, table, &measures)
}

/// Each gateway compared with the target that differs from it in a single thing.
fn similar_targets(out: &mut impl Write, table: &Table, measures: &[Measure]) -> io::Result<()> {
    let twins = [
        (TargetKind::Relay, TargetKind::RelayBefore),
        (TargetKind::Sealing, TargetKind::SealingBefore),
        (TargetKind::Storm, TargetKind::Sealing),
    ];
    twins
        .into_iter()
        .try_for_each(|(target, base)| ratios(out, table, target, base, measures))
}

/// The ratios of one target to another, where both are in the run.
fn ratios(
    out: &mut impl Write,
    table: &Table,
    target: TargetKind,
    base: TargetKind,
    measures: &[Measure],
) -> io::Result<()> {
    let figures = measures
        .iter()
        .filter_map(|measure| Some((measure, table.figure(target, *measure)?.of(base)?)));
    let shown: Vec<String> = figures
        .map(|(measure, ratio)| format!("{} {}", measure.name(), ratio.words()))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let (target, base) = (target.name(), base.name());
    writeln!(
        out,
        "{:<NAMES$}{target} of {base}: {}",
        "",
        shown.join(", ")
    )
}

fn costs(out: &mut impl Write, table: &Table) -> io::Result<()> {
    writeln!(
        out,
        "{:<NAMES$}CPU seconds per million; peak memory in MiB: medians",
        ""
    )?;
    for row in &table.rows {
        write!(out, "{:<NAMES$}", row.target.name())?;
        for role in Role::ALL {
            let median = |measure| row.figure(measure).map(|figure| figure.spread.median);
            if let Some(cpu) = median(Measure::Cpu(role)) {
                let peak = median(Measure::Peak(role));
                let peak = peak.map_or_else(String::new, |peak| format!("; {peak:.0}"));
                write!(out, "{} {cpu:.2}{peak}   ", role.name())?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn held(out: &mut impl Write, table: &Table) -> io::Result<()> {
    for row in &table.rows {
        write!(
            out,
            "{:<NAMES$}resident KiB per connection: ",
            row.target.name()
        )?;
        for role in Role::ALL {
            if let Some(figure) = row.figure(Measure::Held(role)) {
                write!(out, "{} {}   ", role.name(), show(figure.spread, 2))?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Those of this table.
fn bases(table: &Table) -> Vec<TargetKind> {
    let there = |base: &TargetKind| table.rows.iter().any(|row| row.target == *base);
    BASES.into_iter().filter(there).collect()
}

fn against(figure: &Figure, base: TargetKind) -> String {
    figure.of(base).map_or_else(String::new, TargetRatio::words)
}
