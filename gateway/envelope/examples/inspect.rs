//! Says what the header of an envelope reveals, without a key. `cargo run -p keyway-envelope --example inspect -- HEX`

use std::error::Error;
use std::io::Write;

use data_encoding::HEXLOWER_PERMISSIVE;
use keyway_envelope::{Flags, Header};

/// The first vector of `docs/envelope-vectors.json`.
const GREETING: &str = "fa4b11011e8a8bfa4a6d830da0a1a2a3a4a5a6a7a8a9aaabacadaeaf00000000\
    16542d160ae622028929a9f081648ff345062c19af306107a43fa69998cac5102b";

fn main() -> Result<(), Box<dyn Error>> {
    let hex = std::env::args().nth(1).unwrap_or_else(|| GREETING.into());
    let header = Header::parse(&HEXLOWER_PERMISSIVE.decode(hex.as_bytes())?)?;
    let mut out = std::io::stdout();
    writeln!(out, "suite     {}", header.suite.name())?;
    writeln!(out, "kid       {}", header.kid)?;
    writeln!(out, "lane      {}", header.lane)?;
    writeln!(out, "counter   {}", header.counter)?;
    for (flag, meaning) in [
        (Flags::BOUND, "bound to a subject"),
        (Flags::ANSWER, "bound to the request that it answers"),
        (Flags::PASSED_ON, "passes a request on"),
        (Flags::REPLY, "bound to a reply subject"),
    ] {
        if header.flags.has(flag) {
            writeln!(out, "{meaning}")?;
        }
    }
    Ok(())
}
