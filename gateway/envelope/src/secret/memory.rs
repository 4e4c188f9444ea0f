//! For unit tests: measures how deep wiped work used the stack, and scans the process's memory for copies of a secret.
//!
//! The scan must not find its own pattern: secrets are kept [`masked`], and memory is masked after it was read.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test may stop where numbers are not as expected"
)]

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// The pattern that the stack is filled with before the work.
const PAINT: [u8; 64] = [0x5a; 64];

/// The frames of [`used`] begin deeper than those of [`paint`], by less than this.
const SLACK: usize = 1024;

/// `XORed` to every byte of a secret.
const MASK: u8 = 0xa7;

/// The shortest match, in bytes, that is no accident.
const MIN_MATCH: usize = 16;

/// The environment variable that masks CPU features for AWS-LC: bits of CPUID's leaves 1 and 7.
const CPU_FEATURES_VARIABLE: &str = "OPENSSL_ia32cap";

/// No SHA instructions; no AVX2 either; nor AVX; nor any vector, nor AES.
const CPU_FEATURES: [&str; 4] = [
    "~0x0:~0x20000000",
    "~0x0:~0x600f0230120",
    "~0x1000000000000000:~0x600f0230120",
    "~0x1240020200000000:~0x600f0230128",
];

thread_local! {
    static MEMORY_SCANS_SKIPPED: Cell<bool> = const { Cell::new(false) };
}

/// Turns off stack painting, wiping and extra threads on this thread: they would take half of a simulation's time.
pub(crate) fn skip_memory_scans() {
    MEMORY_SCANS_SKIPPED.set(true);
}

/// Whether [`skip_memory_scans`] was called on this thread.
pub(super) fn memory_scans_skipped() -> bool {
    MEMORY_SCANS_SKIPPED.get()
}

/// Fills the stack that will be wiped with [`PAINT`].
#[inline(never)]
pub(super) fn paint<const DEPTH: usize>() {
    let [paint, ..] = PAINT;
    let mut frames = [paint; DEPTH];
    black_box(&mut frames);
}

/// Checks that a quarter of it is still painted: frames may be larger on other processors.
#[inline(never)]
pub(super) fn check<const DEPTH: usize>() {
    let used = used::<DEPTH>();
    assert!(
        used <= DEPTH / 4 * 3,
        "{used} bytes of the stack were used, and {DEPTH} are wiped"
    );
}

fn used<const DEPTH: usize>() -> usize {
    let mut frames = vec![0; DEPTH];
    let here = 0_u8;
    let lowest = (&raw const here).addr() - DEPTH;
    let memory = File::open("/proc/self/mem").unwrap();
    memory
        .read_exact_at(&mut frames, u64::try_from(lowest).unwrap())
        .unwrap();
    let painted = frames[SLACK..].chunks(PAINT.len());
    let painted = painted.take_while(|chunk| *chunk == PAINT).count();
    // This copy of the stack must not be found by a scan. (`zeroize` takes a millisecond for it, unoptimised.)
    frames.fill(0);
    black_box(&mut frames);
    DEPTH - painted * PAINT.len()
}

/// Does the work deeper in the stack than the scan's own frames reach, which would overwrite copies.
pub(crate) fn on_deep_stack<T>(work: impl FnOnce() -> T) -> T {
    below::<{ 64 * 1024 }, T>(work)
}

#[inline(never)]
fn below<const FRAMES: usize, T>(work: impl FnOnce() -> T) -> T {
    let mut frames = [0_u8; FRAMES];
    black_box(&mut frames);
    let result = work();
    black_box(&mut frames);
    result
}

/// A masked copy of a secret, to scan for after the secret was dropped.
pub(crate) fn masked(secret: &[u8]) -> Vec<u8> {
    secret.iter().map(|byte| byte ^ MASK).collect()
}

/// Where pieces of a [`masked`] secret are in memory: as they are, as an HMAC's padded key, or with words or blocks byte-swapped.
pub(crate) fn find_in_memory(masked: &[u8]) -> Vec<String> {
    let forms = forms(masked);
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut left = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        // A page at a time: regions of other tests come and go.
        for page in (from..to).step_by(4096) {
            let mut bytes = [0; 4096 + MIN_MATCH];
            let wanted = bytes.len().min(usize::try_from(to - page).unwrap());
            let read = memory.read_exact_at(&mut bytes[..wanted], page);
            if read.is_err() || bytes == [0; 4096 + MIN_MATCH] {
                continue;
            }
            bytes.iter_mut().for_each(|byte| *byte ^= MASK);
            let found = forms.iter().filter(|(_, form)| holds(&bytes, form));
            left.extend(found.map(|(what, _)| format!("{what}: {page:#x} in {line}")));
        }
    }
    left
}

fn forms(masked: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    for pad in [0, 0x36, 0x5c] {
        for word in [1, 4, 8, 16, 32] {
            let words = masked.chunks(word);
            let swapped = words.flat_map(|word| word.iter().rev().map(|byte| byte ^ pad));
            let form: Vec<u8> = swapped.collect();
            forms.push((format!("padded by {pad:#x}, swapped by {word}"), form));
        }
    }
    forms
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    let mut pieces = form.windows(MIN_MATCH);
    pieces.any(|piece| memchr::memmem::find(bytes, piece).is_some())
}

/// Runs the test of this name again for each of [`CPU_FEATURES`], in a process of its own.
pub(crate) fn with_fewer_cpu_features(test: &str) {
    if std::env::var_os(CPU_FEATURES_VARIABLE).is_some() {
        return;
    }
    for processor in CPU_FEATURES {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test])
            .env(CPU_FEATURES_VARIABLE, processor);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "{processor}: {said}");
    }
}

#[test]
#[should_panic(expected = "are wiped")]
fn work_that_goes_deeper_than_is_wiped_is_noticed() {
    super::with_wiped_stack::<8192, _>(|| {
        let mut deep = [7_u8; 12 * 1024];
        black_box(&mut deep);
    });
}

/// Leaves copies of the secret on the stack.
#[inline(never)]
fn copied(secret: &super::Secret) {
    let mut frames = [0_u8; 2048];
    black_box(&mut frames);
    copy(secret);
    black_box(&mut frames);
}

#[inline(never)]
fn copy(secret: &super::Secret) {
    let mut copy = *secret.expose();
    black_box(&mut copy);
    let mut swapped = copy.map(u8::swap_bytes);
    swapped.reverse();
    black_box(&mut swapped);
}

#[test]
fn copies_on_the_stack_are_found_and_none_is_left_of_what_was_done_apart_or_wiped() {
    let trace = |work: fn(&super::Secret)| {
        let secret = super::Secret::random().unwrap();
        let mask = masked(secret.expose());
        on_deep_stack(|| work(&secret));
        drop(secret);
        find_in_memory(&mask)
    };
    assert!(!trace(copied).is_empty());
    let apart = trace(|secret| super::on_wiped_thread(|| copied(secret)));
    assert_eq!(apart, Vec::<String>::new());
    let wiped = trace(|secret| super::with_wiped_stack::<8192, _>(|| copied(secret)));
    assert_eq!(wiped, Vec::<String>::new());
}
