//! The real `keyway` binary, with a state directory of its own.

use crate::process::Process;
use crate::scratch::{self, repository};
use keyway_test_kit::gateway::Ports;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use tempfile::TempDir;

/// A running gateway.
pub struct Gateway {
    /// Dropped before its folder, into which it would still write while that is removed.
    process: Process,
    folder: TempDir,
    settings: Settings,
    ports: Ports,
}

/// The configuration that a test chooses; the rest is the default.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `relay-only`: leave payloads alone.
    pub relay_only: bool,
    /// Configuration text put before any table.
    pub top: String,
    /// Configuration text put at the end: `[[keyring]]` tables and the like. Empty: the default keyring seals everything.
    pub tables: String,
    /// A state directory whose copy the gateway starts with.
    pub state: Option<PathBuf>,
}

impl Gateway {
    /// A gateway with the default policy, which seals everything, in front of the server at this URL.
    pub fn sealing(server: &str) -> Self {
        Self::start(server, Settings::default())
    }

    /// A gateway that touches no payload.
    pub fn relay(server: &str) -> Self {
        Self::start(
            server,
            Settings {
                relay_only: true,
                ..Settings::default()
            },
        )
    }

    /// A gateway with these settings.
    pub fn start(server: &str, settings: Settings) -> Self {
        Self::in_front_of(&[server], settings)
    }

    /// A gateway in front of the first of these servers that answers.
    pub fn in_front_of(servers: &[&str], settings: Settings) -> Self {
        let folder = scratch::folder("gateway");
        if let Some(from) = &settings.state {
            copy(from, &folder.path().join("state"));
        }
        configure(folder.path(), servers, &settings, "127.0.0.1:0");
        let (process, ports) = launch(Command::new(binary()), folder.path());
        // A restart listens on the same port.
        configure(
            folder.path(),
            servers,
            &settings,
            &ports.listen[0].to_string(),
        );
        Self {
            folder,
            settings,
            ports,
            process,
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.ports.listen[0]
    }

    /// Where clients connect, as a URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// Where metrics and health are served.
    pub fn admin(&self) -> SocketAddr {
        self.ports.admin.expect("an admin port in ports.json")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("keyway.toml")
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The process, to stop it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the gateway if it runs, and starts it again on the same port with the same state.
    pub fn restart(&mut self) {
        self.process.kill();
        let (process, ports) = launch(Command::new(binary()), self.folder.path());
        assert_eq!(
            ports.listen, self.ports.listen,
            "the gateway came back elsewhere"
        );
        self.process = process;
        self.ports = ports;
    }

    /// The same with these environment variables.
    pub fn restart_with_env(&mut self, environment: &[(&str, &OsStr)]) {
        self.process.kill();
        let mut command = Command::new(binary());
        command.envs(environment.iter().copied());
        let (process, ports) = launch(command, self.folder.path());
        self.process = process;
        self.ports = ports;
    }

    /// Restarts it so that it also listens on this unix socket.
    pub fn listen_at(&mut self, socket: &Path) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        let listen = format!(
            "listen = [\"{}\", \"unix:{}\"]",
            self.addr(),
            socket.display()
        );
        std::fs::write(self.config(), format!("{listen}\n{rest}")).unwrap();
        self.restart_with_env(&[]);
    }

    /// Starts another process that takes over with the same configuration, and waits until it serves. Returns the old process,
    /// which drains.
    pub fn take_over(&mut self) -> Process {
        let process = self.begin_take_over(&[]);
        process.line("ready", |line| line.contains(": ready ").then_some(()));
        std::mem::replace(&mut self.process, process)
    }

    /// Starts another process that takes over, with these environment variables, without waiting for it.
    pub fn begin_take_over(&self, environment: &[(&str, &OsStr)]) -> Process {
        let mut command = Command::new(binary());
        command.args(["run", "--take-over", "--config"]);
        command.arg(self.config()).envs(environment.iter().copied());
        Process::start("keyway (taking over)", &mut command)
    }

    /// Restarts it with this hard limit of open files.
    pub fn restart_with_open_files(&mut self, files: u32) {
        self.process.kill();
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.arg("-c").arg(limited).arg(binary());
        let (process, ports) = launch(command, self.folder.path());
        self.process = process;
        self.ports = ports;
    }

    /// The gateway's metrics, now.
    pub fn metrics(&self) -> crate::metrics::Metrics {
        crate::metrics::scrape(self.admin())
    }
}

/// The path of the `keyway` binary, built from the current sources.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

/// Copies a folder recursively.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_file() {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

fn configure(folder: &Path, servers: &[&str], settings: &Settings, listen: &str) {
    let mut text = format!(
        "listen = \"{listen}\"\nservers = {servers:?}\nstate = {:?}\n",
        folder.join("state")
    );
    if settings.relay_only {
        text.push_str("relay-only = true\n");
    }
    // Servers of tests that list clients have users, unless the test configures something else.
    if !settings.top.contains("servers-verify") {
        text.push_str("servers-verify = \"user\"\n");
    }
    let shutdown = if settings.tables.contains("[shutdown]") {
        ""
    } else {
        "[shutdown]\ngrace = \"0s\"\nspread = \"0s\"\n"
    };
    write!(
        text,
        "{}\n\n{shutdown}\n[admin]\nlisten = \"127.0.0.1:0\"\n\n{}\n",
        settings.top, settings.tables
    )
    .unwrap();
    std::fs::write(folder.join("keyway.toml"), text).unwrap();
}

/// The command takes the binary's arguments.
fn launch(command: Command, folder: &Path) -> (Process, Ports) {
    let (config, state) = (folder.join("keyway.toml"), folder.join("state"));
    let (process, ports) = keyway_test_kit::gateway::start(command, &config, &state).unwrap();
    (Process(process), ports)
}

/// `cargo test --workspace` has built the binary by now; `cargo test -p keyway-tests` alone may not have.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test
        .ancestors()
        .find(|above| above.ends_with("deps"))
        .and_then(Path::parent)
        .unwrap()
        .to_owned();
    let program = folder.join("keyway");
    let built = std::fs::metadata(&program)
        .and_then(|data| data.modified())
        .ok();
    let changed = ["gateway", "gateway/envelope", "tests/kit"]
        .map(|folder| newest(&repository().join(folder)));
    if built.is_some_and(|built| changed.iter().all(|changed| built >= *changed)) {
        return program;
    }
    let profile = match folder.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Both packages are named so that features resolve as they did for this very test.
    let words = [
        "build",
        "--quiet",
        "--package",
        "keyway",
        "--package",
        "keyway-tests",
        "--bin",
        "keyway",
        "--profile",
        profile,
    ];
    let status = Command::new(cargo)
        .args(words)
        .current_dir(repository())
        .status()
        .unwrap();
    assert!(status.success(), "the gateway does not build");
    program
}

/// When a source of the crate in this folder last changed.
fn newest(folder: &Path) -> SystemTime {
    let mut last = std::fs::metadata(folder.join("Cargo.toml"))
        .unwrap()
        .modified()
        .unwrap();
    let mut folders = vec![folder.join("src")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                last = last.max(entry.metadata().unwrap().modified().unwrap());
            }
        }
    }
    last
}
