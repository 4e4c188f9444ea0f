//! The programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::ProgramArgs;
use crate::error::RunError;

/// Their paths.
#[derive(Clone)]
pub(crate) struct Programs {
    pub(super) server: PathBuf,
    pub(super) gateway: PathBuf,
    before: Option<PathBuf>,
    pub(super) haproxy: PathBuf,
}

/// Their versions.
#[derive(serde::Serialize)]
pub(crate) struct Versions {
    pub(crate) server: String,
    pub(crate) haproxy: String,
}

impl Programs {
    pub(crate) fn find(args: &ProgramArgs) -> Result<Self, RunError> {
        let here = std::env::current_exe().map_err(|source| {
            RunError::io("looking for the gateway beside this program", source)
        })?;
        let beside = || here.with_file_name("keyway");
        let gateway = args.gateway.clone().unwrap_or_else(beside);
        for program in args.before.iter().chain([&gateway]) {
            if !program.is_file() {
                let program = program.display();
                return Err(RunError::Limit(format!(
                    "there is no program {program}; build it (`cargo build --release -p keyway`) or name it with --gateway or --before"
                )));
            }
        }
        raise_open_files();
        Ok(Self {
            server: args.server.clone(),
            gateway,
            before: args.before.clone(),
            haproxy: args.haproxy.clone(),
        })
    }

    /// The same with the gateway of `--before`.
    pub(super) fn before(&self) -> Result<Self, RunError> {
        let gateway = self.before.clone().ok_or_else(|| {
            RunError::Limit("there is no gateway of before; name it with --before".to_owned())
        })?;
        Ok(Self {
            gateway,
            ..self.clone()
        })
    }

    /// Empty where a program does not run; a target that needs it fails later.
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

/// The limit of open files of a process.
pub(crate) fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit of open files to the hard limit; children inherit it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it is refused, the limit stays as it is.
    setrlimit(Resource::Nofile, raised).unwrap_or_default();
}
