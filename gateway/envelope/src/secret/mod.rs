//! Key material in memory: 32 bytes that are wiped, and never printed.
//!
//! A [`Secret`] has no `Debug`, no `Clone` and no `Display`; it stays in one place on the heap and is wiped when dropped. Code
//! that needs the bytes calls [`Secret::expose`], which is easy to search for: within [`on_wiped_thread`], or on the message path
//! within [`with_wiped_stack`].

#[cfg(test)]
pub(crate) mod memory;
mod stack;

pub use stack::{on_wiped_thread, with_wiped_stack};

use zeroize::Zeroizing;

/// How long every secret is, in bytes.
pub const LEN: usize = 32;

/// Key material: a root secret, a key-encryption key, a signing seed.
///
/// It cannot be printed or copied by accident, and moves between threads:
///
/// ```compile_fail,E0277
/// fn printed<T: std::fmt::Debug>() {}
/// printed::<keyway_envelope::secret::Secret>();
/// ```
/// ```compile_fail,E0277
/// fn copied<T: Clone>() {}
/// copied::<keyway_envelope::secret::Secret>();
/// ```
/// ```
/// fn moved<T: Send + Sync>() {}
/// moved::<keyway_envelope::secret::Secret>();
/// ```
pub struct Secret(Box<Zeroizing<[u8; LEN]>>);

impl Secret {
    /// A secret that `fill` writes in place, so that no copy stays behind on the stack.
    ///
    /// # Errors
    /// Whatever `fill` fails with; the bytes are wiped then.
    pub fn build<E>(fill: impl FnOnce(&mut [u8; LEN]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Box::new(Zeroizing::new([0; LEN]));
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A fresh random secret from the provider's generator.
    ///
    /// # Errors
    /// [`NoEntropy`] when the generator fails.
    pub fn random() -> Result<Self, NoEntropy> {
        Self::build(|bytes| {
            on_wiped_thread(|| aws_lc_rs::rand::fill(bytes).map_err(|_unspecified| NoEntropy))
        })
    }

    /// The bytes. Review every caller.
    #[must_use]
    pub fn expose(&self) -> &[u8; LEN] {
        &self.0
    }
}

/// The random generator failed; nothing that needs a fresh key can go on.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoEntropy;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_built_in_place_or_not_at_all() {
        let secret = Secret::build(|bytes| {
            assert_eq!(*bytes, [0; LEN]);
            bytes.fill(7);
            Ok::<(), NoEntropy>(())
        });
        assert_eq!(secret.unwrap().expose(), &[7; LEN]);
        assert!(Secret::build(|_bytes| Err(NoEntropy)).is_err());
    }

    #[test]
    fn random_secrets_differ() {
        let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one.expose(), two.expose());
    }
}
