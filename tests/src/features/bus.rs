//! One server with two pairs of gateways, and a subscriber that records everything on the bus.

use crate::frame::{self, Frame};
use crate::{GatewayPair, NatsServer, RawClient};
use std::cell::Cell;
use std::thread::JoinHandle;
use std::time::Duration;

/// The drivers' options for the four gateways, in the order of [`Bus::urls`].
pub(super) const ARGUMENTS: [&str; 4] = ["--url", "--peer", "--mixed", "--mixed-peer"];

/// The tap is not subscribed to the subjects of no-responders tests, as it would count as a responder there.
const SERVER: &str = r#"
jetstream { store_dir: "STORE", domain: hub }
accounts {
  AGENTS {
    jetstream: enabled
    mappings { "map.*.in": "map.{{wildcard(1)}}.out" }
    users [
      { user: agent, password: agent }
      { user: tap, password: tap, permissions: { subscribe: { allow: ">", deny: "nobody.>" } } }
    ]
  }
}
no_auth_user: agent
"#;

/// Keyrings for a bus that renames subjects, and for a stream of counters.
const MIXED: &str = r#"
[[keyring]]
name = "moved"
subjects = "moved.>"
bind = "keyring"
[[keyring]]
name = "renamed"
subjects = "renamed.>"
aliases = [{ from = "renamed.*.in.*", to = "renamed.*.out.*" }]
"#;

const LAST: &[u8] = b"tap.last";

/// A server whose agents are behind gateways.
pub struct Bus {
    pair: GatewayPair,
    mixed: [crate::Gateway; 2],
    tap: JoinHandle<Vec<Frame>>,
}

impl Bus {
    /// Starts the server, the tap, a pair of gateways that seal everything, and a pair with two keyrings.
    pub fn start() -> Self {
        let server = NatsServer::configured(SERVER);
        let tap = tap(&server);
        let mixed = GatewayPair::gateways(&server, "", MIXED);
        Self {
            pair: GatewayPair::with(server, "", ""),
            mixed,
            tap,
        }
    }

    /// The server.
    pub fn server(&self) -> &NatsServer {
        &self.pair.server
    }

    /// The gateways for publishers and for subscribers: first those that seal everything, then those with two keyrings.
    pub fn urls(&self) -> [String; 4] {
        let [publish, deliver] = &self.mixed;
        [&self.pair.publish, &self.pair.deliver, publish, deliver].map(crate::Gateway::url)
    }

    /// Stops the gateways; returns everything that went over the bus, and the server.
    pub fn end(self) -> (Vec<Frame>, NatsServer) {
        let mut agent = self.pair.bare();
        agent.send(&crate::agent::publish("tap.last", None, b""));
        agent.flush();
        (self.tap.join().unwrap(), self.pair.server)
    }
}

/// Reads all the time, or the server would close it as a slow consumer.
fn tap(server: &NatsServer) -> JoinHandle<Vec<Frame>> {
    let mut raw =
        RawClient::handshake(server.addr(), r#""headers":true,"user":"tap","pass":"tap""#);
    raw.send(b"SUB > 1\r\n");
    raw.flush();
    raw.forget();
    raw.set_patience(Duration::from_secs(600));
    std::thread::spawn(move || {
        let looked = Cell::new(0_usize);
        let ended = |bytes: &[u8]| {
            let from = looked.replace(bytes.len()).saturating_sub(LAST.len());
            bytes[from..].windows(LAST.len()).any(|part| part == LAST)
        };
        raw.until("the last message", ended);
        frame::split_frames(raw.received()).0
    })
}
