//! CSV, one line for each figure and for each of its ratios. No field holds a comma or a quote.

use super::figure::{Figure, Table};
use crate::targets::TargetKind;

const HEAD: &str = "scenario,bytes,publishers,subscribers,messages,rounds,target,measure,unit,median,lowest,highest,base,ratio_of_medians,ratio_median,ratio_lowest,ratio_highest\n";

/// All tables.
pub(super) fn of(tables: &[Table]) -> String {
    let mut text = HEAD.to_owned();
    for table in tables {
        for row in &table.rows {
            for figure in &row.figures {
                lines(&mut text, table, row.target, figure);
            }
        }
    }
    text
}

fn lines(text: &mut String, table: &Table, target: TargetKind, figure: &Figure) {
    let case = &table.case;
    let head = format!(
        "{},{},{},{},{},{},{},{},{},{},{},{}",
        case.scenario.name(),
        case.size,
        case.shape.publishers,
        case.shape.subscribers,
        case.count,
        table.rounds,
        target.name(),
        figure.measure.name(),
        figure.unit,
        figure.spread.median,
        figure.spread.low,
        figure.spread.high
    );
    text.push_str(&format!("{head},,,,,\n"));
    for ratio in &figure.against {
        let within = ratio.within_rounds;
        let line = format!(
            "{head},{},{},{},{},{}\n",
            ratio.base.name(),
            ratio.of_medians,
            within.median,
            within.low,
            within.high
        );
        text.push_str(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LoadResult;
    use crate::report::Series;
    use crate::scenarios::{Case, Overrides, Scenario};
    use std::time::Duration;

    #[test]
    fn every_line_has_the_columns_of_the_head() {
        let case = Case::new(Scenario::Pubsub, 128, &Overrides::default());
        let kinds = [TargetKind::Bare, TargetKind::Sealing];
        let mut series = Series::new(&case, &kinds);
        for kind in kinds {
            let moved = LoadResult {
                count: 100,
                took: Duration::from_secs(1),
                times: None,
            };
            series.add(kind, &moved.into(), &[]).unwrap();
        }
        let text = of(&[series.table(1)]);
        let columns = |line: &str| line.split(',').count();
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| columns(line) == columns(HEAD)));
    }
}
