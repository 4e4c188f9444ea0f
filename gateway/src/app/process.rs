//! What the process asks of the system for itself.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

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
