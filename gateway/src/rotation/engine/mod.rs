//! The state machine of key versions: decides what is to be done; the driver does it.
//!
//! [`decide`] makes the next state and the actions to take out of a state, the time and an event alone; the caller carries them out
//! and reports the outcome. One action is under way at a time, so that a crash leaves at most one half done. The state
//! after a restart is made from the record alone.
//!
//! A rotation has six steps, and the engine knows from the record which is next:
//!
//! | step | what is done | the record says |
//! |---|---|---|
//! | 1 generate | a secret is drawn, wrapped, written down, read back | `pre-active` |
//! | 2 distribute | every member gets the version | |
//! | 3 prove | every member proves that it holds this very secret | `ready` |
//! | 4 activate | at the agreed time it seals, and its predecessor only opens, in one write | `active`, `decrypt-only` |
//! | 5 overlap | the predecessor opens what is still on its way | |
//! | 6 archive or destroy | it opens on demand; or, once nothing stored needs it, its secret goes | `archived`, `destroyed` |
//!
//! A file uses files of lower ranks only.
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `version` | versions, time and members as the engine sees them |
//! | 1 | `step` | what is to be done, and the diagram of the key states |
//! | 1 | `spacing` | the least time between two rotations |
//! | 1 | `usage` | the rate of use, and when that calls for a successor |
//! | 2 | `order` | orders of operators, and why they are refused |
//! | 3 | `state` | the state of one keyring |
//! | 4 | `event` | what the state machine is told |
//! | 4 | `approval` | destructions that take a second person |
//! | 4 | `plan` | the next actions |
//! | 5 | `apply` | what an event changes |

mod apply;
mod approval;
mod event;
mod order;
mod plan;
mod spacing;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod usage;
mod version;

pub use event::Event;
pub use order::{DestroyRequest, Order, OrderRequest, Refused};
pub use state::{DestroyCheck, KeyringState, Outlook, RetentionVerdict, RotationStage};
pub use step::{Action, Step, state_diagram, transition_label};
pub use usage::LimitHeadroom;
pub use version::{Now, VersionView};

/// Changes the state by an event; yields the actions to take. Every action but [`Step::Inspect`] and [`Step::Challenge`] must be
/// followed by one [`Event::Ended`]. Any event may come at any time.
#[must_use]
pub fn decide(state: &mut KeyringState, now: Now, event: Event) -> Vec<Action> {
    state.apply(now, event);
    state.spacing.look(now, &state.versions);
    state.plan(now)
}
