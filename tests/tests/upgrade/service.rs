//! Promise: a service manager can pass sockets, and is notified when the gateway is ready, reloads and stops.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::{Settings, binary};
use keyway_tests::process::Process;
use keyway_tests::{Gateway, NatsServer, RawClient, scratch, wait};
use rustix::process::Signal;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

/// Runs a gateway as systemd would: the socket is descriptor 3, and the environment says so.
fn activate(folder: &Path, listen: &str, server: &NatsServer, socket: OwnedFd) -> Process {
    let config = folder.join("keyway.toml");
    let text = format!(
        "listen = \"{listen}\"\nservers = \"{}\"\nstate = {:?}\n[admin]\nlisten = \"off\"\n[shutdown]\ngrace = \"0s\"\n",
        server.url(),
        folder.join("state")
    );
    std::fs::write(&config, text).unwrap();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).arg(&config);
    Process::start_reading("keyway", &mut command, socket.into())
}

#[test]
fn socket_that_is_passed_serves_whoever_has_waited_at_it() {
    let server = NatsServer::start();
    let folder = scratch::folder("activated");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut early = RawClient::connect(addr);
    let mut gateway = activate(
        folder.path(),
        &addr.to_string(),
        &server,
        listener.try_clone().unwrap().into(),
    );
    early.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    assert_eq!(gateway.terminate().code(), Some(0));
    // Clients wait until it is served.
    let mut patient = RawClient::connect(addr);
    let gateway = activate(folder.path(), &addr.to_string(), &server, listener.into());
    patient.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    drop(gateway);
}

#[test]
fn socket_that_no_address_names_is_served_too() {
    let server = NatsServer::start();
    let folder = scratch::folder("activated");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let gateway = activate(folder.path(), "127.0.0.1:0", &server, listener.into());
    let says = |line: &str| line.contains("`listen` does not name").then_some(());
    gateway.line("what it does", says);
    RawClient::agent(addr);
}

#[test]
fn unix_socket_that_is_passed_stays_when_the_gateway_goes() {
    let server = NatsServer::start();
    let folder = scratch::folder("activated");
    let path = folder.path().join("nats.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let listen = format!("unix:{}", path.display());
    let mut gateway = activate(folder.path(), &listen, &server, listener.into());
    let mut client = UnixStream::connect(&path).unwrap();
    let mut first = [0; 5];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"INFO ");
    drop(client);
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(path.exists());
}

/// A fake service manager: the notification socket (`sd_notify`).
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = scratch::folder("manager");
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        Self { folder, socket }
    }

    /// The next notification with such a line.
    fn hear(&self, line: &str) -> String {
        loop {
            let mut bytes = [0; 4096];
            let count = self.socket.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(bytes.get(..count).unwrap()).into_owned();
            let known = [
                "READY=1",
                "RELOADING=1",
                "STOPPING=1",
                "WATCHDOG=1",
                "STATUS=",
            ];
            assert!(known.iter().any(|known| text.contains(known)), "{text}");
            if text.lines().any(|said| said.starts_with(line)) {
                return text;
            }
            // What has an order has this one.
            let passes = text.contains("WATCHDOG=1") || text.contains("STATUS=");
            assert!(passes, "{text} came before {line}");
        }
    }
}

#[test]
fn manager_is_told_of_start_reload_progress_and_stop() {
    let server = NatsServer::start();
    let manager = Manager::new();
    let mut gateway = Gateway::start(&server.url(), Settings::default());
    let path = manager.folder.path().join("notify");
    gateway.restart_with_env(&[
        ("NOTIFY_SOCKET", path.as_os_str()),
        ("WATCHDOG_USEC", "200000".as_ref()),
    ]);
    manager.hear("READY=1");
    let status = manager.hear("STATUS=");
    assert!(status.contains("0 clients; ready"), "{status}");
    manager.hear("WATCHDOG=1");
    gateway.process().signal(Signal::HUP);
    let reloading = manager.hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    gateway.process().signal(Signal::TERM);
    manager.hear("STOPPING=1");
    assert_eq!(gateway.process().wait().code(), Some(0));
}

#[test]
fn manager_is_told_which_process_is_the_gateway() {
    let server = NatsServer::start();
    let manager = Manager::new();
    let mut gateway = Gateway::start(&server.url(), Settings::default());
    let path = manager.folder.path().join("notify");
    let environment = [("NOTIFY_SOCKET", path.as_os_str())];
    let process = gateway.begin_take_over(&environment);
    let ready = manager.hear("READY=1");
    assert!(
        ready.contains(&format!("MAINPID={}\n", process.id())),
        "{ready}"
    );
    assert_eq!(gateway.process().wait().code(), Some(0));
}
