//! The results of a run as tables, JSON, CSV and HTML.

mod aims;
mod csv;
mod figure;
mod html;
mod machine;
mod plot;
mod progress;
mod spread;
mod tables;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use aims::{AIMS, AimResult, judge};
pub(crate) use figure::{Series, Table};
pub(crate) use machine::Machine;
pub(crate) use progress::Progress;
pub(crate) use spread::{Spread, float, ratio, scaled, show};

use crate::error::RunError;
use crate::targets::Programs;
use crate::trials::Trials;

/// The results of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    pub(crate) tables: Vec<Table>,
    pub(crate) aims: Vec<AimResult>,
    #[serde(flatten)]
    pub(crate) trials: Trials,
}

/// Output files of a report.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct Outputs {
    /// Write JSON to this file; `-` prints it instead of tables.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write CSV to this file: a line for each figure, and for each of its ratios.
    #[arg(long, global = true, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with plots to this file.
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Report {
    pub(crate) fn begin(programs: &Programs) -> Self {
        Self {
            machine: Machine::look(programs),
            tables: Vec::new(),
            aims: Vec::new(),
            trials: Trials::default(),
        }
    }

    /// Prints it, and writes the files.
    pub(crate) fn deliver(&self, outputs: &Outputs) -> Result<(), RunError> {
        let json = || {
            serde_json::to_string_pretty(self)
                .map_err(|error| RunError::io("writing JSON", error.into()))
        };
        match &outputs.json {
            Some(file) if file == Path::new("-") => {
                let text = json()?;
                writeln!(io::stdout().lock(), "{text}")
            }
            Some(file) => {
                write(file, &json()?)?;
                self.print()
            }
            None => self.print(),
        }
        .map_err(|source| RunError::io("printing the report", source))?;
        if let Some(file) = &outputs.csv {
            write(file, &csv::of(&self.tables))?;
        }
        if let Some(file) = &outputs.html {
            write(file, &html::page(&self.machine, &self.tables, &self.aims))?;
        }
        Ok(())
    }

    /// For people.
    fn print(&self) -> io::Result<()> {
        let out = &mut io::stdout().lock();
        self.machine.print(out)?;
        self.tables
            .iter()
            .try_for_each(|table| tables::print(out, table))?;
        aims::print(out, &self.aims)?;
        self.trials.print(out)
    }
}

fn write(file: &Path, text: &str) -> Result<(), RunError> {
    fs::write(file, text)
        .map_err(|source| RunError::io(format!("writing {}", file.display()), source))
}
