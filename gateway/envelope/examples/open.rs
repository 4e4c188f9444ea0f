//! Opens an envelope where it belongs, and fails to elsewhere. `cargo run -p keyway-envelope --example open`

use std::error::Error;
use std::io::Write;

use keyway_envelope::{Binding, Header, OVERHEAD, Sealer, Suite, VersionKey, secret::Secret};

fn main() -> Result<(), Box<dyn Error>> {
    let version = VersionKey::derive("agents", 1, &Secret::random()?);
    let tasks = Binding::to(Some(b"agents.alice.tasks"));
    let message = b"hello from keyway";
    let mut envelope = vec![0; message.len().saturating_add(OVERHEAD)];
    Sealer::new(&version, Suite::Aes256GcmSiv)?.seal(tasks, message, &mut envelope)?;

    let header = Header::parse(&envelope)?;
    let lane = version.lane(header.suite, header.lane);
    let mut opened = vec![0; message.len()];
    lane.open(&header, tasks, &envelope, &mut opened)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", String::from_utf8_lossy(&opened))?;

    let elsewhere = Binding::to(Some(b"agents.bob.tasks"));
    match lane.open(&header, elsewhere, &envelope, &mut opened) {
        Ok(()) => Err("an envelope opened on another subject".into()),
        Err(refused) => Ok(writeln!(out, "on another subject: {refused}")?),
    }
}
