//! What budgets are shared by. The `models` crate compiles `pool`, `budget` and `grant` over loom's twins of these.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use tokio::sync::Notify;
