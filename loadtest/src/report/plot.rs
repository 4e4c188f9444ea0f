//! SVG plots: bars with their spread, and latency curves.

use std::fmt::Write as _;

use super::figure::{Measure, Table};
use super::spread::float;
use crate::targets::TargetKind;

const WIDTH: f64 = 720.0;
/// The x range of bars.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 560.0;
const BAR: f64 = 22.0;
/// Height of the curves.
const HEIGHT: f64 = 240.0;

/// One colour for each target.
const fn colour(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Bare => "#7f7f7f",
        TargetKind::Haproxy => "#1f77b4",
        TargetKind::NatsTls => "#9467bd",
        TargetKind::Relay => "#2ca02c",
        TargetKind::Sealing => "#d62728",
        TargetKind::Storm => "#ff7f0e",
        TargetKind::Chain => "#8c564b",
        TargetKind::RelayBefore => "#98df8a",
        TargetKind::SealingBefore => "#ff9896",
    }
}

/// The medians of a measure as bars, lowest and highest round as a line across the end; empty when there is none.
pub(super) fn bars(table: &Table, measure: Measure) -> String {
    let figures: Vec<_> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.target, row.figure(measure)?)))
        .collect();
    let most = figures.iter().map(|(_, figure)| figure.spread.high);
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value / most * (RIGHT - LEFT);
    let mut svg = String::new();
    for ((kind, figure), place) in figures.iter().zip(0_u64..) {
        let (y, spread) = (float(place) * BAR, figure.spread);
        let middle = y + BAR / 2.0;
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                LEFT - 6.0,
                middle + 4.0,
                kind.name(),
                y + 3.0,
                x(spread.median) - LEFT,
                BAR - 6.0,
                colour(*kind)
            ),
        );
        put(
            &mut svg,
            format_args!(
                "<path d=\"M{:.1} {middle:.1}H{:.1}\" class=\"spread\"/><text x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
                x(spread.low),
                x(spread.high),
                RIGHT + 6.0,
                middle + 4.0,
                number(spread.median),
                measure.unit()
            ),
        );
    }
    frame(
        &svg,
        float(u64::try_from(figures.len()).unwrap_or_default()) * BAR,
    )
}

/// Latency curves: quantiles on one axis, microseconds on the other, which is logarithmic.
pub(super) fn curves(table: &Table) -> String {
    let rows = table.rows.iter().filter(|row| !row.percentiles.is_empty());
    let all = || rows.clone().flat_map(|row| &row.percentiles);
    let low = all().map(|(_, micros)| *micros).fold(f64::MAX, f64::min);
    let high = all().map(|(_, micros)| *micros).fold(1.0, f64::max);
    if low > high {
        return String::new();
    }
    let (from, to) = (low.max(1.0).log10().floor(), high.log10().ceil());
    let y = |micros: f64| {
        HEIGHT * (1.0 - (micros.max(1.0).log10() - from) / (to - from).max(1.0)) + 10.0
    };
    let parts: Vec<f64> = rows
        .clone()
        .next()
        .map(|row| row.percentiles.iter().map(|(part, _)| *part).collect())
        .unwrap_or_default();
    let step = (RIGHT - LEFT) / float(u64::try_from(parts.len()).unwrap_or(2)).max(2.0);
    let x = |place: u64| LEFT + step * (float(place) + 0.5);
    let mut svg = grid(from, to, &y);
    for (part, place) in parts.iter().zip(0..) {
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}%</text>",
                x(place),
                HEIGHT + 28.0,
                number(part * 100.0)
            ),
        );
    }
    for (row, place) in rows.zip(0_u64..) {
        let points = row.percentiles.iter().zip(0..);
        let points =
            points.map(|((_, micros), place)| format!("{:.1},{:.1} ", x(place), y(*micros)));
        let (colour, key) = (colour(row.target), 16.0 * float(place) + 20.0);
        put(
            &mut svg,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/><rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{key:.1}\">{}</text>",
                points.collect::<String>(),
                RIGHT + 10.0,
                key - 9.0,
                RIGHT + 26.0,
                row.target.name()
            ),
        );
    }
    frame(&svg, HEIGHT + 36.0)
}

/// Lines at the powers of ten.
fn grid(from: f64, to: f64, y: &impl Fn(f64) -> f64) -> String {
    let mut svg = String::new();
    let mut power = from;
    while power <= to {
        let at = y(10_f64.powf(power));
        put(
            &mut svg,
            format_args!(
                "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" class=\"grid\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} us</text>",
                LEFT - 6.0,
                at + 4.0,
                number(10_f64.powf(power))
            ),
        );
        power += 1.0;
    }
    svg
}

fn frame(content: &str, height: f64) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\">{content}</svg>\n"
    )
}

/// A number with three significant digits.
fn number(value: f64) -> String {
    let digits = match value {
        _ if value.fract() == 0.0 || value >= 1000.0 => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

fn put(svg: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    svg.write_fmt(words).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        let shown = [99.99, 0.5, 1234.5, 12.34, 3.0].map(number);
        assert_eq!(shown, ["100.0", "0.50", "1234", "12.3", "3"]);
    }
}
