//! A self-contained HTML page, without scripts, images or fonts.

use std::fmt::Write as _;

use super::aims::AimResult;
use super::figure::{Figure, Measure, Table, TargetRatio};
use super::machine::Machine;
use super::plot::{bars, curves};
use super::spread::show;
use crate::targets::{Role, TargetKind};

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
h2{margin:2em 0 .2em}p{margin:.3em 0 1em}table{border-collapse:collapse;margin:.6em 0}\
th,td{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}\
svg{display:block;font-size:12px}.spread{stroke:#000;stroke-width:1.5}.grid{stroke:#ddd}.missed{color:#b00;font-weight:bold}";

/// The whole report.
pub(super) fn page(machine: &Machine, tables: &[Table], aims: &[AimResult]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Keyway load test</title><style>{STYLE}</style></head><body>\n<h1>Keyway load test</h1>\n<p>{} cores, {}; {}; {}; load before the run: {:.1}{}</p>\n",
        machine.cores,
        escaped(&machine.processor),
        escaped(&machine.versions.server),
        escaped(&machine.versions.haproxy),
        machine.load,
        if machine.optimised {
            ""
        } else {
            ". <b>Built without optimisation: these numbers mean nothing.</b>"
        },
    );
    page.push_str("<p>Bars are medians; the line across an end reaches from the lowest to the highest round. Ratios are of medians, and in brackets the lowest and highest within one round.</p>\n");
    verdicts(&mut page, aims);
    for table in tables {
        section(&mut page, table);
    }
    page.push_str("</body></html>\n");
    page
}

fn verdicts(page: &mut String, aims: &[AimResult]) {
    if aims.is_empty() {
        return;
    }
    page.push_str("<h2>Aims</h2>\n<table><tr><th></th><th>aim</th><th>of medians</th><th>within rounds</th><th></th></tr>\n");
    for judged in aims {
        let class = if judged.reached {
            ""
        } else {
            " class=\"missed\""
        };
        let cells = judged
            .cells()
            .map(|cell| format!("<td{class}>{}</td>", escaped(&cell)));
        put(page, format_args!("<tr>{}</tr>\n", cells.concat()));
    }
    page.push_str("</table>\n");
}

fn section(page: &mut String, table: &Table) {
    put(
        page,
        format_args!(
            "<h2>{}</h2>\n<p>{}; {} rounds</p>\n",
            escaped(&table.title),
            escaped(&table.case.words()),
            table.rounds
        ),
    );
    page.push_str(&bars(table, Measure::Rate));
    for role in Role::ALL {
        page.push_str(&bars(table, Measure::Held(role)));
    }
    page.push_str(&curves(table));
    figures(page, table);
}

/// Every figure, with its ratio to the bare server and to HAProxy.
fn figures(page: &mut String, table: &Table) {
    page.push_str("<details><summary>all figures</summary><table><tr><th>target</th><th>measure</th><th>unit</th><th>median (lowest to highest)</th><th>of bare</th><th>of haproxy</th></tr>\n");
    for row in &table.rows {
        for figure in &row.figures {
            put(
                page,
                format_args!(
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    row.target.name(),
                    figure.measure.name(),
                    figure.unit,
                    show(figure.spread, 2),
                    against(figure, TargetKind::Bare),
                    against(figure, TargetKind::Haproxy)
                ),
            );
        }
    }
    page.push_str("</table></details>\n");
}

fn against(figure: &Figure, base: TargetKind) -> String {
    figure.of(base).map_or_else(String::new, TargetRatio::words)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put(page: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    page.write_fmt(words).unwrap_or_default();
}
