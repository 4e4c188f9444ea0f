//! The priority of threads.

use rustix::process::{getpriority_process, setpriority_process};

/// Added to the nice value of a thread of the control plane: it gets about a third of a worker's share of a contended core.
const NICE_INCREMENT: i32 = 5;

/// Lowers the priority of the calling thread, and of those that it starts, below that of the workers. On Linux a nice value is a
/// thread's own.
pub fn lower() {
    let stepped = getpriority_process(None)
        .and_then(|nice| setpriority_process(None, nice.saturating_add(NICE_INCREMENT)));
    if let Err(error) = stepped {
        tracing::trace!(%error, "a thread of the control plane has the priority of a worker");
    }
}
