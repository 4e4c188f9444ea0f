//! Process limits: core dumps, locked memory, file descriptors.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::dataplane;
use crate::fault::{Fault, Faulty};

/// Keeps keys in memory from core dumps and from debuggers of the same user (prctl(2), `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the system says.
pub fn disable_core_dumps() -> io::Result<()> {
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
#[error("memory cannot be locked: {0}")]
pub struct NotLocked(io::Error);

impl Faulty for NotLocked {
    fn fault(&self) -> Fault {
        Fault::operator(
            "raise the limit of locked memory to infinity (LimitMEMLOCK=, ulimit -l), or remove `lock-memory`",
        )
    }
}

/// Locks memory, so that keys are not swapped out (mlockall(2)): every page from its first use. `wanted: None`: where the limit
/// of locked memory is infinite; with a lower one, allocations would fail later.
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

/// Raises the soft limit of descriptors to the hard limit and returns it (`None`: unlimited). A connection takes two: the usual
/// 1024 would end at 500 connections.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
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

/// Descriptors kept for other uses than connections: logs, records, administration.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Lowers the limit of connections to what the descriptors allow (two each): a client beyond it gets an error instead of waiting
/// in the kernel's queue.
pub(super) fn limit_connections(mut config: dataplane::Config) -> dataplane::Config {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room =
        usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX);
    if config.connection_limits.connections > room {
        let connections = room.max(1);
        tracing::info!(
            descriptors,
            connections,
            asked = config.connection_limits.connections,
            help = "raise the limit of open files (LimitNOFILE=) for more",
            "file descriptors limit how many clients may be connected"
        );
        config.connection_limits.connections = connections;
    }
    config
}
