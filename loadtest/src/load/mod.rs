//! The load generator: thin client connections, and what they send at which pace.

mod asking;
mod client;
mod flow;
mod pace;
mod publishing;
mod receiving;
mod stream;
mod times;

pub(crate) use asking::{Asking, ask};
pub(crate) use client::{Client, Wish};
pub(crate) use flow::{Flow, Shape};
pub(crate) use pace::{Pace, whole};
pub(crate) use stream::Door;
pub(crate) use times::{Times, nanos, now};

/// The result of one load.
pub(crate) struct Moved {
    /// Messages that arrived, or answers.
    pub(crate) count: u64,
    /// From the first byte sent to the last message received.
    pub(crate) took: std::time::Duration,
    /// How long each took, where that was measured.
    pub(crate) times: Option<Times>,
}
