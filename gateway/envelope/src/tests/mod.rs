//! Properties of the format.

use super::{Claim, Flags, Header, LaneId, NotProven, Suite, VersionKey, looks_sealed, self_test};
use crate::secret::memory::{find_in_memory, masked, on_deep_stack, with_fewer_cpu_features};
use crate::secret::{Secret, on_wiped_thread};

#[test]
fn known_answers_are_computed_by_this_build() {
    self_test().unwrap();
}

#[test]
fn header_is_thirty_two_bytes_in_the_documented_order() {
    let mut bytes = [0_u8; 48];
    bytes[..4].copy_from_slice(&[0xFA, 0x4B, 0x12, 0x01]);
    for (at, byte) in bytes.iter_mut().enumerate().take(28).skip(4) {
        *byte = u8::try_from(at).unwrap();
    }
    bytes[28..32].copy_from_slice(&0x0102_0304_u32.to_be_bytes());
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.kid.to_string(), "0405060708090a0b");
    assert_eq!(header.lane.to_string(), "0c0d0e0f101112131415161718191a1b");
    assert_eq!(header.counter, 0x0102_0304);
    assert_eq!(header.flags, Flags::BOUND);
    assert_eq!(header.encode(), bytes[..32]);
}

mod cross;
mod lane;
mod vectors;
mod wycheproof;

fn version(keyring: &str, number: u32, root: u8) -> VersionKey {
    let root = Secret::build(|bytes| {
        bytes.fill(root);
        Ok::<(), ()>(())
    });
    VersionKey::derive(keyring, number, &root.unwrap())
}

#[test]
fn kid_commits_to_secret_keyring_and_number() {
    let kid = |version: VersionKey| version.kid();
    let one = kid(version("agents", 1, 1));
    assert_eq!(one, kid(version("agents", 1, 1)));
    assert_ne!(one, kid(version("agents", 1, 2)));
    assert_ne!(one, kid(version("agents", 2, 1)));
    assert_ne!(one, kid(version("agent", 1, 1)));
    // Longer than the length field can express: still distinct.
    let long = "a".repeat(65_535);
    let longer = "a".repeat(65_536);
    assert_ne!(kid(version(&long, 1, 1)), kid(version(&longer, 1, 1)));
}

#[test]
fn proof_fits_one_claim_under_one_secret() {
    let holder = version("agents", 1, 1);
    let claim = Claim {
        member: "gateway-1",
        epoch: 7,
        challenge: [9; 32],
    };
    let proof = holder.confirm(&claim);
    assert_eq!(holder.verify(&claim, &proof), Ok(()));
    let others = [
        Claim {
            member: "gateway-2",
            ..claim
        },
        Claim { epoch: 8, ..claim },
        Claim {
            challenge: [8; 32],
            ..claim
        },
    ];
    for other in others {
        assert_eq!(holder.verify(&other, &proof), Err(NotProven));
    }
    let stranger = version("agents", 1, 2);
    assert_eq!(stranger.verify(&claim, &proof), Err(NotProven));
}

#[test]
fn payload_with_the_magic_looks_sealed_and_others_do_not() {
    assert!(looks_sealed(b"\xFA\x4B"));
    assert!(looks_sealed(b"\xFA\x4B\x21 from the future"));
    for plain in [b"".as_slice(), b"\xFA", b"K\xFA", b"{}", b"hello"] {
        assert!(!looks_sealed(plain));
    }
}

#[test]
fn derivation_leaves_no_copy_of_a_secret_in_memory() {
    with_fewer_cpu_features("tests::derivation_leaves_no_copy_of_a_secret_in_memory");
    for secret in on_deep_stack(derived) {
        assert_eq!(find_in_memory(&secret), Vec::<String>::new());
    }
}

/// The secrets that were used.
fn derived() -> Vec<Vec<u8>> {
    let root = Secret::random().unwrap();
    let version = VersionKey::derive("agents", 1, &root);
    let lane = LaneId([4; 16]);
    let [confirmation, key] = on_wiped_thread(|| {
        let confirmation = version.expand_confirmation();
        let mut okm = zeroize::Zeroizing::new([0; 44]);
        version.expand_lane(Suite::Aes256Gcm, lane, &mut okm);
        [masked(confirmation.expose()), masked(&okm[..32])]
    });
    let claim = Claim {
        member: "gateway-1",
        epoch: 7,
        challenge: [9; 32],
    };
    let proof = version.confirm(&claim);
    assert_eq!(version.verify(&claim, &proof), Ok(()));
    drop(version.lane(Suite::Aes256Gcm, lane));
    vec![masked(root.expose()), confirmation, key]
}
