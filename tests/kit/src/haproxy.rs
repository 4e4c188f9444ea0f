//! HAProxy in TCP mode, with the defaults of its manual: one thread per core.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::process::Process;

/// Starts `program` on a free port, in front of `to`, with these options on its `bind` line, such as `ssl crt FILE`, and these on its
/// `server` line, such as `send-proxy-v2`. Yields the process and its address once it serves.
pub fn start(
    program: &Path,
    bind: &str,
    (to, options): (SocketAddr, &str),
) -> Result<(Process, SocketAddr), Error> {
    let folder = crate::folder("haproxy")?;
    let config = folder.path().join("haproxy.cfg");
    let control = folder.path().join("control");
    // HAProxy cannot bind port 0; it inherits a listener bound here, as its standard input.
    let text = format!(
        "global\n stats socket {}\n\
         defaults\n mode tcp\n timeout connect 20s\n timeout client 1h\n timeout server 1h\n\
         frontend clients\n bind fd@0 {bind}\n default_backend servers\n\
         backend servers\n server one {to} {options}\n",
        control.display()
    );
    fs::write(&config, text).map_err(Error::io("writing a configuration"))?;
    let failed = |error| Error::io("making HAProxy's socket")(error);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let mut command = Command::new(program);
    let input = Stdio::from(OwnedFd::from(listener));
    let process = Process::start("haproxy", command.arg("-db").arg("-f").arg(&config), input)?;
    // The port is open from the start, so readiness shows only in the socket that HAProxy makes itself.
    process.until("its control socket", || UnixStream::connect(&control).ok())?;
    Ok((process, addr))
}
