//! `keyway proxy-key`: makes the nkey by which servers trust the gateway as a proxy, and prints the server's configuration for
//! it.

use std::path::{Path, PathBuf};

use crate::disk::{self, Real, StateDir};
use crate::proxy::Key;

use super::args::StateOptions;
use super::failure::Failure;
use super::load;
use super::output::{Output, lines_of};

/// The file with the seed, in the state directory.
const FILE: &str = "proxy.nk";

pub(super) fn run(options: &StateOptions, out: &mut Output) -> Result<(), Failure> {
    let checked = load::configuration(options)?;
    let dir = load::open(&checked.state)?;
    show(&dir, checked.proxy_seed.as_deref(), out)
}

/// Makes the key if there is none, and prints how to use it. `used` is the file that the configuration names.
pub(super) fn show(dir: &StateDir, used: Option<&Path>, out: &mut Output) -> Result<(), Failure> {
    let (path, made) = find_or_create(dir)?;
    // Read back: the file may be older than this command.
    let key = Key::read(&path)?;
    let public = key.public();
    let verb = if made { "created" } else { "there already:" };
    out.line(format_args!("{verb} {}", path.display()))?;
    out.line(format_args!("  proxy key {public}"))?;
    out.lines([
        "",
        "nats-server, 2.12 or later: agents come through a gateway that has this key, or not at all",
    ])?;
    out.lines(lines_of(&server_block(&public)))?;
    if used != Some(path.as_path()) {
        out.lines(["", "the gateway's configuration"])?;
        out.lines(lines_of(&gateway_block(&path)))?;
    }
    let then = "Then look from the outside, with an agent's credentials: `keyway doctor --user NAME --password-file FILE`.";
    Ok(out.lines(["", then])?)
}

/// The configuration of nats-server: the trusted proxy, and a user with `proxy_required`.
pub(super) fn server_block(public: &str) -> String {
    format!(
        "  proxies {{\n    trusted: [ {{ key: \"{public}\" }} ]\n  }}\n  authorization {{\n    users: [\n      {{ user: \"agent\", password: \"…\", proxy_required: true }}\n    ]\n  }}"
    )
}

fn gateway_block(path: &Path) -> String {
    format!("  [proxy]\n  nkey-seed-file = {path:?}")
}

/// Whether the file exists in this state directory, whatever it holds.
pub(super) fn exists(state: &Path) -> bool {
    std::fs::symlink_metadata(state.join(FILE)).is_ok()
}

/// The path of the key, and whether it was created just now.
fn find_or_create(dir: &StateDir) -> Result<(PathBuf, bool), Failure> {
    let path = std::path::absolute(dir.join(FILE))?;
    let (_key, seed) = Key::create()?;
    match disk::create(&Real, &path, seed.expose()) {
        Ok(()) => Ok((path, true)),
        Err(disk::Error::Exists { .. }) => Ok((path, false)),
        Err(error) => Err(error.into()),
    }
}
