//! Agents that reconnect by themselves, and remember what was acknowledged to them and what they received.

mod core;
mod requests;
mod stream;

pub use self::core::{CoreTraffic, Totals};
pub use requests::Requests;
pub use stream::StreamTraffic;

use crate::gateway::Gateway;

/// Core NATS and JetStream agents at once, through one gateway.
pub struct Traffic {
    /// Three pairs of raw sockets.
    pub core: CoreTraffic,
    /// One publisher to a stream in memory, and its consumer.
    pub stream: StreamTraffic,
}

impl Traffic {
    /// Starts them.
    pub fn start(gateway: &Gateway) -> Self {
        Self {
            core: CoreTraffic::start(gateway.addr(), 3),
            stream: StreamTraffic::start(&gateway.url(), 1, 4),
        }
    }

    /// Waits until both make progress.
    pub fn await_progress(&self) {
        self.core.await_progress();
        self.stream.await_progress();
    }

    /// Waits until both make progress once more, and stops them; fails if anything acknowledged was lost.
    pub fn finish(self, server: &str) -> Totals {
        self.await_progress();
        let tally = self.core.finish();
        assert!(self.stream.finish(server) > 0);
        tally
    }
}
