//! Random sequences of operations of several agents, run on two buses so that deliveries can be compared.
//!
//! [`plan`] draws a sequence from a seed, [`play()`] runs it step by step and returns what each agent was delivered. A step ends
//! when everything that it causes has arrived, so that a sequence is deterministic.

pub mod plan;
pub mod play;
pub mod rng;

pub use plan::Step;
pub use play::{Agents, Delivered, play};
pub use rng::Rng;

/// Removes steps as long as `fails` holds of the rest: a minimal failing sequence.
pub fn shrink(mut steps: Vec<Step>, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut piece = steps.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut rest = steps.clone();
            rest.drain(at..steps.len().min(at + piece));
            if fails(&rest) {
                steps = rest;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    steps
}
