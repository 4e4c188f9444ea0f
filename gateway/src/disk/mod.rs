//! Files that must survive a crash, and whose permissions matter.
//!
//! The state directory is opened through [`StateDir`], which refuses a directory that other users can enter. Writers hold its
//! [`Lock`] and pass it as an argument. A file is replaced by [`replace`]: write a sibling, fsync it, rename it
//! over the old one, fsync the directory; a reader sees the old bytes or the new ones, never a mixture, and after an `Ok` a power
//! cut cannot bring the old ones back. The steps go through [`Files`], so that tests can fail each of them.

mod error;
mod files;
mod lock;
pub mod names;
mod owned_file;
mod permissions;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::{Action, Error};
pub use files::{Files, Real, create, read_if_present, rename, replace, sync};
pub use lock::Lock;
pub use owned_file::OwnedFile;
pub use permissions::{AllowedOwner, StateDir, read_public_file, read_secret_file};
