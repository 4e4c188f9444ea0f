//! Idle connections: the memory that each of them costs the processes on the way.

use super::RoundResult;
use crate::error::RunError;
use crate::load::{Client, Endpoint, LoadResult, now};
use crate::report::float;
use crate::targets::{Programs, Role, Target, TargetKind, open_files};

/// Open files of a process besides connections.
const OTHER_FILES: u64 = 100;

/// Connections with one subscription each, to a fresh target: memory of an earlier load would hide them.
pub(super) fn play(
    programs: &Programs,
    kind: TargetKind,
    count: u64,
) -> Result<RoundResult, RunError> {
    // A proxy needs two files for each.
    let most = open_files().saturating_sub(OTHER_FILES) / 2;
    if count > most {
        return Err(RunError::Limit(format!(
            "{count} connections need more open files than a process may have ({most} connections); raise `ulimit -n`"
        )));
    }
    let begun = now();
    let target = Target::start(programs, kind)?;
    // Excludes threads, buffers and tables that any traffic allocates.
    let mut first = Client::connect(&target.endpoint)?;
    converse(&mut first)?;
    let before = resident(&target)?;
    let clients = connect(&target.endpoint, count)?;
    let after = resident(&target)?;
    drop(clients);
    let held = after.into_iter().zip(before);
    let held = held.map(|((role, after), (_, before))| {
        (role, float(after.saturating_sub(before)) / float(count))
    });
    Ok(RoundResult {
        held: held.collect(),
        moved: LoadResult {
            count,
            took: now().duration_since(begun),
            times: None,
        },
    })
}

fn connect(endpoint: &Endpoint, count: u64) -> Result<Vec<Client>, RunError> {
    (0..count)
        .map(|number| {
            let mut client = Client::connect(endpoint)?;
            client.subscribe(&format!("idle.{number}"))?;
            client.shrink_buffers();
            Ok(client)
        })
        .collect()
}

/// Sends one message to itself.
fn converse(client: &mut Client) -> Result<(), RunError> {
    client.subscribe("idle.first")?;
    let payload = "x".repeat(128);
    client.send(format!("PUB idle.first 128\r\n{payload}\r\n").as_bytes())?;
    client.message(|_message| ())
}

fn resident(target: &Target) -> Result<Vec<(Role, u64)>, RunError> {
    let of = target.processes();
    of.map(|(role, process)| Ok((role, process.resident()?)))
        .collect()
}
