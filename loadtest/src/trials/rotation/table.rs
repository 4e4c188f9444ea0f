//! The table of a rotation run.

use std::io::{self, Write};

use super::{ModeResult, Rotation};
use crate::report::{scaled, show};

impl Rotation {
    /// For people.
    pub(in crate::trials) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "\nkeys replaced under load: {} B payload, {} messages a round, {} under way; median (lowest to highest round)",
            self.size, self.messages, self.window
        )?;
        writeln!(
            out,
            "{:<14}{:>24}{:>22}{:>20}{:>11}{:>8}{:>9}{:>10}",
            "",
            "thousand messages/s",
            "of no rotation",
            "CPU ns/message",
            "rotations",
            "lost",
            "doubled",
            "withheld"
        )?;
        for way in &self.ways {
            writeln!(
                out,
                "{:<14}{:>24}{:>22}{:>20}{:>11}{:>8}{:>9}{:>10}",
                way.name,
                show(scaled(way.messages_per_second, 1e-3), 0),
                show(way.of_without, 2),
                show(way.gateway_ns, 0),
                way.rotations,
                way.lost,
                way.doubled,
                way.withheld
            )?;
        }
        latencies(out, &self.ways)
    }
}

fn latencies(out: &mut impl Write, ways: &[ModeResult]) -> io::Result<()> {
    writeln!(
        out,
        "milliseconds from the write to the read, and of no rotation in the same round"
    )?;
    for way in ways {
        write!(out, "{:<14}", way.name)?;
        let names = ["p50", "p99", "p99.9"];
        let both = way.latency.iter().zip(&way.latency_of_without);
        for (name, (of, ratio)) in names.iter().zip(both) {
            let (of, ratio) = (show(scaled(*of, 1e-3), 2), show(*ratio, 2));
            write!(out, "{name} {of}, {ratio}; ")?;
        }
        writeln!(out, "longest {:.1}", way.longest / 1e3)?;
    }
    Ok(())
}
