//! The steps whose cost is compared with the raw AEAD's, each on one size of payload, ready to be repeated.

mod open;
mod seal;

pub use open::open;
pub use seal::seal;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use keyway::envelope::HEADER_LEN;

use crate::{SUBJECT, SessionFixture};

/// Payload sizes, in bytes.
pub const SIZES: [usize; 7] = [16, 64, 128, 256, 1024, 4096, 16384];

/// The step that others are compared with.
pub const BASELINE: &str = "aead";

/// Additional data of the length of an envelope bound to [`SUBJECT`].
const AAD: [u8; HEADER_LEN + 2 + SUBJECT.len()] = [1; HEADER_LEN + 2 + SUBJECT.len()];

/// One step on one size of payload.
pub struct Case<'a> {
    /// Its name.
    pub step: &'static str,
    /// How many messages one run takes.
    pub messages: usize,
    run: Box<dyn FnMut() + 'a>,
}

/// The gateways whose paths are measured: with one key version, with those of an overlap, and a relay.
pub struct Fixtures {
    sealing: Box<SessionFixture>,
    overlap: Box<SessionFixture>,
    relay: Box<SessionFixture>,
}

impl Default for Fixtures {
    fn default() -> Self {
        Self {
            sealing: Box::new(SessionFixture::sealing(1)),
            overlap: Box::new(SessionFixture::sealing(open::MANY.0)),
            relay: Box::new(SessionFixture::relay()),
        }
    }
}

impl<'a> Case<'a> {
    fn one(step: &'static str, run: impl FnMut() + 'a) -> Self {
        Self::many(step, 1, run)
    }

    fn many(step: &'static str, messages: usize, run: impl FnMut() + 'a) -> Self {
        Self {
            step,
            messages,
            run: Box::new(run),
        }
    }

    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// A key made beforehand.
fn raw_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap())
}
