//! Derives the secrets of a state directory as `docs/envelope.md` specifies, so that tests can search for them.

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use hkdf::Hkdf;
use keyway::catalogue::Catalogue;
use keyway::custody::Custody;
use keyway::disk::StateDir;
use keyway::later::wait;
use memchr::memmem;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::Sha256;
use std::path::Path;
use std::sync::Arc;

/// The secrets of a key version.
pub struct VersionSecrets {
    /// Its root secret.
    pub root: [u8; 32],
    /// The HKDF pseudorandom key that its lane keys are derived from.
    pub prk: [u8; 32],
    suite: u8,
    kid: [u8; 8],
}

impl VersionSecrets {
    /// Those of a version that is not yet destroyed; the gateway may be running.
    pub fn version(state: &Path, keyring: &str, number: u32) -> Self {
        let dir = StateDir::open(state).unwrap();
        let kek = Custody::File.opener().unwrap().open(&dir).unwrap();
        let view = Catalogue::open_read_only(dir, Arc::clone(&kek))
            .ok()
            .unwrap();
        let record = view.record(&keyring.parse().unwrap()).unwrap();
        let version = record.version(number).unwrap();
        let context = [
            &b"key version\0"[..],
            keyring.as_bytes(),
            b"\0",
            &number.to_be_bytes(),
            &version.commitment.0,
        ]
        .concat();
        let wrapped = version.wrapped.as_ref().unwrap();
        let root = wait(kek.unwrap(wrapped, &context)).unwrap();
        let length = u16::try_from(keyring.len()).unwrap().to_be_bytes();
        let salt = [
            b"keyway/1",
            &length[..],
            keyring.as_bytes(),
            &number.to_be_bytes(),
        ]
        .concat();
        let (prk, _) = Hkdf::<Sha256>::extract(Some(&salt), root.expose());
        let exposed = Self {
            root: *root.expose(),
            prk: prk.into(),
            suite: version.suite.number(),
            kid: version.kid.0,
        };
        let commitment: [u8; 32] = exposed.expand(b"commit");
        assert_eq!(commitment, version.commitment.0, "derived wrongly");
        exposed
    }

    /// The key of the lane under which an envelope is sealed.
    pub fn lane(&self, envelope: &[u8]) -> [u8; 32] {
        assert_eq!(envelope[4..12], self.kid, "sealed under another version");
        self.expand(&[&b"lane"[..], &[self.suite], &envelope[4..28]].concat())
    }

    fn expand<const LEN: usize>(&self, info: &[u8]) -> [u8; LEN] {
        let mut okm = [0; LEN];
        let hkdf = Hkdf::<Sha256>::from_prk(&self.prk).unwrap();
        hkdf.expand(info, &mut okm).unwrap();
        okm
    }
}

/// The 32 bytes in the file `kek` of a state directory.
pub fn kek(state: &Path) -> [u8; 32] {
    let text = std::fs::read_to_string(state.join("kek")).unwrap();
    let value = text.trim().split(':').nth(1).unwrap();
    BASE64.decode(value.as_bytes()).unwrap()[..32]
        .try_into()
        .unwrap()
}

/// The pseudorandom key and the wrapping key that are derived from this KEK, as `gateway/src/custody/local/kek.rs` does.
pub fn wrapping_keys(kek: &[u8; 32]) -> [[u8; 32]; 2] {
    let (prk, hkdf) = Hkdf::<Sha256>::extract(Some(b"keyway/1 kek"), kek);
    let mut wrapping = [0; 32];
    hkdf.expand(b"wrap", &mut wrapping).unwrap();
    [prk.into(), wrapping]
}

/// The seed of the key that signs the catalogue's records, or the audit log's checkpoints.
pub fn signing_seed(state: &Path, file: &str, context: &[u8]) -> [u8; 32] {
    let text = std::fs::read(state.join(file)).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let public = BASE64.decode(json["public"].as_str().unwrap().as_bytes());
    let context = [context, &public.unwrap()].concat();
    let wrapped = json["wrapped"].as_str().unwrap().parse().unwrap();
    let dir = StateDir::open(state).unwrap();
    let kek = Custody::File.opener().unwrap().open(&dir).unwrap();
    *wait(kek.unwrap(&wrapped, &context)).unwrap().expose()
}

/// The private scalar in a file with a P-256 key, big-endian.
pub fn private_scalar(key: &Path) -> Vec<u8> {
    // RFC 5915: version 1, then an octet string of 32 bytes.
    const BEFORE: &[u8] = b"\x02\x01\x01\x04\x20";
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let der = key.secret_der();
    let at = memmem::find(der, BEFORE).expect("a P-256 key") + BEFORE.len();
    der[at..at + 32].to_vec()
}

/// The encodings of a secret in a text: raw, hexadecimal, an array of numbers, base64 at each of the three alignments.
pub fn encodings(secret: &[u8]) -> Vec<Vec<u8>> {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut found = vec![
        secret.to_vec(),
        HEXLOWER.encode(secret).into_bytes(),
        HEXUPPER.encode(secret).into_bytes(),
        numbers.join(",").into_bytes(),
        numbers.join(", ").into_bytes(),
    ];
    for skipped in 0..3 {
        // A group of four characters that is shared with a neighbour depends on the neighbour, and is left out.
        let whole = &secret[skipped..secret.len() - (secret.len() - skipped) % 3];
        found.extend([BASE64, BASE64URL].map(|base64| base64.encode(whole).into_bytes()));
    }
    found
}
