//! Latency of requests while other clients attack the port.
//!
//! Attackers are paced, so that the gateway is measured and not how fast this machine can attack itself. The bare server under
//! the same attack is measured beside it, as attackers, server, gateway and the two clients share the cores. Rounds alternate
//! between quiet and every attack, on each target.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde::Serialize;

use crate::error::RunError;
use crate::load::{Client, Endpoint, Pace, Times, now};
use crate::report::{Spread, ratio, show};
use crate::scenarios::request;
use crate::targets::{Mode, Programs};

/// Socket time-out of an attacker.
const PATIENCE: Duration = Duration::from_millis(200);

/// Bytes that a client that never reads is sent at a time.
const FLOOD: usize = 16 * 1024;

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false}\r\n";

#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Payload of request and answer, in bytes.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Requests per round.
    #[arg(long, default_value_t = 2000)]
    requests: u64,
    /// Rounds of each attack, and of none.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What an attack does in a second: connections, or bytes of those that drip.
    #[arg(long, default_value_t = 200)]
    pace: u32,
    /// Connections that drip.
    #[arg(long, default_value_t = 500)]
    slow: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            size: 128,
            requests: 2000,
            rounds: 5,
            pace: 200,
            slow: 500,
        }
    }
}

/// One target under one attack. Times in microseconds.
#[derive(Serialize)]
pub(crate) struct Hostile {
    pub(crate) target: &'static str,
    pub(crate) attack: &'static str,
    pub(crate) requests: u64,
    /// What attackers did, over all rounds.
    pub(crate) acts: u64,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
    /// Of the same round without an attack.
    pub(crate) p99_of_quiet: Spread,
}

/// An attack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Nothing.
    None,
    /// Many connections, each with half a CONNECT that grows by a byte now and then.
    Slow,
    /// A control line of 128 KiB without an end.
    Line,
    /// A CONNECT whose JSON nests 20,000 deep.
    Json,
    /// A `ClientHello`, and bytes that are not TLS.
    Garbage,
    /// A request of HTTP.
    Http,
    /// A reset in the middle of a message.
    Reset,
    /// A subscriber that never reads, and 16 KiB to it at each beat.
    NeverReads,
}

const ATTACKS: [(Attack, &str); 8] = [
    (Attack::None, "none"),
    (Attack::Slow, "slow clients"),
    (Attack::Line, "endless lines"),
    (Attack::Json, "deep JSON"),
    (Attack::Garbage, "TLS garbage"),
    (Attack::Http, "HTTP"),
    (Attack::Reset, "resets"),
    (Attack::NeverReads, "never reads"),
];

/// Results of rounds.
#[derive(Default)]
struct Rounds {
    requests: u64,
    acts: u64,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub(crate) fn run(programs: &Programs, args: &Args) -> Result<Vec<Hostile>, RunError> {
    let server = programs.server()?;
    let sealing = programs.gateway(server.addr, Mode::Sealing)?;
    let targets = [
        ("bare server", server.addr),
        ("keyway sealing", sealing.addr),
    ];
    let mut measured: Vec<Rounds> = Vec::new();
    measured.resize_with(targets.len() * ATTACKS.len(), Rounds::default);
    for (_, addr) in targets {
        requests(addr, args.size, args.requests / 10 + 1)?;
    }
    for _ in 0..args.rounds {
        let ways = ATTACKS
            .iter()
            .flat_map(|(attack, _)| targets.iter().map(move |(_, addr)| (*attack, *addr)));
        for ((attack, addr), rounds) in ways.zip(&mut measured) {
            rounds.add(attack, addr, args)?;
        }
    }
    let quiet: Vec<_> = measured
        .iter()
        .take(targets.len())
        .map(|rounds| rounds.p99.clone())
        .collect();
    let names = ATTACKS
        .iter()
        .flat_map(|(_, attack)| targets.iter().map(move |(target, _)| (*attack, *target)));
    let rows = names.zip(measured).zip(quiet.iter().cycle());
    Ok(rows
        .map(|(((attack, target), rounds), quiet)| rounds.row(attack, target, quiet))
        .collect())
}

impl Rounds {
    fn add(&mut self, attack: Attack, addr: SocketAddr, args: &Args) -> Result<(), RunError> {
        let (over, acts) = (AtomicBool::new(false), AtomicU64::new(0));
        let attacker = Attacker {
            addr,
            over: &over,
            acts: &acts,
            beat: Duration::from_secs(1) / args.pace.max(1),
        };
        let times = std::thread::scope(|scope| {
            let attacking = scope.spawn(|| attacker.attack(attack, args.slow));
            // The attack has begun, or could not begin.
            while acts.load(Ordering::Relaxed) == 0 && !attacking.is_finished() {
                std::thread::park_timeout(attacker.beat);
            }
            let times = requests(addr, args.size, args.requests);
            over.store(true, Ordering::Relaxed);
            let attacked = attacking
                .join()
                .unwrap_or_else(|_panic| Err(RunError::Limit("an attacker panicked".to_owned())));
            attacked.and(times)
        })?;
        self.requests += times.len();
        self.acts += acts.into_inner();
        self.p50.push(times.micros(0.5));
        self.p99.push(times.micros(0.99));
        Ok(())
    }

    fn row(self, attack: &'static str, target: &'static str, quiet: &[f64]) -> Hostile {
        Hostile {
            target,
            attack,
            requests: self.requests,
            acts: self.acts,
            p99_of_quiet: ratio(&self.p99, quiet),
            p50: Spread::of(self.p50),
            p99: Spread::of(self.p99),
        }
    }
}

/// Runs requests one at a time; returns their latencies.
fn requests(addr: SocketAddr, size: usize, count: u64) -> Result<Times, RunError> {
    let moved = request::play(&Endpoint::plain(addr), size, count, Pace::Window(1))?;
    let missing = || RunError::Limit("requests were not timed".to_owned());
    moved.times.ok_or_else(missing)
}

/// An attacker, until the round is over.
struct Attacker<'a> {
    addr: SocketAddr,
    over: &'a AtomicBool,
    acts: &'a AtomicU64,
    beat: Duration,
}

impl Attacker<'_> {
    fn attack(&self, attack: Attack, slow: usize) -> Result<(), RunError> {
        match attack {
            Attack::None => Ok(()),
            Attack::Slow => self.drip(slow),
            Attack::Line => self.send(&[b"PUB ", vec![b'a'; 128 * 1024].as_slice()].concat()),
            Attack::Json => {
                let deep = "[".repeat(20_000);
                self.send(format!("CONNECT {{\"a\":{deep}\r\n").as_bytes())
            }
            Attack::Garbage => self.send(
                &[
                    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
                    [0xa5; 512].as_slice(),
                ]
                .concat(),
            ),
            Attack::Http => self.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            Attack::Reset => self.reset(),
            Attack::NeverReads => self.flood(),
        }
    }

    /// Opens connections that send these bytes, and read until they are closed.
    fn send(&self, bytes: &[u8]) -> Result<(), RunError> {
        self.paced(|| {
            let mut socket = self.connect()?;
            // Being closed is expected.
            if socket.write_all(bytes).is_ok() {
                drop(socket.read_to_end(&mut Vec::new()));
            }
            Ok(())
        })
    }

    fn reset(&self) -> Result<(), RunError> {
        let half = [CONNECT, b"PUB load.reset 1000\r\nhalf a message"].concat();
        self.paced(|| {
            let mut socket = self.connect()?;
            // Both fail only where it is closed already.
            drop(socket.read(&mut [0; 4096]));
            drop(socket.write_all(&half));
            set_socket_linger(&socket, Some(Duration::ZERO))
                .map_err(|error| RunError::io("setting a socket to reset", error.into()))
        })
    }

    fn drip(&self, slow: usize) -> Result<(), RunError> {
        let mut sockets = Vec::new();
        for _ in 0..slow {
            let mut socket = self.connect()?;
            drop(socket.write_all(b"CONNECT {\"name\":\""));
            sockets.push(socket);
        }
        let mut turn = 0;
        self.paced(|| {
            turn = (turn + 1) % sockets.len().max(1);
            if let Some(socket) = sockets.get_mut(turn)
                && socket.write_all(b"x").is_err()
            {
                *socket = self.connect()?;
            }
            Ok(())
        })
    }

    fn flood(&self) -> Result<(), RunError> {
        let mut deaf = Client::connect(&Endpoint::plain(self.addr))?;
        deaf.subscribe("load.flood")?;
        let mut publisher = Client::connect(&Endpoint::plain(self.addr))?;
        let payload = "x".repeat(FLOOD);
        let message = format!("PUB load.flood {FLOOD}\r\n{payload}\r\n");
        self.paced(|| publisher.send(message.as_bytes()))
    }

    /// Acts at a fixed interval; late actions are not made up for.
    fn paced(&self, mut act: impl FnMut() -> Result<(), RunError>) -> Result<(), RunError> {
        while !self.over.load(Ordering::Relaxed) {
            let begun = now();
            act()?;
            self.acts.fetch_add(1, Ordering::Relaxed);
            std::thread::park_timeout(self.beat.saturating_sub(now().duration_since(begun)));
        }
        Ok(())
    }

    fn connect(&self) -> Result<TcpStream, RunError> {
        let open = || {
            let socket = TcpStream::connect_timeout(&self.addr, Duration::from_secs(30))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        open().map_err(|source| RunError::io(format!("connecting to {}", self.addr), source))
    }
}

/// For people.
pub(super) fn print(out: &mut impl Write, rows: &[Hostile]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nRequests beside an attack, microseconds: median (lowest to highest round)"
    )?;
    writeln!(
        out,
        "{:<16}{:<16}{:>8}{:>26}{:>28}{:>26}",
        "attack", "", "acts", "p50", "p99", "p99 of the quiet round's"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16}{:<16}{:>8}{:>26}{:>28}{:>26}",
            row.attack,
            row.target,
            row.acts,
            show(row.p50, 0),
            show(row.p99, 0),
            show(row.p99_of_quiet, 2)
        )?;
    }
    Ok(())
}
