//! Seals a message for a subject. `cargo run -p keyway-envelope --example seal`

use std::error::Error;
use std::io::Write;

use data_encoding::HEXLOWER;
use keyway_envelope::{Binding, OVERHEAD, Sealer, Suite, VersionKey, secret::Secret};

fn main() -> Result<(), Box<dyn Error>> {
    let version = VersionKey::derive("agents", 1, &Secret::random()?);
    let mut sealer = Sealer::new(&version, Suite::Aes256Gcm)?;
    let message = b"hello from keyway";
    let mut envelope = vec![0; message.len().saturating_add(OVERHEAD)];
    let binding = Binding::to(Some(b"agents.alice.tasks"));
    let id = sealer.seal(binding, message, &mut envelope)?;
    let mut out = std::io::stdout();
    writeln!(out, "lane {}, message {}", id.lane, id.counter)?;
    Ok(writeln!(out, "{}", HEXLOWER.encode(&envelope))?)
}
