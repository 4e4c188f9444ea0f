//! Promise: keys are in the gateway's memory only as long as they are needed, and its memory is in no core dump.
#![expect(clippy::unwrap_used, reason = "a test's own functions may stop it too")]

mod disclosure;
mod hostile_text;

use keyway_tests::certificates::Authority;
use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::gateway::Settings;
use keyway_tests::process_memory::{Memory, MemoryAccess};
use keyway_tests::processor::{PROCESSORS, Processor};
use keyway_tests::raw_client::TlsMode;
use keyway_tests::secret_scan::{self, SecretScan};
use keyway_tests::state_secrets::{self, VersionSecrets};
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, scratch, wait};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const PAYLOAD: &[u8] = b"an unmistakable payload, long enough to be no accident";

/// No extra environment.
const NOTHING: &[(&str, &str)] = &[];

/// A key version in use, and the clients that have used it, which stay connected.
struct UsedVersion {
    version: VersionSecrets,
    lane: [u8; 32],
    _clients: [RawClient; 2],
}

/// A gateway with fresh keys, whose memory can be read.
fn readable_gateway(server: &NatsServer) -> Gateway {
    readable_gateway_with_env(server, &MemoryAccess::new(), NOTHING)
}

/// The same in this environment.
fn readable_gateway_with_env(
    server: &NatsServer,
    memory_access: &MemoryAccess,
    environment: &[(&str, impl AsRef<OsStr>)],
) -> Gateway {
    let mut gateway = Gateway::sealing(&server.url());
    gateway.process().kill();
    std::fs::remove_dir_all(gateway.state()).unwrap();
    memory_access.restart_readable_with_env(&mut gateway, environment);
    gateway
}

/// Has a message sealed and opened under a keyring's version of this number.
fn use_version(server: &NatsServer, gateway: &Gateway, number: u32) -> UsedVersion {
    let mut tap = BusTap::open(server.addr());
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.b");
    let mut publisher = RawClient::agent(gateway.addr());
    publisher.publish("a.b", PAYLOAD);
    assert_eq!(subscriber.message("a.b").payload(), PAYLOAD);
    // Large messages use memory that later ones do not overwrite.
    for times in [100, 1000, 10_000] {
        publisher.publish("a.b", &PAYLOAD.repeat(times));
    }
    subscriber.flush();
    let version = VersionSecrets::version(&gateway.state(), "default", number);
    UsedVersion {
        lane: version.lane(tap.message("a.b").payload()),
        version,
        _clients: [publisher, subscriber],
    }
}

impl UsedVersion {
    fn keys(&self) -> [(&'static str, Vec<u8>); 3] {
        [
            ("root secret", self.version.root.to_vec()),
            ("pseudorandom key", self.version.prk.to_vec()),
            ("lane key", self.lane.to_vec()),
        ]
    }
}

/// What is in memory of these secrets, in any form.
fn found(memory: &Memory, secrets: &[(&str, Vec<u8>)]) -> Vec<String> {
    SecretScan::of(secrets).find_in(memory)
}

fn assert_in_memory(memory: &Memory, name: &str, secret: &[u8]) {
    assert!(!memory.places(secret).is_empty(), "no {name} is found");
}

#[test]
fn destroyed_version_leaves_no_key_in_memory() {
    let server = NatsServer::start();
    let mut gateway = readable_gateway(&server);
    let first = use_version(&server, &gateway, 1);
    let memory = Memory::of(gateway.process());
    // Keys in use are found, so the search works.
    assert_in_memory(&memory, "pseudorandom key", &first.version.prk);
    assert_in_memory(&memory, "lane key", &first.lane);
    let root = [("root secret", first.version.root.to_vec())];
    assert_eq!(found(&memory, &root), Vec::<String>::new());

    gateway.rotate("default");
    let second = use_version(&server, &gateway, 2);
    let config = gateway.config();
    let output = keyway(&[
        "destroy",
        "1",
        "--force",
        "--why",
        "a test",
        "--config",
        path(&config),
    ]);
    assert_eq!(code(&output), 0, "{}", stderr_of(&output));
    let mut looks = 0;
    let left = wait::until("the keys of the destroyed version are wiped", || {
        looks += 1;
        let left = found(&Memory::of(gateway.process()), &first.keys());
        (left.is_empty() || looks == 20).then_some(left)
    });
    assert_eq!(left, Vec::<String>::new());
    let memory = Memory::of(gateway.process());
    assert_in_memory(&memory, "pseudorandom key", &second.version.prk);
    assert_in_memory(&memory, "lane key", &second.lane);
}

/// The long-lived keys of a gateway's state directory, those of key versions excepted.
fn long_lived_keys(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let state = gateway.state();
    let kek = state_secrets::kek(&state);
    let [prk, wrapping] = state_secrets::wrapping_keys(&kek);
    let catalogue = state_secrets::signing_seed(&state, "catalogue.key", b"catalogue signing seed");
    let audit = state_secrets::signing_seed(&state, "audit.key", b"audit signing seed");
    vec![
        ("KEK", kek.to_vec()),
        ("KEK as text", std::fs::read(state.join("kek")).unwrap()),
        ("KEK's pseudorandom key", prk.to_vec()),
        ("wrapping key", wrapping.to_vec()),
        ("catalogue's seed", catalogue.to_vec()),
        (
            "catalogue's expanded seed",
            secret_scan::expanded(&catalogue),
        ),
        ("audit log's seed", audit.to_vec()),
        ("audit log's expanded seed", secret_scan::expanded(&audit)),
    ]
}

#[test]
fn gateway_that_has_ended_leaves_neither_key_nor_payload_in_memory() {
    let server = NatsServer::start();
    let memory_access = MemoryAccess::new();
    for Processor { name, environment } in PROCESSORS {
        let mut gateway = readable_gateway_with_env(&server, &memory_access, environment);
        let first = use_version(&server, &gateway, 1);
        gateway.rotate("default");
        let second = use_version(&server, &gateway, 2);
        let keys = [
            long_lived_keys(&gateway),
            first.keys().into(),
            second.keys().into(),
        ]
        .concat();
        let memory = Memory::at_exit_of(gateway.process());
        assert_in_memory(&memory, "argument", b"keyway.toml");
        assert_eq!(found(&memory, &keys), Vec::<String>::new(), "{name}");
        assert_eq!(memory.places(PAYLOAD).first(), None, "{name}");
    }
}

#[test]
fn gateway_that_was_restarted_and_has_ended_leaves_no_key_in_memory() {
    let server = NatsServer::start();
    let memory_access = MemoryAccess::new();
    for Processor { name, environment } in PROCESSORS {
        let mut gateway = Gateway::sealing(&server.url());
        gateway.rotate("default");
        memory_access.restart_readable_with_env(&mut gateway, environment);
        let second = use_version(&server, &gateway, 2);
        let first = VersionSecrets::version(&gateway.state(), "default", 1);
        let mut keys = long_lived_keys(&gateway);
        keys.push(("first root secret", first.root.to_vec()));
        keys.push(("first pseudorandom key", first.prk.to_vec()));
        keys.extend(second.keys());
        let memory = Memory::at_exit_of(gateway.process());
        assert_in_memory(&memory, "argument", b"keyway.toml");
        assert_eq!(found(&memory, &keys), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn running_gateway_has_root_secrets_only_while_it_derives_from_them() {
    let server = NatsServer::start();
    let memory_access = MemoryAccess::new();
    for Processor { name, environment } in PROCESSORS {
        let mut gateway = Gateway::sealing(&server.url());
        memory_access.restart_readable_with_env(&mut gateway, environment);
        let at_start = Memory::of(gateway.process());
        gateway.rotate("default");
        let rotated = Memory::of(gateway.process());
        let kek = state_secrets::kek(&gateway.state());
        let mut secrets = vec![("KEK", kek.to_vec())];
        for (name, number) in [("first root secret", 1), ("second root secret", 2)] {
            let version = VersionSecrets::version(&gateway.state(), "default", number);
            secrets.push((name, version.root.to_vec()));
        }
        for memory in [at_start, rotated] {
            assert_eq!(found(&memory, &secrets), Vec::<String>::new(), "{name}");
        }
    }
}

/// A match out of the middle of each form.
fn pieces(secret: &[u8]) -> Vec<Vec<u8>> {
    let forms = secret_scan::forms(secret).into_iter();
    forms
        .map(|(_, form)| {
            form.into_iter()
                .skip(7)
                .take(secret_scan::MIN_MATCH)
                .collect()
        })
        .collect()
}

/// The environment of a process lies on its main thread's stack.
#[test]
fn secret_in_any_form_is_found_on_the_stack_where_it_is_planted() {
    let server = NatsServer::start();
    let memory_access = MemoryAccess::new();
    let mut gateway = Gateway::sealing(&server.url());
    // An environment holds any byte but zero.
    let mut secrets = (0_u8..).map(|first| (first..).step_by(5).take(32).collect::<Vec<u8>>());
    let whole = |secret: &Vec<u8>| secret.len() == 32 && !pieces(secret).concat().contains(&0);
    let secret = secrets.find(whole).unwrap();
    let forms = secret_scan::forms(&secret);
    assert!(forms.len() > 12);
    let names: Vec<String> = (0..forms.len()).map(|at| format!("PLANTED_{at}")).collect();
    let pieces: Vec<OsString> = pieces(&secret)
        .into_iter()
        .map(OsString::from_vec)
        .collect();
    let planted = names.iter().zip(&pieces);
    let planted: Vec<_> = planted
        .map(|(name, piece)| (name.as_str(), piece.as_os_str()))
        .collect();
    memory_access.restart_readable_with_env(&mut gateway, &planted);
    let memory = Memory::of(gateway.process());
    let found = found(&memory, &[("planted", secret)]);
    for (form, _) in forms {
        let place = format!("planted, {form}, 16 bytes");
        let known = found
            .iter()
            .any(|found| found.starts_with(&place) && found.ends_with("[stack]"));
        assert!(known, "{form} is not found: {found:?}");
    }
}

#[test]
fn gateway_that_has_ended_leaves_no_private_key_in_memory() {
    let ca = Authority::new("CA");
    let tls = ca.sign("gateway", 1);
    let server = NatsServer::start();
    let settings = Settings {
        tables: format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\nplaintext = true\n",
            tls.certificate, tls.key
        ),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    MemoryAccess::new().restart_readable(&mut gateway);
    let via = TlsMode::AfterInfo(ca.client(None));
    let mut client = RawClient::connect_until_info(gateway.addr(), &via, wait::DEADLINE);
    client.send(b"CONNECT {\"verbose\":false}\r\n");
    client.flush();
    let scalar = state_secrets::private_scalar(&tls.key);
    let backwards: Vec<u8> = scalar.iter().rev().copied().collect();
    let text = std::fs::read_to_string(&tls.key).unwrap();
    let line = text.lines().nth(1).unwrap().as_bytes().to_vec();
    // The provider holds it as a number, lowest byte first.
    let memory = Memory::of(gateway.process());
    assert_in_memory(&memory, "private key", &backwards);
    let memory = Memory::at_exit_of(gateway.process());
    assert_in_memory(&memory, "argument", b"keyway.toml");
    let keys = [("key", scalar), ("number", backwards), ("text", line)];
    assert_eq!(found(&memory, &keys), Vec::<String>::new());
}

#[test]
fn running_gateway_is_not_dumpable() {
    let server = NatsServer::start();
    let mut gateway = readable_gateway(&server);
    let log = gateway.process().log();
    assert!(log.contains("memory_access: was not dumpable"), "{log}");
}

#[test]
fn running_gateway_leaves_no_core_dump() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", gateway.process().id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn gateway_that_dies_of_a_signal_leaves_no_core_dump() {
    // Children may dump as much as the system lets them, and others do.
    let most = getrlimit(Resource::Core).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Core, limit).unwrap();
    let folder = scratch::folder("core");
    let mut other = Command::new("sh");
    other
        .args(["-c", "kill -ABRT $$"])
        .current_dir(folder.path());
    let other = other.status().unwrap();
    assert!(
        other.core_dumped() || most == Some(0),
        "no program dumps its core here: this test can tell nothing"
    );
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    RawClient::agent(gateway.addr()).publish("a.b", PAYLOAD);
    // Not SIGQUIT: whatever a shell starts in the background ignores it.
    for signal in [Signal::ABORT, Signal::SEGV, Signal::TRAP] {
        // The first SIGSEGV that no fault has caused only takes the runtime's handler away.
        let status = wait::until("the gateway dies of a signal", || {
            gateway.process().signal(signal);
            gateway.process().ended()
        });
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped(), "{status}");
        gateway.restart();
    }
}
