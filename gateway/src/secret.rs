//! Key material in memory: that of the envelope crate. Unit tests compile its stack hygiene again, with the checks of how deep
//! wiped work used the stack.

pub use keyway_envelope::secret::{LEN, NoEntropy, Secret};
#[cfg(not(test))]
pub use keyway_envelope::secret::{on_wiped_thread, with_wiped_stack};

#[cfg(test)]
#[path = "../envelope/src/secret/memory.rs"]
pub(crate) mod memory;
#[cfg(test)]
#[path = "../envelope/src/secret/stack.rs"]
mod stack;
#[cfg(test)]
pub use stack::{on_wiped_thread, with_wiped_stack};
