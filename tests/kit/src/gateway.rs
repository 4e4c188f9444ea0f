//! The gateway, `keyway run`.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Error;
use crate::process::Process;

/// What a gateway writes to `ports.json` in its state directory when it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ports {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Where metrics and health are served.
    pub admin: Option<SocketAddr>,
}

/// Starts `command`, which takes the arguments of `keyway`, with this configuration file, which names this state directory. Yields the
/// process and its ports once it serves.
pub fn start(mut command: Command, config: &Path, state: &Path) -> Result<(Process, Ports), Error> {
    let announced = state.join("ports.json");
    // An earlier run may have left one.
    match fs::remove_file(&announced) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io("removing an old ports.json")(error));
        }
        Err(_) | Ok(()) => {}
    }
    command.arg("run").arg("--config").arg(config);
    let process = Process::start("keyway", &mut command, Stdio::null())?;
    let ports = process.until("its ports.json", || {
        serde_json::from_slice(&fs::read(&announced).ok()?).ok()
    })?;
    Ok((process, ports))
}
