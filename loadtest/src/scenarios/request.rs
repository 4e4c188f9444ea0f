//! Requests to one responder, one at a time or at a fixed rate.

use keyway::wire::Message;

use crate::error::RunError;
use crate::load::{Client, Endpoint, LoadResult, Pace, RequestPlan, ask};

const SUBJECT: &str = "load.service";
const INBOX: &str = "_INBOX.loadtest.1";

/// Runs requests that are answered with payloads of the same size.
pub(crate) fn play(
    endpoint: &Endpoint,
    size: usize,
    count: u64,
    pace: Pace,
) -> Result<LoadResult, RunError> {
    let mut responder = Client::connect(endpoint)?;
    responder.subscribe(SUBJECT)?;
    let mut requester = Client::connect(endpoint)?;
    requester.subscribe(INBOX)?;
    let payload = "x".repeat(size);
    let request = format!("PUB {SUBJECT} {INBOX} {size}\r\n{payload}\r\n");
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| answer(&mut responder, &payload, count));
        let asking = RequestPlan {
            pace,
            count,
            question: |bytes: &mut Vec<u8>, _number| bytes.extend_from_slice(request.as_bytes()),
        };
        let asked = ask(&mut requester, asking, |answer| sized(answer, size));
        let answered = answering
            .join()
            .unwrap_or_else(|_panic| Err(RunError::Limit("the responder panicked".to_owned())));
        answered.and(asked)
    })
}

/// Checks the payload size of a message.
pub(super) fn sized(message: &Message<'_>, size: usize) -> Result<(), RunError> {
    let len = message.payload.len();
    if len == size {
        return Ok(());
    }
    let said = message.payload.get(..len.min(80)).unwrap_or_default();
    Err(RunError::Peer {
        what: format!("waiting for {size} bytes"),
        said: said.escape_ascii().to_string(),
    })
}

fn answer(client: &mut Client, payload: &str, count: u64) -> Result<(), RunError> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        bytes.clear();
        bytes.extend_from_slice(b"PUB ");
        client.message(|request| {
            bytes.extend_from_slice(request.reply.unwrap_or_default());
        })?;
        bytes.extend_from_slice(format!(" {}\r\n{payload}\r\n", payload.len()).as_bytes());
        client.send(&bytes)?;
    }
    Ok(())
}
