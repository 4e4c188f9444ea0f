//! The published vectors: `docs/envelope-vectors.json` is read and every value in it derived again, with both AEADs.

mod generate;

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::aead::{Aead, aws::Aws, pure::Pure};
use crate::limits::Caps;
use crate::secret::Secret;
use crate::{
    Binding, Claim, EnvelopeId, Header, LaneId, OVERHEAD, Proof, Sealer, Suite, VersionKey,
};

/// The whole data file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    opens: Vec<Vector>,
    refused: Vec<Refusal>,
    proofs: Vec<Possession>,
}

/// One envelope with everything that leads to it. Bytes in hex, names and subjects as text.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    root: String,
    keyring: String,
    number: u32,
    suite: u8,
    lane: String,
    counter: u32,
    subject: Option<String>,
    /// Lane id and counter of the request that it answers.
    answers: Option<String>,
    passes_on: bool,
    reply: Option<String>,
    plaintext: String,
    salt: String,
    prk: String,
    commitment: String,
    kid: String,
    confirm: String,
    key: String,
    iv: String,
    nonce: String,
    aad: String,
    envelope: String,
}

/// An envelope that must not open, derived from the vector `from`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    name: String,
    from: String,
    subject: Option<String>,
    answers: Option<String>,
    reply: Option<String>,
    envelope: String,
    /// `unknown_kid`, `open_failed`, or the word of a refused header.
    expect: String,
}

/// A proof of possession by the version of the vector `from`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Possession {
    from: String,
    member: String,
    epoch: u64,
    challenge: String,
    message: String,
    proof: String,
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn published() -> File {
    serde_json::from_str(include_str!("../../../../../docs/envelope-vectors.json")).unwrap()
}

/// As in the data file.
fn binding<'a>(
    subject: &'a Option<String>,
    answers: &Option<String>,
    reply: &'a Option<String>,
) -> Binding<'a> {
    let request = |answers: &String| {
        let bytes: [u8; 20] = array(answers);
        let (lane, counter) = bytes.split_at(16);
        EnvelopeId {
            lane: LaneId(lane.try_into().unwrap()),
            counter: u32::from_be_bytes(counter.try_into().unwrap()),
        }
    };
    Binding {
        subject: subject.as_deref().map(str::as_bytes),
        answers: answers.as_ref().map(request),
        passes_on: false,
        reply: reply.as_deref().map(str::as_bytes),
    }
}

impl File {
    fn vector(&self, name: &str) -> &Vector {
        self.opens.iter().find(|v| v.name == name).unwrap()
    }
}

impl Vector {
    fn suite(&self) -> Suite {
        match self.suite {
            1 => Suite::Aes256Gcm,
            2 => Suite::Aes256GcmSiv,
            other => panic!("no vector for suite {other}"),
        }
    }

    fn lane(&self) -> LaneId {
        LaneId(array(&self.lane))
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            passes_on: self.passes_on,
            ..binding(&self.subject, &self.answers, &self.reply)
        }
    }

    fn version(&self) -> VersionKey {
        let root = Secret::build(|root| {
            root.copy_from_slice(&bytes(&self.root));
            Ok::<(), ()>(())
        });
        VersionKey::derive(&self.keyring, self.number, &root.unwrap())
    }

    /// The authenticated data after the header.
    fn bound_to(&self) -> Vec<u8> {
        let len = |name: &str| u16::try_from(name.len()).unwrap().to_be_bytes();
        let named = |name: &Option<String>| {
            let name = name.as_deref();
            name.map_or_else(Vec::new, |name| [&len(name)[..], name.as_bytes()].concat())
        };
        let request = self.answers.as_deref().map_or_else(Vec::new, bytes);
        [named(&self.subject), request, named(&self.reply)].concat()
    }

    /// Fills in everything that follows from the inputs, with `hkdf` and `sha2` and by concatenation: nothing of the code
    /// under test but the AEAD `A`.
    fn derived<A: Aead>(&self) -> Self {
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let ring = self.keyring.as_bytes();
        let number = self.number.to_be_bytes();
        let salt = [b"keyway/1".as_slice(), &len(ring), ring, &number].concat();
        let (prk, hkdf) = Hkdf::<Sha256>::extract(Some(&salt), &bytes(&self.root));
        let expand = |info: &[u8], len| {
            let mut out = vec![0; len];
            hkdf.expand(info, &mut out).unwrap();
            out
        };
        let commitment = expand(b"commit", 32);
        let kid = &commitment[..8];
        let lane = bytes(&self.lane);
        let okm = expand(
            &[b"lane".as_slice(), &[self.suite], kid, &lane].concat(),
            44,
        );
        let counter = self.counter.to_be_bytes();
        let mut nonce: [u8; 12] = okm[32..].try_into().unwrap();
        for (byte, count) in nonce[8..].iter_mut().zip(counter) {
            *byte ^= count;
        }
        let flags = u8::from(self.subject.is_some())
            | u8::from(self.answers.is_some()) << 1
            | u8::from(self.passes_on) << 2
            | u8::from(self.reply.is_some()) << 3;
        let start = [0xFA, 0x4B, 0x10 | self.suite, flags];
        let header = [start.as_slice(), kid, &lane, &counter].concat();
        let aad = [header.as_slice(), &self.bound_to()].concat();
        let plaintext = bytes(&self.plaintext);
        let mut ciphertext = vec![0; plaintext.len()];
        let mut tag = [0; 16];
        let sealed = crate::aead::Sealed {
            ciphertext: ciphertext.as_mut_slice(),
            tag: &mut tag,
        };
        A::new(self.suite(), okm[..32].try_into().unwrap())
            .seal(nonce, &aad, &plaintext, sealed)
            .unwrap();
        Self {
            salt: hex(&salt),
            prk: hex(&prk),
            commitment: hex(&commitment),
            kid: hex(kid),
            confirm: hex(&expand(b"confirm", 32)),
            key: hex(&okm[..32]),
            iv: hex(&okm[32..]),
            nonce: hex(&nonce),
            aad: hex(&aad),
            envelope: hex(&[header, ciphertext, tag.to_vec()].concat()),
            ..self.clone()
        }
    }

    /// Seals and opens with the code under test.
    fn seals_and_opens<A: Aead>(&self) {
        let version = self.version();
        let mut sealer = Sealer::<A>::with_lane_id(&version, self.suite(), self.lane(), Caps::FULL);
        sealer.skip_to(self.counter);
        let plaintext = bytes(&self.plaintext);
        let mut envelope = vec![0; plaintext.len() + OVERHEAD];
        sealer
            .seal(self.binding(), &plaintext, &mut envelope)
            .unwrap();
        assert_eq!(hex(&envelope), self.envelope, "{}", self.name);
        let header = Header::parse(&envelope).unwrap();
        let mut out = vec![0xEE; plaintext.len()];
        version
            .lane_with::<A>(header.suite, header.lane)
            .open(&header, self.binding(), &envelope, &mut out)
            .unwrap();
        assert_eq!(out, plaintext, "{}", self.name);
    }

    /// What the code under test says to an envelope under this vector's key version: `None` when it opens.
    fn refusal<A: Aead>(&self, known: Binding<'_>, envelope: &[u8]) -> Option<&'static str> {
        let header = match Header::parse(envelope) {
            Ok(header) => header,
            Err(refused) => return Some(refused.word()),
        };
        let version = self.version();
        let mut out = vec![0xEE; envelope.len() - OVERHEAD];
        let opened = version
            .lane_with::<A>(header.suite, header.lane)
            .open(&header, known, envelope, &mut out);
        if opened.is_ok() {
            return None;
        }
        assert!(out.iter().all(|byte| *byte == 0));
        Some(match header.kid == version.kid() {
            true => "open_failed",
            false => "unknown_kid",
        })
    }
}

#[test]
fn every_published_value_is_derived_again_with_both_aeads() {
    let file = published();
    assert!(file.opens.len() >= 30);
    for vector in &file.opens {
        assert_eq!(vector.derived::<Aws>(), *vector);
        assert_eq!(vector.derived::<Pure>(), *vector);
    }
}

#[test]
fn every_published_envelope_seals_and_opens_with_both_aeads() {
    for vector in &published().opens {
        let version = vector.version();
        assert_eq!(version.commitment().to_string(), vector.commitment);
        assert_eq!(version.kid().to_string(), vector.kid);
        let confirm = version.expand_confirmation();
        assert_eq!(hex(confirm.expose()), vector.confirm);
        let mut okm = [0; 44];
        version.expand_lane(vector.suite(), vector.lane(), &mut okm);
        assert_eq!(hex(&okm), [vector.key.as_str(), &vector.iv].concat());
        vector.seals_and_opens::<Aws>();
        vector.seals_and_opens::<Pure>();
    }
}

#[test]
fn every_published_refusal_is_refused_by_both_aeads() {
    let file = published();
    assert!(file.refused.len() >= 40);
    for refusal in &file.refused {
        let vector = file.vector(&refusal.from);
        let known = binding(&refusal.subject, &refusal.answers, &refusal.reply);
        let envelope = bytes(&refusal.envelope);
        for got in [
            vector.refusal::<Aws>(known, &envelope),
            vector.refusal::<Pure>(known, &envelope),
        ] {
            assert_eq!(got, Some(refusal.expect.as_str()), "{}", refusal.name);
        }
    }
}

#[test]
fn every_published_proof_is_made_and_verified() {
    let file = published();
    for possession in &file.proofs {
        let version = file.vector(&possession.from).version();
        let claim = Claim {
            member: &possession.member,
            epoch: possession.epoch,
            challenge: array(&possession.challenge),
        };
        assert_eq!(hex(&claim.encode()), possession.message);
        assert_eq!(hex(&version.confirm(&claim).0), possession.proof);
        let proof = Proof(array(&possession.proof));
        version.verify(&claim, &proof).unwrap();
    }
}

#[test]
fn format_page_shows_the_first_vector_in_full() {
    let page = include_str!("../../../../../docs/envelope.md");
    let first = serde_json::to_value(&published().opens[0]).unwrap();
    for (field, value) in first.as_object().unwrap() {
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        assert!(page.contains(&shown), "{field} = {shown} is missing");
    }
}
