//! Searches memory for remnants of secrets, in every form in which a processor, a compiler or a cipher may leave them.
//!
//! Ciphers swap the bytes of words, pad keys and add constants; compilers and the C library copy through the widest register. So
//! a secret is searched for in all its [`forms`], and any 16 consecutive bytes of one count: they cannot be an accident.

use crate::process_memory::Memory;
use sha2::block_api::compress256;
use sha2::{Digest, Sha512};
use std::collections::HashMap;

/// How many consecutive bytes of a form count as a match.
pub const MIN_MATCH: usize = 16;

/// Length of the indexed parts of a form: any match contains a whole one.
const ANCHOR: usize = 8;

/// The initial state of SHA-256, and the first of its constants (FIPS 180-4, sections 5.3.3 and 4.2.2).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const CONSTANTS: [u32; 8] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
];

/// An index of secrets in all their forms.
pub struct SecretScan {
    forms: Vec<(String, Vec<u8>)>,
    /// The forms that contain an anchor, and their offsets.
    anchors: HashMap<[u8; ANCHOR], Vec<(usize, usize)>>,
    /// The first two bytes of every anchor, a filter that most memory does not pass.
    begins: Vec<bool>,
}

/// The forms of a secret, with their names.
pub fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let words = swapped(secret, 4);
    let mut forms = vec![
        ("as it is", secret.to_vec()),
        ("reversed", secret.iter().rev().copied().collect()),
        ("in words of 32 bits, swapped", words.clone()),
        ("in words of 64 bits, swapped", swapped(secret, 8)),
        ("in blocks of 128 bits, swapped", swapped(secret, 16)),
        (
            "its words of 32 bits reversed",
            words.iter().rev().copied().collect(),
        ),
        ("with SHA-256's constants", scheduled(secret)),
    ];
    for (name, swapped_name, pad) in [
        ("HMAC's inner key", "HMAC's inner key, swapped", 0x36),
        ("HMAC's outer key", "HMAC's outer key, swapped", 0x5c),
    ] {
        let padded: Vec<u8> = secret.iter().map(|byte| byte ^ pad).collect();
        forms.extend([(swapped_name, swapped(&padded, 4)), (name, padded)]);
    }
    if secret.len() <= 64 {
        forms.push(("HMAC's inner state", state(secret, 0x36)));
        forms.push(("HMAC's outer state", state(secret, 0x5c)));
    }
    forms
}

/// The expansion of an Ed25519 seed (RFC 8032, section 5.1.5): the scalar before it is clamped, and the prefix.
pub fn expanded(seed: &[u8]) -> Vec<u8> {
    Sha512::digest(seed).to_vec()
}

impl SecretScan {
    /// Indexes these secrets, with their names.
    pub fn of(secrets: &[(&str, Vec<u8>)]) -> Self {
        let mut of = Self {
            forms: Vec::new(),
            anchors: HashMap::new(),
            begins: vec![false; 1 << 16],
        };
        for (name, secret) in secrets {
            assert!(
                secret.len() >= MIN_MATCH,
                "{name} is too short to be no accident"
            );
            for (form, bytes) in forms(secret) {
                of.add(format!("{name}, {form}"), bytes);
            }
        }
        of
    }

    fn add(&mut self, name: String, bytes: Vec<u8>) {
        let form = self.forms.len();
        for (index, anchor) in bytes.chunks_exact(ANCHOR).enumerate() {
            let anchor: [u8; ANCHOR] = anchor.try_into().unwrap();
            self.begins[beginning(&anchor)] = true;
            self.anchors
                .entry(anchor)
                .or_default()
                .push((form, index * ANCHOR));
        }
        self.forms.push((name, bytes));
    }

    /// Every match, and where it was found.
    pub fn find_in(&self, memory: &Memory) -> Vec<String> {
        let mut left = Vec::new();
        for (name, bytes) in memory.regions() {
            for (what, at) in self.pieces(bytes) {
                left.push(format!("{what}: {at:#x} in {name}"));
            }
        }
        left
    }

    /// Every match with its offset, once.
    fn pieces(&self, bytes: &[u8]) -> Vec<(String, usize)> {
        const PAGE: usize = 4096;
        let mut found = Vec::new();
        let mut ends = vec![0; self.forms.len()];
        let last = bytes.len().saturating_sub(ANCHOR - 1);
        for page in (0..last).step_by(PAGE) {
            let end = last.min(page + PAGE);
            if bytes[page..end] == [0; PAGE][..end - page] {
                continue;
            }
            let begun = (page..end).filter(|at| self.begins[beginning(&bytes[*at..])]);
            for at in begun {
                self.pieces_at(bytes, at, &mut ends, &mut found);
            }
        }
        found
    }

    /// The matches around an anchor at this offset; `ends` is where the last match of each form ended.
    fn pieces_at(
        &self,
        bytes: &[u8],
        at: usize,
        ends: &mut [usize],
        found: &mut Vec<(String, usize)>,
    ) {
        let places = self.anchors.get(&bytes[at..at + ANCHOR]);
        for (form, offset) in places.into_iter().flatten() {
            let (name, whole) = &self.forms[*form];
            let (from, length) = run(bytes, at, whole, *offset);
            if length >= MIN_MATCH && from >= ends[*form] {
                ends[*form] = from + length;
                found.push((format!("{name}, {length} bytes"), from));
            }
        }
    }
}

/// The run of equal bytes around two offsets: its begin and length.
fn run(bytes: &[u8], at: usize, whole: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes[..at].iter().rev().zip(whole[..offset].iter().rev());
    let before = before.take_while(|(one, other)| one == other).count();
    let behind = bytes[at..].iter().zip(&whole[offset..]);
    let behind = behind.take_while(|(one, other)| one == other).count();
    (at - before, before + behind)
}

fn beginning(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn swapped(secret: &[u8], word: usize) -> Vec<u8> {
    secret
        .chunks(word)
        .flat_map(|word| word.iter().rev().copied())
        .collect()
}

/// The begin of a SHA-256 message schedule with the round constants added, as vectorised code keeps it.
fn scheduled(secret: &[u8]) -> Vec<u8> {
    let words = secret.chunks_exact(4).zip(CONSTANTS);
    let added = words.map(|(word, constant)| {
        u32::from_be_bytes(word.try_into().unwrap()).wrapping_add(constant)
    });
    added.flat_map(u32::to_le_bytes).collect()
}

/// The SHA-256 state after an HMAC's padded key, which is as good as the key.
fn state(key: &[u8], pad: u8) -> Vec<u8> {
    let mut block = [pad; 64];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    state.into_iter().flat_map(u32::to_le_bytes).collect()
}
