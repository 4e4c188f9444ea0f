//! Connections that send one message to themselves, and close.

use std::time::Duration;

use crate::error::RunError;
use crate::load::{Client, Endpoint, LoadResult, Times, now};

/// Concurrent connections.
const AT_ONCE: u64 = 4;

/// Runs this many connections in all; latency is from the first packet to the message.
pub(super) fn play(endpoint: &Endpoint, size: usize, count: u64) -> Result<LoadResult, RunError> {
    let each = count.div_ceil(AT_ONCE);
    let begun = now();
    let times = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| scope.spawn(move || come_and_go(endpoint, worker, size, each)))
            .collect();
        let mut all = Times::new()?;
        for worker in workers {
            let times = worker
                .join()
                .unwrap_or_else(|_panic| Err(RunError::Limit("a worker panicked".to_owned())))?;
            all.add(&times)?;
        }
        Ok::<_, RunError>(all)
    })?;
    Ok(LoadResult {
        count: each * AT_ONCE,
        took: now().duration_since(begun).max(Duration::from_nanos(1)),
        times: Some(times),
    })
}

fn come_and_go(
    endpoint: &Endpoint,
    worker: u64,
    size: usize,
    count: u64,
) -> Result<Times, RunError> {
    let mut times = Times::new()?;
    let payload = "x".repeat(size);
    let words =
        format!("SUB load.churn.{worker} 1\r\nPUB load.churn.{worker} {size}\r\n{payload}\r\n");
    for _ in 0..count {
        let begun = now();
        let mut client = Client::connect(endpoint)?;
        client.send(words.as_bytes())?;
        let len = client.message(|message| message.payload.len())?;
        if len != size {
            return Err(RunError::Limit(format!("a message of {len} bytes")));
        }
        times.record(now().duration_since(begun));
    }
    Ok(times)
}
