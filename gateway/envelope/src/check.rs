//! Properties that hold for any bytes as an envelope, for fuzzers and property tests.

use super::limits::Caps;
use super::{Binding, Flags, Header, LaneId, OVERHEAD, Sealer, Suite, VersionKey};
use crate::secret::Secret;

const SUBJECT: &[u8] = b"fuzz.subject";

/// Parses and opens `data` as an envelope, under its own header's lane; then seals it; then changes a sealed envelope by it.
///
/// # Panics
/// When a property fails: a header that does not encode to the bytes it was parsed from, plaintext left after a failure, a forged
/// or altered envelope that opens, or a sealed one that does not.
pub fn open_never_panics(data: &[u8]) {
    let Ok(root) = Secret::build(|bytes| {
        bytes.fill(7);
        Ok::<(), ()>(())
    }) else {
        return;
    };
    let version = VersionKey::derive("fuzz", 1, &root);
    opens_only_what_was_sealed(&version, data);
    sealed_opens(&version, data);
    changed_never_opens(&version, data);
}

/// A fuzzer that watches comparisons can produce an authentic envelope; no other may open.
fn opens_only_what_was_sealed(version: &VersionKey, data: &[u8]) {
    let (Some(plaintext), Ok(header)) = (open(version, Some(SUBJECT), data), Header::parse(data))
    else {
        return;
    };
    // Opened without a request or a reply subject, so that an envelope bound to one cannot open.
    let binding = Binding {
        passes_on: header.flags.has(Flags::PASSED_ON),
        ..Binding::to(header.flags.has(Flags::BOUND).then_some(SUBJECT))
    };
    let ours = seal(version, header.suite, binding, &plaintext);
    assert_eq!(ours.as_deref(), Some(data), "a forgery opened");
}

fn sealed_opens(version: &VersionKey, data: &[u8]) {
    let (suite, subject) = match data.first() {
        Some(first) if first % 2 == 0 => (Suite::Aes256Gcm, None),
        _ => (Suite::Aes256GcmSiv, Some(data)),
    };
    let Some(envelope) = seal(version, suite, Binding::to(subject), data) else {
        return;
    };
    let opened = open(version, subject, &envelope);
    assert_eq!(opened.as_deref(), Some(data), "what was sealed opens");
}

/// The first byte selects suite, binding and kind of change, the second the position, the rest is `XORed` or appended.
fn changed_never_opens(version: &VersionKey, data: &[u8]) {
    let [choice, place, change @ ..] = data else {
        return;
    };
    let suite = match choice & 1 {
        0 => Suite::Aes256Gcm,
        _ => Suite::Aes256GcmSiv,
    };
    let subject = (choice & 2 != 0).then_some(SUBJECT);
    let Some(sealed) = seal(version, suite, Binding::to(subject), b"what the agent said") else {
        return;
    };
    let mut changed = sealed.clone();
    match choice >> 6 {
        0 => changed.truncate(usize::from(*place)),
        1 => changed.extend_from_slice(change),
        _ => {
            let place = usize::from(*place).checked_rem(sealed.len());
            let rest = changed.iter_mut().skip(place.unwrap_or(0));
            rest.zip(change).for_each(|(byte, flips)| *byte ^= flips);
        }
    }
    let opened = open(version, subject, &changed);
    assert_eq!(opened.is_some(), changed == sealed, "{changed:?}");
    let moved = open(version, Some(change), &sealed);
    assert_eq!(moved.is_some(), subject.is_none_or(|own| own == change));
}

fn seal(version: &VersionKey, suite: Suite, binding: Binding<'_>, data: &[u8]) -> Option<Vec<u8>> {
    let mut sealer: Sealer = Sealer::with_lane_id(version, suite, LaneId([9; 16]), Caps::FULL);
    let mut envelope = vec![0; data.len().saturating_add(OVERHEAD)];
    sealer.seal(binding, data, &mut envelope).ok()?;
    Some(envelope)
}

fn open(version: &VersionKey, subject: Option<&[u8]>, envelope: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(envelope).ok()?;
    assert!(envelope.starts_with(&header.encode()), "header reads back");
    let mut out = vec![0xEE; envelope.len().saturating_sub(OVERHEAD)];
    let lane = version.lane(header.suite, header.lane);
    let opened = lane.open(&header, Binding::to(subject), envelope, &mut out);
    assert!(
        opened.is_ok() || out.iter().all(|byte| *byte == 0),
        "no plaintext stays"
    );
    opened.ok().map(|()| out)
}
