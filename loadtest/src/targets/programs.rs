//! The programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::failed::Failed;

/// Where they are.
pub(crate) struct Programs {
    pub(super) server: PathBuf,
    pub(super) gateway: PathBuf,
    pub(super) haproxy: PathBuf,
}

/// What they call themselves.
#[derive(serde::Serialize)]
pub(crate) struct Versions {
    pub(crate) server: String,
    pub(crate) haproxy: String,
}

impl Programs {
    pub(crate) fn find(
        server: &Path,
        gateway: Option<&Path>,
        haproxy: &Path,
    ) -> Result<Self, Failed> {
        let here = std::env::current_exe()
            .map_err(|source| Failed::io("looking for the gateway beside this program", source))?;
        let gateway = gateway.map_or_else(|| here.with_file_name("keyway"), Path::to_owned);
        if !gateway.is_file() {
            let gateway = gateway.display();
            return Err(Failed::Limit(format!(
                "there is no program {gateway}; build it (`cargo build --release -p keyway`) or name it with --gateway"
            )));
        }
        raise_open_files();
        Ok(Self {
            server: server.to_owned(),
            gateway,
            haproxy: haproxy.to_owned(),
        })
    }

    /// Nothing where a program does not run: whether it is needed shows later.
    pub(crate) fn versions(&self) -> Versions {
        let first = |program: &Path, flag: &str| {
            let said = Command::new(program).arg(flag).output();
            let said = said.map(|said| said.stdout).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let line = said.lines().next().unwrap_or_default();
            let (name, _address) = line.split_once(" - ").unwrap_or((line, ""));
            name.trim().to_owned()
        };
        Versions {
            server: first(&self.server, "--version"),
            haproxy: first(&self.haproxy, "-v"),
        }
    }
}

/// How many files a process may have open.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// As many open files as the system lets us have; children inherit it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it is refused, the limit as it is has to do.
    setrlimit(Resource::Nofile, raised).unwrap_or_default();
}

pub(super) fn folder() -> Result<TempDir, Failed> {
    tempfile::Builder::new()
        .prefix("keyway-loadtest-")
        .tempdir()
        .map_err(|source| Failed::io("creating a folder", source))
}
