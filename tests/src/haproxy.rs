//! A real HAProxy in TCP mode, on a port of its own: in front of the gateway, or between it and the server.

use crate::process::Process;
use crate::tools;
use std::net::SocketAddr;

/// A running HAProxy.
pub struct Haproxy {
    addr: SocketAddr,
    _process: Process,
}

impl Haproxy {
    /// Forwards connections to this address, with these options on its `server` line, such as `send-proxy-v2`.
    pub fn in_front_of(to: SocketAddr, words: &str) -> Self {
        Self::with_bind_options("", to, words)
    }

    /// The same with these options on its `bind` line, such as `ssl crt FILE`.
    pub fn with_bind_options(bind: &str, to: SocketAddr, words: &str) -> Self {
        let program = tools::path("haproxy");
        let (process, addr) = keyway_test_kit::haproxy::start(&program, bind, (to, words)).unwrap();
        Self {
            addr,
            _process: Process(process),
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
