//! The way to whoever can read the configuration again.

use std::future::Future;
use std::pin::Pin;

use super::Asker;
use super::api::{Problem, Reloaded};

/// What a reload comes to, later.
pub type Reloading<'r> = Pin<Box<dyn Future<Output = Result<Reloaded, Problem>> + Send + 'r>>;

/// Reads the configuration again and puts it in force. No connection is touched.
pub trait Reload: Send + Sync {
    /// Does it, on behalf of `asker`. A file with mistakes changes nothing.
    fn reload(&self, asker: Asker) -> Reloading<'_>;
}
