//! The durable key-version records.
//!
//! One signed file per keyring holds all its versions, so that activating a successor and retiring its predecessor is one
//! compare-and-set. `seen.json` remembers the highest epoch of every record outside their directory, so that an older copy put
//! back, or a record gone, is noticed. Records are written before `seen.json`: a crash between the two leaves a record newer
//! than its remembered epoch, which is harmless and set right by the next start. For the same reason the epochs of a version that
//! cannot seal yet are remembered with the switch to it.
//!
//! | you look for | it is in |
//! |---|---|
//! | what may follow what | [`State`] |
//! | the rules of a record | [`Record::check`], [`Record::check_step`] |
//! | how files are signed | `signed` |
//! | what need not be verified again | `believed` |
//! | time that nobody can set | `time` |
//! | reading, without the lock | [`View`] |
//! | orders that could not be written down | [`Mark`] |
//! | what the audit log says of them | [`View::compare_with`], [`compare`] |
//! | what they say of it | [`Catalogue::audited`], [`heads`] |
//! | writing | [`Catalogue::compare_and_set`] |
//! | new versions, activation, use | [`Catalogue::draw`], [`Catalogue::generate`], [`Catalogue::activate`], [`Catalogue::account`] |

mod believed;
mod error;
mod json;
mod life;
mod marks;
mod record;
mod signed;
mod state;
mod store;
mod time;
mod unopened;
mod view;

#[cfg(test)]
mod tests;

pub use error::{CreateError, KeyError, LoadError, RotateError, SetError};
pub use life::{Account, Drawn, Switched};
pub use marks::Mark;
pub use record::{Invalid, Label, Proposal, Record, Version};
pub use state::{Opens, State, UnknownState};
pub use store::Catalogue;
pub use time::{Moment, Monotonic, Resumed};
pub use unopened::{compare, heads};
pub use view::{RECORDS, View};
