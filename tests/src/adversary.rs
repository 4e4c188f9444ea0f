//! A man in the middle between a gateway and a real server, which the test scripts.
//!
//! Both directions are split into operations; a rule maps each to none, one or several, and the test may inject bytes towards the
//! gateway between two operations. Without a rule everything is relayed unchanged.

use crate::frame::{self, Frame};
use crate::gateway::{Gateway, Settings};
use crate::gateway_pair::GatewayPair;
use crate::raw_client::RawClient;
use crate::server::NatsServer;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The man in the middle. Connections are numbered from 0 as they are accepted, those of the gateway's server probe included.
pub struct Adversary {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

/// A bus with two gateways: one connected to the server itself, the other to the adversary.
pub struct HostileBus {
    /// The bus; its `deliver` gateway is behind the adversary.
    pub pair: GatewayPair,
    /// The server that the `deliver` gateway connects to.
    pub adversary: Adversary,
    /// The connection number of the last victim.
    victim: AtomicUsize,
}

/// Maps the number of a connection and an operation on it to the operations that are sent on.
type Rule = Box<dyn FnMut(usize, Frame) -> Vec<Frame> + Send>;

struct Shared {
    server: SocketAddr,
    deliver: Mutex<Option<Rule>>,
    publish: Mutex<Option<Rule>>,
    latest_connection: AtomicUsize,
    /// The gateway's side of every connection. Locked while whole operations are written.
    gateways: Mutex<Vec<Arc<Mutex<TcpStream>>>>,
}

impl Adversary {
    /// A proxy to the server at this address.
    pub fn in_front_of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            deliver: Mutex::new(None),
            publish: Mutex::new(None),
            latest_connection: AtomicUsize::new(0),
            gateways: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for gateway in listener.incoming().map_while(Result::ok) {
                accepting.serve(gateway);
            }
        });
        Self { addr, shared }
    }

    /// Where the gateway connects, as a URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// Applies this rule to everything that the server sends from now on.
    pub fn on_deliver(&self, rule: impl FnMut(usize, Frame) -> Vec<Frame> + Send + 'static) {
        *locked(&self.shared.deliver) = Some(Box::new(rule));
    }

    /// Applies this rule to the messages that the server delivers on this subject from now on.
    pub fn on_message(
        &self,
        subject: &'static str,
        mut rule: impl FnMut(Frame) -> Vec<Frame> + Send + 'static,
    ) {
        self.on_deliver(move |_connection, frame| {
            if frame.has_body() && frame.subject() == subject {
                rule(frame)
            } else {
                vec![frame]
            }
        });
    }

    /// Applies this rule to everything that the gateway sends from now on.
    pub fn on_publish(&self, rule: impl FnMut(usize, Frame) -> Vec<Frame> + Send + 'static) {
        *locked(&self.shared.publish) = Some(Box::new(rule));
    }

    /// The number of the last connection on which a client has sent CONNECT.
    pub fn latest_connection(&self) -> usize {
        self.shared.latest_connection.load(Ordering::Relaxed)
    }

    /// Sends this to the gateway on a connection, between two operations of the server. A closed connection is no error.
    pub fn inject(&self, connection: usize, bytes: &[u8]) {
        let gateway = Arc::clone(&locked(&self.shared.gateways)[connection]);
        drop(locked(&gateway).write_all(bytes));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, gateway: TcpStream) {
        let server = TcpStream::connect(self.server).unwrap();
        for socket in [&gateway, &server] {
            socket.set_nodelay(true).unwrap();
        }
        let from_gateway = gateway.try_clone().unwrap();
        let from_server = server.try_clone().unwrap();
        let gateway = Arc::new(Mutex::new(gateway));
        let connection = {
            let mut gateways = locked(&self.gateways);
            gateways.push(Arc::clone(&gateway));
            gateways.len() - 1
        };
        let server = Mutex::new(server);
        let (delivering, publishing) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || {
            relay_operations(from_server, &gateway, |frame| {
                apply_rule(connection, frame, &delivering.deliver)
            });
        });
        thread::spawn(move || {
            relay_operations(from_gateway, &server, |frame| {
                publishing.note(connection, &frame);
                apply_rule(connection, frame, &publishing.publish)
            });
        });
    }

    /// Remembers the last connection with a CONNECT: the gateway's server probe sends none.
    fn note(&self, connection: usize, frame: &Frame) {
        if frame.verb() == "CONNECT" {
            self.latest_connection.store(connection, Ordering::Relaxed);
        }
    }
}

impl HostileBus {
    /// A server without JetStream, under the default policy, which seals everything.
    pub fn start() -> Self {
        Self::with(NatsServer::start(), "")
    }

    /// With these configuration tables in both gateways.
    pub fn with(server: NatsServer, tables: &str) -> Self {
        let adversary = Adversary::in_front_of(server.addr());
        let mut settings = Settings {
            tables: tables.to_owned(),
            ..Settings::default()
        };
        let publish = Gateway::start(&server.url(), settings.clone());
        settings.state = Some(publish.state());
        let deliver = Gateway::start(&adversary.url(), settings);
        let pair = GatewayPair {
            server,
            publish,
            deliver,
        };
        Self {
            pair,
            adversary,
            victim: AtomicUsize::new(0),
        }
    }

    /// An agent behind the adversary, with one subscription, whose sid is 1.
    pub fn victim(&self, filter: &str) -> RawClient {
        let mut agent = RawClient::agent(self.pair.deliver.addr());
        self.victim
            .store(self.adversary.latest_connection(), Ordering::Relaxed);
        agent.send(format!("SUB {filter} 1\r\n").as_bytes());
        agent.flush();
        agent
    }

    /// Injects these operations on the last victim's connection.
    pub fn forge(&self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        self.inject(&bytes);
    }

    /// Injects these bytes on the last victim's connection.
    pub fn inject(&self, bytes: &[u8]) {
        let victim = self.victim.load(Ordering::Relaxed);
        self.adversary.inject(victim, bytes);
    }
}

/// Relays one direction, operation by operation, until it ends.
fn relay_operations(
    mut from: TcpStream,
    to: &Mutex<TcpStream>,
    mut rule: impl FnMut(Frame) -> Vec<Frame>,
) {
    let (mut held, mut chunk) = (Vec::new(), vec![0; 65_536]);
    while let Ok(count) = from.read(&mut chunk)
        && count > 0
    {
        held.extend_from_slice(&chunk[..count]);
        let (frames, rest) = frame::split_frames(&held);
        let cut = held.len() - rest.len();
        let said = frames.into_iter().flat_map(&mut rule);
        let said: Vec<u8> = said.flat_map(|frame| frame.to_bytes()).collect();
        if locked(to).write_all(&said).is_err() {
            break;
        }
        held.drain(..cut);
    }
    // An incomplete operation is passed on at the end; the peer may have closed already.
    let mut to = locked(to);
    drop(to.write_all(&held));
    drop(to.shutdown(Shutdown::Write));
}

fn apply_rule(connection: usize, frame: Frame, rule: &Mutex<Option<Rule>>) -> Vec<Frame> {
    match &mut *locked(rule) {
        Some(rule) => rule(connection, frame),
        None => vec![frame],
    }
}

/// Ignores poisoning: a rule that panicked has reported it, the other connections go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
