//! Random sequences of what several agents do, played on two buses, so that what is delivered can be compared.
//!
//! [`plan`] draws a sequence from a seed, [`play()`] carries it out step by step and yields what every agent was delivered. Each step
//! ends when all that it causes has arrived, so that a sequence has one outcome.

pub mod draw;
pub mod plan;
pub mod play;

pub use draw::Draw;
pub use plan::Step;
pub use play::{Agents, Delivered, play};

/// Leaves out steps for as long as `fails` still holds of the rest: what remains is what it takes.
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
