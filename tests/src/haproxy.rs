//! A real HAProxy in TCP mode, on a port of its own: in front of the gateway, or between it and the server.

use crate::process::Process;
use crate::{raw_client::RawClient, scratch, tools, wait};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running HAProxy.
pub struct Haproxy {
    addr: SocketAddr,
    /// Holds its configuration.
    _folder: TempDir,
    _process: Process,
}

impl Haproxy {
    /// Forwards connections to this address, with these options on its `server` line, such as `send-proxy-v2`.
    pub fn in_front_of(to: SocketAddr, words: &str) -> Self {
        Self::with_bind_options("", to, words)
    }

    /// The same with these options on its `bind` line, such as `ssl crt FILE`.
    pub fn with_bind_options(bind: &str, to: SocketAddr, words: &str) -> Self {
        let folder = scratch::folder("haproxy");
        let config = folder.path().join("haproxy.cfg");
        // HAProxy cannot bind port 0; it inherits a listener bound here, as its standard input.
        let text = format!(
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 1h\n timeout server 1h\n\
             frontend clients\n bind fd@0 {bind}\n default_backend servers\n\
             backend servers\n server one {to} {words}\n"
        );
        std::fs::write(&config, text).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut command = Command::new(tools::path("haproxy"));
        command.arg("-db").arg("-f").arg(config);
        let input = Stdio::from(OwnedFd::from(listener));
        let mut process = Process::start_reading("haproxy", &mut command, input);
        // The port is open from the start, so readiness shows only in a connection that is forwarded, or in its exit.
        wait::until("haproxy", || {
            assert!(process.ended().is_none(), "{}", process.log());
            RawClient::try_connect(addr).map(drop)
        });
        Self {
            addr,
            _folder: folder,
            _process: process,
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
