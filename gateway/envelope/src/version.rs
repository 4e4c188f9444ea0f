//! Keys derived from the root secret of a key version.
//!
//! The root secret enters HKDF-Extract once and is not kept; the pseudorandom key stays, wiped on drop. It expands to the
//! commitment (public), the confirmation key (proof of possession) and one key per lane. RFC 5869 with SHA-256.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use super::aead::{Aead, DefaultAead, KEY_LEN, NONCE_LEN};
use super::{Commitment, Kid, LaneId, LaneKey, Suite};
use crate::secret::{self, Secret};

/// First bytes of the salt: domain separation.
const DERIVATION: &[u8] = b"keyway/1";
/// First bytes of the message of a proof of possession: domain separation.
const CONFIRMATION: &[u8] = b"keyway/1 confirm";

/// The key material of a key version, without its root secret. Shared between threads.
pub struct VersionKey {
    prk: Secret,
    commitment: Commitment,
    kid: Kid,
}

/// The statement of a proof of possession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The member that proves possession.
    pub member: &'a str,
    /// The epoch of the catalogue record that lists the version.
    pub epoch: u64,
    /// Random bytes from the verifier, used once.
    pub challenge: [u8; 32],
}

/// HMAC-SHA-256 of a [`Claim`] under the version's confirmation key.
#[derive(Clone, Copy, Debug)]
pub struct Proof(pub [u8; 32]);

/// The proof does not verify for the claim and this key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member did not prove that it holds this key version; let it load the version again")]
pub struct NotProven;

impl VersionKey {
    /// Derives from the root secret of version `number` of `keyring`.
    #[must_use]
    pub fn derive(keyring: &str, number: u32, root: &Secret) -> Self {
        let mut commitment = [0; 32];
        let prk = secret::on_wiped_thread(|| {
            let prk = extract(&salt(keyring, number), root.expose());
            expand(&prk, &[b"commit"], &mut commitment);
            prk
        });
        let commitment = Commitment(commitment);
        Self {
            prk,
            commitment,
            kid: commitment.kid(),
        }
    }

    /// The kid of this version.
    #[must_use]
    pub const fn kid(&self) -> Kid {
        self.kid
    }

    /// The commitment to the secret, which the catalogue record stores.
    #[must_use]
    pub const fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// Makes a proof of possession of this key version.
    #[must_use]
    pub fn confirm(&self, claim: &Claim<'_>) -> Proof {
        let tag = secret::on_wiped_thread(|| hmac::sign(&self.confirmation_key(), &claim.encode()));
        let mut proof = [0; 32];
        for (byte, tag) in proof.iter_mut().zip(tag.as_ref()) {
            *byte = *tag;
        }
        Proof(proof)
    }

    /// Checks another member's proof, in constant time.
    ///
    /// # Errors
    /// [`NotProven`] when it was made for another claim or under another secret.
    pub fn verify(&self, claim: &Claim<'_>, proof: &Proof) -> Result<(), NotProven> {
        secret::on_wiped_thread(|| {
            hmac::verify(&self.confirmation_key(), &claim.encode(), &proof.0)
        })
        .map_err(|_unspecified| NotProven)
    }

    /// The key of one lane, to open what the lane's writer sealed.
    #[must_use]
    pub fn lane(&self, suite: Suite, lane: LaneId) -> LaneKey {
        self.lane_with::<DefaultAead>(suite, lane)
    }

    /// [`VersionKey::lane`] with a named AEAD implementation.
    #[must_use]
    pub fn lane_with<A: Aead>(&self, suite: Suite, lane: LaneId) -> LaneKey<A> {
        A::on_wiped_stack(|| {
            let mut okm = Zeroizing::new([0; KEY_LEN + NONCE_LEN]);
            self.expand_lane(suite, lane, &mut okm);
            LaneKey::new(suite, &okm)
        })
    }

    /// key ‖ iv of a lane.
    pub(super) fn expand_lane(&self, suite: Suite, lane: LaneId, okm: &mut [u8; 44]) {
        let info: [&[u8]; 4] = [b"lane", &[suite.number()], &self.kid.0, &lane.0];
        expand(&self.prk, &info, okm);
    }

    /// The confirmation key, under which proofs are made.
    pub(super) fn expand_confirmation(&self) -> Secret {
        built(|key| {
            expand(&self.prk, &[b"confirm"], key);
            Ok(())
        })
    }

    fn confirmation_key(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, self.expand_confirmation().expose())
    }
}

impl Claim<'_> {
    /// The message that a proof authenticates, an injective encoding of the claim.
    pub(super) fn encode(&self) -> Vec<u8> {
        [
            CONFIRMATION,
            &prefix(self.member),
            self.member.as_bytes(),
            &self.epoch.to_be_bytes(),
            &self.challenge,
        ]
        .concat()
    }
}

/// "keyway/1" ‖ u16 length ‖ keyring ‖ u32 number.
pub(super) fn salt(keyring: &str, number: u32) -> Vec<u8> {
    [
        DERIVATION,
        &prefix(keyring),
        keyring.as_bytes(),
        &number.to_be_bytes(),
    ]
    .concat()
}

/// A name's length as big-endian u16. Names have at most 63 bytes. A longer one than u16 can say still encodes
/// unambiguously: everything around it has a fixed length.
fn prefix(name: &str) -> [u8; 2] {
    u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// How many bytes to expand to.
struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Extract, RFC 5869 section 2.2: HMAC with the salt as key. The provider's own function would keep the root secret.
pub(super) fn extract(salt: &[u8], root: &[u8]) -> Secret {
    let salt = hmac::Key::new(HMAC_SHA256, salt);
    built(|prk| hmac::sign_to_buffer(&salt, root, prk).map(|_prk| ()))
}

/// HKDF-Expand, RFC 5869 section 2.3.
#[expect(
    clippy::expect_used,
    reason = "fails only above 255 × 32 bytes, or without memory, where a Box would abort"
)]
pub(super) fn expand(prk: &Secret, info: &[&[u8]], out: &mut [u8]) {
    // The copy inside Prk wipes itself.
    Prk::new_less_safe(HKDF_SHA256, prk.expose())
        .expand(info, Len(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("at most 44 bytes, and memory for an HMAC context");
}

/// A secret that the provider writes in place.
#[expect(
    clippy::expect_used,
    reason = "HMAC into a buffer of its own length fails only without memory, where a Box would abort"
)]
fn built(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), aws_lc_rs::error::Unspecified>) -> Secret {
    Secret::build(fill).expect("memory for an HMAC context")
}
