//! The measurements of this run, side by side, as a table and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use keyway_bench::cases::BASELINE;
use serde_json::{Value, json};

/// Nanoseconds per message, medians: direction, then size, then step, in the order measured.
type Medians = BTreeMap<String, Sizes>;
type Sizes = BTreeMap<usize, BTreeMap<String, f64>>;

/// Prints what was measured since `begun` and writes it to `keyway.json`.
pub(crate) fn show(folder: &Path, begun: SystemTime) -> io::Result<()> {
    let medians = read(folder, begun)?;
    if medians.is_empty() {
        return Ok(());
    }
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "\nMedian nanoseconds of CPU per message; in brackets, times the raw AEAD of the same size."
    )?;
    if cfg!(debug_assertions) {
        writeln!(
            out,
            "Built without optimisation: this shows that the benches run, and nothing else."
        )?;
    }
    for (direction, sizes) in &medians {
        table(out, direction, sizes)?;
    }
    let page = folder.join("keyway.json");
    let text = serde_json::to_string_pretty(&json!({
        "unit": "ns of CPU per message, median",
        "optimised": !cfg!(debug_assertions),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "measured": medians,
    }))?;
    std::fs::write(&page, text)?;
    writeln!(out, "\nThe same as JSON: {}", page.display())
}

fn table(out: &mut impl Write, direction: &str, sizes: &Sizes) -> io::Result<()> {
    if !sizes.values().any(|steps| steps.contains_key(BASELINE)) {
        return list(out, direction, sizes);
    }
    let mut steps: Vec<&String> = sizes.values().flat_map(BTreeMap::keys).collect();
    steps.sort();
    steps.dedup();
    writeln!(out)?;
    write!(out, "{direction:<18}")?;
    sizes
        .keys()
        .try_for_each(|size| write!(out, "{:>18}", format!("{size} B")))?;
    for step in steps {
        write!(out, "\n{step:<18}")?;
        for medians in sizes.values() {
            write!(out, "{:>18}", cell(medians, step))?;
        }
    }
    writeln!(out)
}

fn list(out: &mut impl Write, of: &str, sizes: &Sizes) -> io::Result<()> {
    writeln!(out, "\n{of}")?;
    for (size, steps) in sizes {
        for (step, median) in steps {
            writeln!(out, "{step:<18}{median:>12.1}    {size} B")?;
        }
    }
    Ok(())
}

fn cell(medians: &BTreeMap<String, f64>, step: &str) -> String {
    match (medians.get(step), medians.get(BASELINE)) {
        (Some(own), Some(peer)) => format!("{own:.1} ({:.2}×)", own / peer),
        (Some(own), None) => format!("{own:.1}"),
        (None, _) => String::new(),
    }
}

fn read(folder: &Path, begun: SystemTime) -> io::Result<Medians> {
    let mut medians = Medians::new();
    for estimates in found(folder)? {
        if std::fs::metadata(&estimates)?.modified()? < begun {
            continue;
        }
        let about = parse(&estimates.with_file_name("benchmark.json"))?;
        let median = parse(&estimates)?
            .pointer("/median/point_estimate")
            .and_then(Value::as_f64);
        let per_iteration = about
            .pointer("/throughput/Elements")
            .and_then(Value::as_f64);
        let word = |key: &str| about.get(key).and_then(Value::as_str).unwrap_or_default();
        let size = word("value_str").parse().unwrap_or_default();
        let (Some(median), Some(messages)) = (median, per_iteration) else {
            continue;
        };
        let sizes = medians.entry(word("group_id").to_owned()).or_default();
        let steps = sizes.entry(size).or_default();
        steps.insert(word("function_id").to_owned(), median / messages);
    }
    Ok(medians)
}

/// Every `new/estimates.json` below `folder`.
fn found(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("new/estimates.json") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn parse(path: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
