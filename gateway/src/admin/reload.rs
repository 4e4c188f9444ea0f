//! The hook by which a request reloads the configuration.

use std::future::Future;
use std::pin::Pin;

use crate::operations::{Caller, Problem, Reloaded};

/// The result of a reload.
pub type ReloadFuture<'r> = Pin<Box<dyn Future<Output = Result<Reloaded, Problem>> + Send + 'r>>;

/// Reads the configuration again and applies it, without touching connections.
pub trait Reload: Send + Sync {
    /// Reloads on behalf of `caller`. A file with mistakes changes nothing.
    fn reload(&self, caller: Caller) -> ReloadFuture<'_>;
}
