//! Synchronisation primitives of budgets. The `models` crate compiles `pool`, `budget` and `grant` over those of loom.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use tokio::sync::Notify;
