//! The durable key-version records.
//!
//! One signed file per keyring holds all its versions, so that activating a successor and retiring its predecessor is one
//! compare-and-set. `seen.json`, outside the records' directory, holds the highest epoch of every record, so that an older copy
//! put back or a missing record is noticed. Records are written before `seen.json`: a crash between the two leaves a record newer
//! than its epoch there, which the next start corrects. For the same reason the epochs of writes that nothing is sealed under yet
//! go to `seen.json` with the switch.
//!
//! | you look for | it is in |
//! |---|---|
//! | states and their transitions | [`State`] |
//! | the rules of a record | [`Record::check`], [`Record::check_step`] |
//! | how files are signed | `signed` |
//! | records that are verified, so that unchanged files are not verified again | `verified` |
//! | the monotonic catalogue time | `time` |
//! | reading, without the lock | [`View`] |
//! | marker files for orders that no record holds yet | [`Mark`] |
//! | comparing records with the audit log | [`View::compare_with`], [`compare_records`] |
//! | the audit log's length in records, to notice a log cut short | [`View::set_audit_head`], [`audit_heads`] |
//! | new versions, activation, use | [`View::draw`], [`View::generated`], [`View::activated`], [`View::used`] |
//! | writing | [`Records`], on a thread of its own [`CatalogueThread`] |

mod error;
mod json;
mod lifecycle;
mod marks;
mod record;
mod records;
mod signed;
mod state;
mod store;
mod time;
mod unverified;
mod verified;
mod view;
mod worker;

#[cfg(test)]
mod tests;

pub use error::{CreateError, KeyError, LoadError, RotateError, SetError};
pub use lifecycle::{DrawnVersion, VersionUsage, WrappedVersion, rehearse_custody};
pub use marks::Mark;
pub use record::{Invalid, Label, Proposal, Record, Version};
pub use records::{Answer, RecordChange, Records};
pub use state::{Opens, State, UnknownState};
pub use store::Catalogue;
pub use time::{ClockChange, ClockState, Moment, Monotonic};
pub use unverified::{audit_heads, compare_records};
pub use view::View;
pub use worker::{CatalogueThread, OnCatalogue};
