//! The known-answer self-test that runs at every start: a gateway whose cryptography is broken must not serve.

use super::limits::Caps;
use super::{Binding, Header, LaneId, OVERHEAD, Sealer, Suite, VersionKey};
use crate::secret::Secret;

const KEYRING: &str = "known-answer";
const SUBJECT: &[u8] = b"known.answer";
const PLAINTEXT: &[u8] = b"keyway known answer";
const LANE: LaneId = LaneId([0xA5; 16]);
const SEALED_LEN: usize = PLAINTEXT.len() + OVERHEAD;

/// The envelope of [`PLAINTEXT`] under each suite, as the pure-Rust and a third implementation computed it too.
const ANSWERS: [(Suite, [u8; SEALED_LEN]); 2] = [
    (
        Suite::Aes256Gcm,
        [
            0xfa, 0x4b, 0x11, 0x01, 0x35, 0x55, 0xdd, 0xb8, 0x80, 0x57, 0xd1, 0x5f, 0xa5, 0xa5,
            0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5,
            0x00, 0x00, 0x00, 0x00, 0xd7, 0xd7, 0xeb, 0x87, 0xe1, 0xcf, 0x08, 0x9f, 0x67, 0x68,
            0xd1, 0x41, 0xb8, 0x0c, 0xbb, 0x4d, 0x30, 0x78, 0xe7, 0x4e, 0xd7, 0xd3, 0x68, 0x0a,
            0xff, 0x24, 0xdf, 0x1b, 0x5a, 0x3f, 0xf0, 0x43, 0x07, 0x41, 0x30,
        ],
    ),
    (
        Suite::Aes256GcmSiv,
        [
            0xfa, 0x4b, 0x12, 0x01, 0x35, 0x55, 0xdd, 0xb8, 0x80, 0x57, 0xd1, 0x5f, 0xa5, 0xa5,
            0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5,
            0x00, 0x00, 0x00, 0x00, 0x1b, 0xd9, 0xaa, 0x54, 0xa8, 0x81, 0x4f, 0xad, 0xef, 0xba,
            0x38, 0x36, 0x4e, 0x23, 0xcc, 0x2f, 0x95, 0x26, 0x5f, 0x86, 0xe7, 0x1a, 0xba, 0xb4,
            0x13, 0x45, 0xea, 0x59, 0x92, 0x16, 0xea, 0x8a, 0x79, 0x5e, 0xbe,
        ],
    ),
];

/// The cryptography of this build or machine computes something else than it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "self-test of {suite} failed: {what}; the gateway does not serve with broken cryptography. Reinstall it, then suspect the machine",
    suite = .suite.name()
)]
pub struct SelfTestFailed {
    /// The suite that was under test.
    pub suite: Suite,
    /// What differed.
    pub what: &'static str,
}

/// Derives, seals and opens known answers with both suites, and checks that an altered envelope does not open.
///
/// # Errors
/// [`SelfTestFailed`]: the gateway must not serve.
pub fn self_test() -> Result<(), SelfTestFailed> {
    let first = |what| SelfTestFailed {
        suite: Suite::Aes256Gcm,
        what,
    };
    let root = Secret::build(|bytes| {
        bytes.fill(0x5A);
        Ok::<(), SelfTestFailed>(())
    })?;
    let version = VersionKey::derive(KEYRING, 1, &root);
    if version.kid() != version.commitment().kid() {
        return Err(first("the kid is not the start of the commitment"));
    }
    ANSWERS.iter().try_for_each(|(suite, answer)| {
        answers(&version, *suite, answer).map_err(|what| SelfTestFailed {
            suite: *suite,
            what,
        })
    })
}

/// One suite; the error says what differed.
fn answers(
    version: &VersionKey,
    suite: Suite,
    answer: &[u8; SEALED_LEN],
) -> Result<(), &'static str> {
    let mut sealer: Sealer = Sealer::with_lane_id(version, suite, LANE, Caps::FULL);
    let mut envelope = [0; SEALED_LEN];
    sealer
        .seal(Binding::to(Some(SUBJECT)), PLAINTEXT, &mut envelope)
        .map_err(|_any| "it does not seal")?;
    if envelope != *answer {
        return Err("the envelope differs");
    }
    let header = Header::parse(&envelope).map_err(|_any| "the header is refused")?;
    let lane = version.lane(suite, header.lane);
    let mut plaintext = [0; PLAINTEXT.len()];
    lane.open(
        &header,
        Binding::to(Some(SUBJECT)),
        &envelope,
        &mut plaintext,
    )
    .map_err(|_any| "it does not open")?;
    if plaintext != *PLAINTEXT {
        return Err("the plaintext differs");
    }
    if let Some(last) = envelope.last_mut() {
        *last ^= 1;
    }
    let altered = lane.open(
        &header,
        Binding::to(Some(SUBJECT)),
        &envelope,
        &mut plaintext,
    );
    if altered.is_ok() || plaintext != [0; PLAINTEXT.len()] {
        return Err("an altered envelope opens");
    }
    Ok(())
}
