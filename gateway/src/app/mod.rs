//! A gateway, from a checked configuration to a running process and back.
//!
//! [`Gateway::start`] names the stages in order; [`Gateway::stop`] is the same list from its end. A file uses lower ranks only:
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `audit` | the audit log of a state directory, opened or begun |
//! | 0 | `certificates` | certificates that follow their files |
//! | 0 | `handover` | the protocol by which a second process takes over |
//! | 0 | `manager` | the service manager |
//! | 0 | `ports` | `ports.json` |
//! | 0 | `process` | limits of the process |
//! | 1 | `state` | the state directory, opened or made |
//! | 2 | `error` | why a gateway did not start |
//! | 2 | `relay` | the audit log of a gateway that relays only |
//! | 3 | `check_files` | the files that a configuration names, checked |
//! | 3 | `key_setup` | keys opened, rotation started |
//! | 4 | `offline` | commands without a running gateway |
//! | 4 | `reload` | the configuration, read again |
//! | 5 | `ownership` | what only one process may have |
//! | 6 | `gateway` | a running gateway |
//! | 7 | `handover_steps` | a gateway that hands over, and takes back |

mod audit;
mod certificates;
mod check_files;
mod error;
mod gateway;
mod handover;
mod handover_steps;
mod key_setup;
pub mod manager;
mod offline;
mod ownership;
mod ports;
pub mod process;
mod relay;
mod reload;
mod state;
#[cfg(test)]
mod tests;

pub use audit::{
    AuditError, audit_directory, audit_verifier, audit_verifier_of_log, begin_audit_log,
    has_audit_log,
};
pub use check_files::{FileError, FileWarning, check_files, check_without_lock};
pub use error::StartError;
pub use gateway::{Gateway, StartOptions};
pub use handover::{TakeOver, TakeOverError, is_gateway_running, take_over};
pub use handover_steps::{HandoverEvent, HandoverOutcome};
pub use key_setup::rotation_config;
pub use offline::offline;
pub use reload::{ConfigSource, Reloader, warn_of};
pub use state::{OpenError, OpenState, open, open_audit, with_audit};
