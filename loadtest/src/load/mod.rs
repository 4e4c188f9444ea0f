//! The load generator: thin client connections, and what they send at which pace.

mod client;
mod flow;
mod pace;
mod publishing;
mod receiving;
mod requests;
mod stream;
mod times;

pub(crate) use client::{Client, Continue};
pub(crate) use flow::{Flow, Shape};
pub(crate) use pace::{Pace, whole};
pub(crate) use requests::{RequestPlan, ask};
pub(crate) use stream::Endpoint;
pub(crate) use times::{Times, nanos, now};

/// The result of one load.
pub(crate) struct LoadResult {
    /// Messages that arrived, or answers.
    pub(crate) count: u64,
    /// From the first byte sent to the last message received.
    pub(crate) took: std::time::Duration,
    /// How long each took, where that was measured.
    pub(crate) times: Option<Times>,
}
