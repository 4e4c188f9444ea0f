//! Signed checkpoints: C2SP tlog-checkpoint in a C2SP signed-note, with an Ed25519 signature.
//!
//! ```text
//! keyway/audit/9f86d081884c7d65                          the log's name
//! 42                                                     how many lines it covers
//! qIFRqjF1Pl1Zxz2V6wkl9N3Z0Cq7cVQ1Qm2Z5cQ4A1k=           the Merkle tree hash over them, base64
//!                                                        (empty)
//! — keyway/audit/9f86d081884c7d65 wvJ4Xk…                base64: 4 bytes that name the key, 64 of signature
//! ```

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};

use super::hash::{Hash, Hex, sha256};
use super::text::Text;
use crate::secret::on_wiped_thread;

/// The type of an Ed25519 signature in the note format.
const TYPE: u8 = 1;

/// The signed content: how many lines there are, and their Merkle tree hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many lines it covers.
    pub size: u64,
    /// The Merkle tree hash over them.
    pub root: Hash,
}

/// A log's verifier key. Text form (C2SP "vkey"): `NAME+HASH+KEY`, to be kept where the log's host cannot change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

/// Signs a log's checkpoints. Every log has a key of its own.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

/// Why a note is no checkpoint of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNote {
    /// Not of the form: at least three lines, an empty line, signatures.
    #[error("it is no signed checkpoint")]
    Shape,
    /// It belongs to another log.
    #[error("it is of the log `{found}`, this one is `{ours}`")]
    OtherLog {
        /// Its first line.
        found: Text,
        /// The name that was expected.
        ours: String,
    },
    /// None of the signatures is by this log's key.
    #[error("it is not signed by {0}")]
    Unsigned(String),
    /// The signature is not over this text.
    #[error("its signature does not fit its text")]
    Signature,
}

/// Text that is no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no verifier key: {why}; give the line that `keyway init` printed, NAME+HASH+KEY"
)]
pub struct BadVerifier {
    given: String,
    why: &'static str,
}

impl Checkpoint {
    /// The signed note.
    #[must_use]
    pub(super) fn sign(&self, signer: &Signer) -> String {
        let name = &signer.verifier.name;
        let text = format!("{name}\n{}\n{}\n", self.size, self.root.base64());
        let signature = on_wiped_thread(|| signer.pair.sign(text.as_bytes()));
        let blob = [&signer.verifier.id()[..], signature.as_ref()].concat();
        format!("{text}\n— {name} {}\n", BASE64.encode(&blob))
    }

    /// Reads a note and checks its signature. Other signatures beside it, and extension lines, are allowed.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, BadNote> {
        let note = note.trim_end_matches('\n');
        // The text ends with the line end before the empty line: the last one, for extensions may hold others.
        let (head, signatures) = note.rsplit_once("\n\n").ok_or(BadNote::Shape)?;
        let text = format!("{head}\n");
        let mut lines = head.lines();
        let (Some(name), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(BadNote::Shape);
        };
        if name != key.name {
            return Err(BadNote::OtherLog {
                found: name.into(),
                ours: key.name.clone(),
            });
        }
        key.check(&text, signatures)?;
        Self::parse(size, root).ok_or(BadNote::Shape)
    }

    fn parse(size: &str, root: &str) -> Option<Self> {
        let number: u64 = size.parse().ok()?;
        let root = BASE64.decode(root.as_bytes()).ok()?;
        // Canonical: no sign, no leading zero.
        (number.to_string() == size).then_some(())?;
        Some(Self {
            size: number,
            root: Hex(root.try_into().ok()?),
        })
    }
}

impl VerifierKey {
    /// The verifier key of a log. Its name is derived from the key, so that no two logs share one.
    #[must_use]
    pub fn new(public: [u8; 32]) -> Self {
        let hash = sha256(&[&public]);
        let id = HEXLOWER.encode(hash.0.first_chunk::<8>().map_or(&[], |id| id));
        Self {
            name: format!("keyway/audit/{id}"),
            public,
        }
    }

    /// The log's name, the first line of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id in signatures.
    fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[TYPE], &self.public]);
        hash.0.first_chunk().copied().unwrap_or_default()
    }

    pub(super) fn check(&self, text: &str, signatures: &str) -> Result<(), BadNote> {
        let mut found = false;
        for line in signatures.lines() {
            let rest = line.strip_prefix("— ").ok_or(BadNote::Shape)?;
            let (name, blob) = rest.split_once(' ').ok_or(BadNote::Shape)?;
            let blob = BASE64.decode(blob.as_bytes());
            let blob = blob.map_err(|_where| BadNote::Shape)?;
            let (id, signature) = blob.split_first_chunk::<4>().ok_or(BadNote::Shape)?;
            if name != self.name || *id != self.id() {
                continue;
            }
            found = true;
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_unspecified| BadNote::Signature)?;
        }
        if found {
            Ok(())
        } else {
            Err(BadNote::Unsigned(self.to_string()))
        }
    }
}

impl Signer {
    /// Signs with this key, for the log whose name is derived from it.
    #[must_use]
    pub fn new(pair: Ed25519KeyPair) -> Self {
        // It has 32 bytes.
        let public = pair.public_key().as_ref().first_chunk();
        let public = public.copied().unwrap_or_default();
        Self {
            pair,
            verifier: VerifierKey::new(public),
        }
    }

    /// The key that verifies its signatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[TYPE], &self.public[..]].concat();
        let (id, key) = (HEXLOWER.encode(&self.id()), BASE64.encode(&key));
        write!(f, "{}+{id}+{key}", self.name)
    }
}

impl FromStr for VerifierKey {
    type Err = BadVerifier;

    fn from_str(text: &str) -> Result<Self, BadVerifier> {
        let bad = |why| BadVerifier {
            given: text.to_owned(),
            why,
        };
        // The key is base64, which has plus signs of its own; the name and the hash have none.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it has not three parts"));
        };
        let key = BASE64.decode(key.as_bytes());
        let key = key.map_err(|_where| bad("its last part is not base64"))?;
        let Some((&TYPE, public)) = key.split_first() else {
            return Err(bad("its key is not of Ed25519"));
        };
        let public = public.try_into();
        let public = public.map_err(|_length| bad("its key has not 32 bytes"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(bad("its name is empty, or has spaces"));
        }
        let parsed = Self {
            name: name.to_owned(),
            public,
        };
        if id != HEXLOWER.encode(&parsed.id()) {
            return Err(bad("its hash does not fit its name and key"));
        }
        Ok(parsed)
    }
}
