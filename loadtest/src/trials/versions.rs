//! Duration of a rotation by the number of versions in the record.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::RunError;
use crate::report::{Spread, show};
use crate::targets::{Mode, Programs};

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// How many versions to make; each tenth of them is measured.
    #[arg(long, default_value_t = 500)]
    versions: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { versions: 500 }
    }
}

/// A part of the run.
#[derive(Serialize)]
pub(crate) struct Versions {
    /// Versions in the record at its end, none of them destroyed.
    pub(crate) versions: u32,
    /// Bytes of the record.
    pub(crate) record: u64,
    /// Duration of a rotation, in milliseconds.
    pub(crate) rotation: Spread,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Vec<Versions>, RunError> {
    let server = programs.server()?;
    let tables = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\noverlap = \"1d\"\n";
    let gateway = programs.configured(server.addr, Mode::Sealing, tables)?;
    let part = (args.versions / 10).max(1);
    let mut parts = Vec::new();
    let mut made = 1;
    while made < args.versions {
        let mut times = Vec::new();
        for _ in 0..part {
            times.push(gateway.rotate()?.as_secs_f64() * 1e3);
        }
        made += part;
        parts.push(Versions {
            versions: made,
            record: gateway.record()?,
            rotation: Spread::of(times),
        });
    }
    Ok(parts)
}

/// For people.
pub(super) fn print(out: &mut impl Write, parts: &[Versions]) -> io::Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<12}{:>14}{:>34}",
        "versions", "record, KiB", "a rotation, ms"
    )?;
    for part in parts {
        writeln!(
            out,
            "{:<12}{:>14}{:>34}",
            part.versions,
            part.record / 1024,
            show(part.rotation, 1)
        )?;
    }
    Ok(())
}
