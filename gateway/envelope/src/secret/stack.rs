//! Stack hygiene for work with secrets: on a part of the stack that is wiped afterwards, or on a thread of its own.
//!
//! Code that reads a key copies it: the compiler into stack frames, the C library and ciphers into registers and frames of
//! theirs, differently on each processor. [`with_wiped_stack`] overwrites all of the stack that the work has used;
//! [`on_wiped_thread`] does so on a thread that then ends, so that its registers are gone too. (The next signal writes the registers
//! of a thread that goes on to its stack: AVX-512 has sixteen that little code uses, and AWS-LC leaves decrypted bytes there.)
//!
//! What the work returns is not wiped: return a [`super::Secret`], which is a pointer, or write into bytes lent by the caller.

use std::hint::black_box;
use std::thread::{Builder, scope};

/// Bytes of stack that [`on_wiped_thread`] wipes.
const THREAD_DEPTH: usize = 64 * 1024;

/// More bytes of stack for its thread, to start and to end.
const THREAD_MARGIN: usize = 64 * 1024;

/// Does the work on a thread of its own and wipes its stack. Takes some 40 µs: not for the message path.
///
/// If no thread can be started, the work is done on this one, and the stack is wiped too.
pub fn on_wiped_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(test)]
    if super::memory::memory_scans_skipped() {
        return work();
    }
    let mut work = Some(work);
    let mut done = None;
    let mut once = || {
        if let Some(work) = work.take() {
            done = Some(with_wiped_stack::<THREAD_DEPTH, T>(work));
        }
    };
    scope(|scope| {
        let thread = Builder::new().stack_size(THREAD_DEPTH.saturating_add(THREAD_MARGIN));
        drop(thread.spawn_scoped(scope, &mut once));
    });
    once();
    // The work is done, there or here; a panic of it has gone on already.
    done.unwrap_or_else(|| std::process::abort())
}

/// Does the work and wipes `DEPTH` bytes of stack below here. `DEPTH` must leave a quarter unused, which every unit test checks.
pub fn with_wiped_stack<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    if super::memory::memory_scans_skipped() {
        return work();
    }
    #[cfg(test)]
    super::memory::paint::<DEPTH>();
    let result = below(work);
    #[cfg(test)]
    super::memory::check::<DEPTH>();
    wipe::<DEPTH>();
    result
}

/// Makes the work's frames begin deeper than those of [`wipe`], which does not wipe its own first bytes.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    let mut edge = [0_u8; 128];
    black_box(&mut edge);
    let result = framed(work);
    black_box(&mut edge);
    result
}

#[inline(never)]
fn framed<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe<const DEPTH: usize>() {
    let mut frames = [0_u8; DEPTH];
    black_box(&mut frames);
}
