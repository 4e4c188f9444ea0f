//! What the process asks of the system for itself.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::dataplane;
use crate::fault::{Fault, Faulty, Retry, Who};

/// Keys are in memory: no core dump, and no debugger of the same user (prctl(2), `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the system says.
pub fn keep_out_of_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    Ok(limited.and(hidden)?)
}

/// Memory cannot be locked although the configuration wants it.
#[derive(Debug, thiserror::Error)]
#[error(
    "memory cannot be locked: {0}; raise the limit of locked memory to infinity (LimitMEMLOCK=, ulimit -l), or remove `lock-memory`"
)]
pub struct NotLocked(io::Error);

impl Faulty for NotLocked {
    fn fault(&self) -> Fault {
        Fault {
            who: Who::Operator,
            retry: Retry::Never,
        }
    }
}

/// Keeps memory, and so keys, from being swapped out (mlockall(2)): every page from when it is first used. `wanted: None` where the
/// limit of locked memory is infinite; with a lower one, allocations would fail later.
///
/// # Errors
/// [`NotLocked`] when `wanted` and not possible.
pub fn lock_memory(wanted: Option<bool>) -> Result<(), NotLocked> {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    if wanted == Some(false) || (wanted.is_none() && !unlimited) {
        tracing::debug!("memory is not locked: what is swapped out may hold keys");
        return Ok(());
    }
    let limited = io::Error::other("the limit of locked memory is not infinite");
    let locked = if unlimited {
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
            .map_err(io::Error::from)
    } else {
        Err(limited)
    };
    match locked {
        Ok(()) => tracing::debug!("memory is locked"),
        Err(error) if wanted == Some(true) => return Err(NotLocked(error)),
        Err(error) => {
            tracing::warn!(%error, "memory cannot be locked: what is swapped out may hold keys")
        }
    }
    Ok(())
}

/// A connection takes two descriptors, and the usual soft limit of 1024 would end at 500 connections: takes all that the hard limit
/// grants, and returns it (`None`: there is none).
///
/// # Errors
/// What the system says.
pub fn take_all_descriptors() -> io::Result<Option<u64>> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(maximum)
}

/// Descriptors that are no connections: logs, records, administration.
const SPARE: u64 = 64;

/// A connection takes two descriptors: one more than there are turns a client away with a word, instead of leaving it in the queue.
pub(super) fn fitted(mut config: dataplane::Config) -> dataplane::Config {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(descriptors.saturating_sub(SPARE) / 2).unwrap_or(usize::MAX);
    if config.crowd.connections > room {
        let connections = room.max(1);
        tracing::info!(
            descriptors,
            connections,
            asked = config.crowd.connections,
            help = "raise the limit of open files (LimitNOFILE=) for more",
            "file descriptors limit how many clients may be connected"
        );
        config.crowd.connections = connections;
    }
    config
}
