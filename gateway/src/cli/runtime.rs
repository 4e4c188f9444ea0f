//! The tokio runtime of a command.

use super::exit::Exit;
use super::failure::Failure;

/// Runs a future to its end, on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = built.map_err(|error| {
        let what = format!("cannot start the runtime: {error}");
        Failure::new(Exit::Failed, what, "are there file descriptors left?")
    })?;
    runtime.block_on(future)
}
