//! Publishers that never pause, and a recorder on the server: which of their messages came, under which key version, and when.

use crate::frame;
use crate::raw_client::RawClient;
use crate::wait;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How often a publisher writes the messages that are due.
const WRITE_INTERVAL: Duration = Duration::from_millis(1);

/// A publisher to `steady.NAME.0`, `steady.NAME.1` and so on at a rate, which reconnects when the connection ends. What was
/// written before the end of the stream was read counts as sent.
pub struct SteadyPublisher {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Vec<(u64, SystemTime)>>,
}

/// What a publisher has sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The publisher's name.
    pub name: &'static str,
    /// How many messages.
    pub count: u64,
    /// Pairs of a number and the time before which it and later ones were not written.
    begun: Vec<(u64, SystemTime)>,
}

/// A connection, and whether end of stream has been read from it.
struct Connection {
    socket: TcpStream,
    ended: Arc<AtomicBool>,
}

impl SteadyPublisher {
    /// Publishes this many messages a second.
    pub fn start(addr: SocketAddr, name: &'static str, rate: u64) -> Self {
        let (over, sent) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let (until, count) = (Arc::clone(&over), Arc::clone(&sent));
        let thread = std::thread::spawn(move || publish(addr, (name, rate), (&until, &count)));
        Self { over, sent, thread }
    }

    /// Waits until this many more have been sent.
    pub fn send(&self, more: u64) {
        let target = self.sent.load(Ordering::Acquire) + more;
        wait::until("messages that are sent", || {
            assert!(!self.thread.is_finished(), "the publisher has failed");
            (self.sent.load(Ordering::Acquire) >= target).then_some(())
        });
    }

    /// How many it has sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Stops it; returns how many it has sent. The server has processed those of its last connection.
    pub fn finish(self) -> u64 {
        self.finish_with_times("").count
    }

    /// The same with the times of sending; `name` is its name.
    pub fn finish_with_times(self, name: &'static str) -> Sent {
        self.over.store(true, Ordering::Release);
        let begun = self.thread.join().unwrap();
        let count = self.sent.load(Ordering::Acquire);
        Sent { name, count, begun }
    }
}

impl Sent {
    /// A time at which the message on this subject had not been sent yet, if it is one of these.
    pub fn not_before(&self, subject: &str) -> Option<SystemTime> {
        let (name, number) = subject.strip_prefix("steady.")?.split_once('.')?;
        let number: u64 = number.parse().ok().filter(|_| name == self.name)?;
        let after = self.begun.partition_point(|(first, _at)| *first <= number);
        Some(self.begun[..after].last()?.1)
    }
}

fn publish(
    addr: SocketAddr,
    (name, rate): (&str, u64),
    (over, sent): (&AtomicBool, &AtomicU64),
) -> Vec<(u64, SystemTime)> {
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut connection = Connection::open(addr);
    let mut next = 0;
    while !over.load(Ordering::Acquire) {
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * rate / 1000;
        let lines = (next..due).map(|number| format!("PUB steady.{name}.{number} 5\r\nhello\r\n"));
        let bytes: String = lines.collect();
        if connection.ended.load(Ordering::Acquire) {
            connection = Connection::open(addr);
        }
        record_times(&mut times, next..due, SystemTime::now());
        if connection.socket.write_all(bytes.as_bytes()).is_ok() {
            next = due;
            sent.store(next, Ordering::Release);
        }
        std::thread::park_timeout(WRITE_INTERVAL);
    }
    connection.finish();
    times
}

/// Records that these are about to be written. Of those that are written again after a failure the first time counts.
fn record_times(times: &mut Vec<(u64, SystemTime)>, numbers: Range<u64>, now: SystemTime) {
    let is_new = |(first, _at): &(u64, SystemTime)| *first < numbers.start;
    if !numbers.is_empty() && times.last().is_none_or(is_new) {
        times.push((numbers.start, now));
    }
}

impl Connection {
    fn open(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        let ended = Arc::<AtomicBool>::default();
        let (mut reads, told) = (socket.try_clone().unwrap(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut ignored = [0; 4096];
            while reads.read(&mut ignored).is_ok_and(|count| count != 0) {}
            told.store(true, Ordering::Release);
            drop(reads.shutdown(Shutdown::Both));
        });
        let mut connection = Self { socket, ended };
        let greeting = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
        connection.socket.write_all(greeting).unwrap();
        connection
    }

    /// Half-closes, and waits until the gateway has closed.
    fn finish(self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
        wait::until("the end of a publisher's connection", || {
            self.ended.load(Ordering::Acquire).then_some(())
        });
    }
}

/// A message as it was on the bus.
#[derive(Clone, Debug)]
pub struct RecordedMessage {
    /// Its subject.
    pub subject: String,
    /// The key version that it is sealed under.
    pub kid: Vec<u8>,
    /// When it was read.
    pub at: SystemTime,
}

/// A subscriber of `steady.>` on the server itself, which reads all the time.
pub struct BusRecorder {
    socket: TcpStream,
    thread: JoinHandle<Vec<RecordedMessage>>,
}

impl BusRecorder {
    /// Subscribes; on return every later message will be recorded.
    pub fn open(server: SocketAddr) -> Self {
        let mut raw = RawClient::handshake(server, "\"headers\":true");
        raw.send(b"SUB steady.> 1\r\n");
        raw.flush();
        let socket = raw.into_socket();
        let reads = socket.try_clone().unwrap();
        let thread = std::thread::spawn(move || watch(reads));
        Self { socket, thread }
    }

    /// Stops it; returns every message that reached the server before this call.
    pub fn finish(mut self) -> Vec<RecordedMessage> {
        self.socket.write_all(b"PING\r\n").unwrap();
        self.thread.join().unwrap()
    }
}

/// Reads messages up to the next `PONG`.
fn watch(mut reads: TcpStream) -> Vec<RecordedMessage> {
    let (mut seen, mut bytes) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = reads.read(&mut chunk).unwrap();
        assert!(count != 0, "the server turned the recorder away");
        bytes.extend_from_slice(&chunk[..count]);
        let at = SystemTime::now();
        let (frames, rest) = frame::split_frames(&bytes);
        bytes = rest.to_vec();
        let messages = frames.iter().filter(|frame| frame.has_body());
        seen.extend(messages.map(|frame| RecordedMessage {
            subject: frame.subject().to_owned(),
            kid: frame.kid(),
            at,
        }));
        if frames.iter().any(|frame| frame.verb() == "PONG") {
            return seen;
        }
    }
}

/// How many of the first `count` messages of a publisher are not among those.
pub fn lost(seen: &[RecordedMessage], name: &str, count: u64) -> usize {
    let subjects: BTreeSet<&str> = seen.iter().map(|seen| seen.subject.as_str()).collect();
    let came = |number: &u64| subjects.contains(format!("steady.{name}.{number}").as_str());
    (0..count).filter(|number| !came(number)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_that_is_written_twice_was_not_before_the_first_time() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut begun = Vec::new();
        for (numbers, seconds) in [(0..2, 1), (2..2, 2), (2..4, 3), (2..5, 4), (5..6, 5)] {
            record_times(&mut begun, numbers, at(seconds));
        }
        let sent = Sent {
            name: "a",
            count: 6,
            begun,
        };
        let times = [1, 1, 3, 3, 3, 5];
        for (number, seconds) in (0..).zip(times) {
            let subject = format!("steady.a.{number}");
            assert_eq!(sent.not_before(&subject), Some(at(seconds)), "{subject}");
        }
    }
}
