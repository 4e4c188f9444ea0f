//! Agents that go on whatever happens to their connections, and remember what was acknowledged to them and what they received.

mod core;
mod requests;
mod stream;

pub use self::core::{CoreTraffic, Tally};
pub use requests::Requests;
pub use stream::StreamTraffic;
