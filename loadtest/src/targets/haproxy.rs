//! HAProxy in TCP mode with the defaults of its manual: one thread per core.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::TempDir;

use super::process::Process;
use super::programs::{Programs, folder};
use crate::error::RunError;
use crate::load::{Client, Endpoint};

/// HAProxy in front of a server.
pub(super) struct Haproxy {
    pub(super) process: Process,
    pub(super) addr: SocketAddr,
    _folder: TempDir,
}

impl Programs {
    /// Starts it with an inherited socket, as it cannot bind port 0.
    pub(super) fn haproxy(&self, server: SocketAddr) -> Result<Haproxy, RunError> {
        let folder = folder()?;
        let file = folder.path().join("haproxy.cfg");
        let failed = |source| RunError::io("making HAProxy's socket", source);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        fcntl_setfd(&listener, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        let text = configuration(listener.as_raw_fd(), server);
        fs::write(&file, text).map_err(|source| RunError::io("writing a configuration", source))?;
        let mut command = Command::new(&self.haproxy);
        command.arg("-db").arg("-f").arg(&file);
        let log = folder.path().join("log");
        let (process, ()) = Process::start(command, &log, || Some(()))?;
        drop(listener);
        // Answers once it is up; refuses where it has failed and the inherited socket is closed.
        Client::connect(&Endpoint::plain(addr)).map_err(|failed| RunError::Program {
            program: self.haproxy.display().to_string(),
            why: format!("{failed}; {}", fs::read_to_string(&log).unwrap_or_default()),
        })?;
        Ok(Haproxy {
            process,
            addr,
            _folder: folder,
        })
    }
}

fn configuration(socket: i32, server: SocketAddr) -> String {
    format!(
        "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\
         listen nats\n    bind fd@{socket}\n    server nats {server}\n"
    )
}
