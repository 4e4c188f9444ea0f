//! One worker and the paths of one session after its handshake.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use keyway::clock::Clock;
use keyway::dataplane::{
    Config, DeliverBatch, DeliverPath, Endpoints, PublishBatch, PublishPath, SessionState, Shared,
    Worker,
};
use keyway::keyring::{Keys, WorkerId};
use keyway::metrics::PrometheusHandle;
use keyway::wire::Buffer;

const INFO: &[u8] = b"INFO {\"server_id\":\"bench\",\"version\":\"2.15.1\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n";
const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";

/// A worker, and the state that the two directions of a session share.
pub struct SessionFixture {
    /// The keys that the worker uses.
    pub keys: Arc<Keys>,
    worker: Box<Worker>,
    state: RefCell<SessionState>,
}

impl SessionFixture {
    /// A gateway that seals everything, with the last of `versions` key versions active.
    #[must_use]
    pub fn sealing(versions: u32) -> Self {
        Self::new(versions, Config::default())
    }

    /// A relay.
    #[must_use]
    pub fn relay() -> Self {
        let config = Config {
            relay_only: true,
            ..Config::default()
        };
        Self::new(1, config)
    }

    fn new(versions: u32, config: Config) -> Self {
        record_metrics();
        let (keys, _misses) = Keys::new(crate::snapshot(versions));
        let keys = Arc::new(keys);
        let shared = Arc::new(Shared::new(config, Arc::clone(&keys), Clock::system()));
        let nowhere = Endpoints {
            client: None,
            gateway: None,
        };
        let worker = Box::new(Worker::new(WorkerId(0), shared));
        Self {
            keys,
            state: RefCell::new(worker.session_state(nowhere)),
            worker,
        }
    }

    /// Both paths of a session whose INFO and CONNECT have gone through.
    #[must_use]
    pub fn paths(&self) -> (PublishPath<'_>, DeliverPath<'_>) {
        let mut publish = PublishPath::new(&self.worker, &self.state);
        let mut deliver = DeliverPath::new(&self.worker, &self.state);
        let mut output = Buffer::new();
        run_deliver(&mut deliver, &mut filled(INFO), &mut output);
        run_publish(&mut publish, &mut filled(CONNECT), &mut output);
        (publish, deliver)
    }
}

/// Installs a metrics recorder: without one the paths would be faster than in reality.
fn record_metrics() {
    static PAGE: OnceLock<PrometheusHandle> = OnceLock::new();
    PAGE.get_or_init(|| keyway::metrics::install().unwrap());
}

/// Passes everything in `input` through the publish path; `output` keeps what the last batch wrote.
///
/// # Panics
/// When the path wants anything else than more bytes.
pub fn run_publish(path: &mut PublishPath<'_>, input: &mut Buffer, output: &mut Buffer) {
    loop {
        output.clear();
        let ended = path.batch(input, output);
        path.written();
        match ended {
            PublishBatch::Full => {}
            PublishBatch::More(_) if input.is_empty() => return,
            PublishBatch::More(_)
            | PublishBatch::CannotSeal(_)
            | PublishBatch::Unaccepted
            | PublishBatch::Killed
            | PublishBatch::TooLarge => {
                panic!("the publish path stopped")
            }
        }
    }
}

/// Passes everything in `input` through the deliver path; `output` keeps what the last batch wrote.
///
/// # Panics
/// When the path wants anything else than more bytes.
pub fn run_deliver(path: &mut DeliverPath<'_>, input: &mut Buffer, output: &mut Buffer) {
    loop {
        output.clear();
        let ended = path.batch(input, output);
        path.written();
        match ended {
            DeliverBatch::Full => {}
            DeliverBatch::More(_) if input.is_empty() => return,
            DeliverBatch::More(_)
            | DeliverBatch::Miss(_)
            | DeliverBatch::Malformed
            | DeliverBatch::Drained => {
                panic!("the deliver path stopped")
            }
        }
    }
}

/// A buffer that holds `bytes`. Once it has been consumed whole, `advance(bytes.len())` fills it with the same bytes again, at
/// no cost.
#[must_use]
pub fn filled(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::new();
    buffer.put(bytes);
    buffer
}
