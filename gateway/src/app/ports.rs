//! `ports.json` in the state directory: the addresses that the system chose, for whoever started the gateway on port 0.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::dataplane::ListenAddr;
use crate::disk::names::PORTS;
use crate::disk::{self, OwnedFile, Real, StateDir};

/// Writes the addresses once clients can connect, so that scripts can wait for the file instead of polling ports.
pub(super) fn write(
    state: &Path,
    listen: &[ListenAddr],
    admin: Option<SocketAddr>,
) -> Result<OwnedFile, disk::Error> {
    let path = StateDir::create(state)?.join(PORTS);
    let tcp: Vec<_> = listen.iter().filter_map(ListenAddr::tcp).collect();
    let text = serde_json::json!({ "listen": tcp, "admin": admin });
    disk::replace(&Real, &path, format!("{text}\n").as_bytes())?;
    Ok(OwnedFile::new(&path))
}

/// Removes the file of an earlier gateway, whose addresses would mislead scripts that wait for it.
pub(super) fn remove(state: &Path) {
    let path = state.join(PORTS);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %path.display(), "the addresses stay behind");
    }
}
