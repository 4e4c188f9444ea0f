//! Where secrets are worked with: on a part of the stack that is wiped afterwards, or on a thread of its own.
//!
//! Whoever reads a key copies it: the compiler into frames that it reuses, the C library and ciphers into registers and into frames
//! of theirs. Which copies stay behind differs by processor. So nobody tries to know them: [`wiped`] overwrites all of the stack that
//! the work has used, and [`apart`] has that done by a thread that ends with it, whose registers nobody sees again. (What is left in
//! the registers of a thread that goes on, the next signal writes to its stack: AVX-512 has sixteen that hardly any code uses, and
//! AWS-LC leaves what it has decrypted there.)
//!
//! What the work returns is not wiped: a [`super::Secret`] is a pointer, and bytes that the work shall write are lent to it.

use std::hint::black_box;
use std::thread::{Builder, scope};

/// What [`apart`] wipes, in bytes.
const APART: usize = 64 * 1024;

/// How much more stack its thread has, to begin and to end.
const SPARE: usize = 64 * 1024;

/// Does the work on a thread of its own and wipes its stack. Some 40 µs: for whatever no message waits for.
///
/// Where the system gives no thread, the work is done here, and the stack is wiped all the same.
#[expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "a panic of the work has gone on already"
)]
pub fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(test)]
    if super::memory::nobody_looks() {
        return work();
    }
    let mut work = Some(work);
    let mut done = None;
    let mut once = || {
        if let Some(work) = work.take() {
            done = Some(wiped::<APART, T>(work));
        }
    };
    scope(|scope| {
        let thread = Builder::new().stack_size(APART.saturating_add(SPARE));
        drop(thread.spawn_scoped(scope, &mut once));
    });
    once();
    done.expect("the work is done, there or here")
}

/// Does the work and wipes `DEPTH` bytes of the stack below here: a quarter more than it uses, which every unit test checks.
pub fn wiped<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    if super::memory::nobody_looks() {
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

/// The work's frames begin deeper than those of [`wipe`], whose own edge is not wiped.
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
