//! Streams and buckets in memory: with files the disk would dominate.

use keyway::wire::Message;

use super::request::sized;
use super::{Case, Ready, RoundResult};
use crate::error::RunError;
use crate::load::{Client, Endpoint, LoadResult, Pace, RequestPlan, ask, now};

const INBOX: &str = "_INBOX.load";
const STREAM: &str = "{\"name\":\"load\",\"subjects\":[\"load.stored\"],\"storage\":\"memory\"}";
const BUCKET: &str = "{\"name\":\"KV_load\",\"subjects\":[\"$KV.load.>\"],\"storage\":\"memory\",\"max_msgs_per_subject\":1,\"allow_direct\":true,\"allow_rollup_hdrs\":true}";
const CONSUMER: &str = "{\"stream_name\":\"load\",\"config\":{\"durable_name\":\"load\",\"ack_policy\":\"explicit\",\"max_ack_pending\":100000}}";

/// Keys of a bucket.
const KEYS: u64 = 64;

/// Publishes to a stream, with acknowledgements.
pub(super) fn publish<'t>(case: &'t Case, endpoint: &Endpoint) -> Result<Ready<'t>, RunError> {
    let mut client = with_stream(endpoint)?;
    Ok(Box::new(move || {
        store(&mut client, case, case.pace, |_number| {
            "load.stored".to_owned()
        })
        .map(RoundResult::from)
    }))
}

/// Reads a stream that has been filled.
pub(super) fn consume<'t>(case: &'t Case, endpoint: &Endpoint) -> Result<Ready<'t>, RunError> {
    let mut client = with_stream(endpoint)?;
    store(&mut client, case, Pace::Window(256), |_number| {
        "load.stored".to_owned()
    })?;
    request(&mut client, "CONSUMER.CREATE.load.load", CONSUMER)?;
    Ok(Box::new(move || {
        pull(&mut client, case).map(RoundResult::from)
    }))
}

/// Puts values into a bucket.
pub(super) fn put<'t>(case: &'t Case, endpoint: &Endpoint) -> Result<Ready<'t>, RunError> {
    let mut client = with_bucket(endpoint)?;
    Ok(Box::new(move || {
        store(&mut client, case, case.pace, key).map(RoundResult::from)
    }))
}

/// Gets values from a bucket that has been filled.
pub(super) fn get<'t>(case: &'t Case, endpoint: &Endpoint) -> Result<Ready<'t>, RunError> {
    let mut client = with_bucket(endpoint)?;
    let filling = Case {
        count: KEYS,
        ..case.clone()
    };
    store(&mut client, &filling, Pace::Window(KEYS), key)?;
    let question = |bytes: &mut Vec<u8>, number: u64| {
        let key = key(number);
        let line = format!("PUB $JS.API.DIRECT.GET.KV_load.{key} {INBOX}.{number} 0\r\n\r\n");
        bytes.extend_from_slice(line.as_bytes());
    };
    Ok(Box::new(move || {
        let asking = RequestPlan {
            pace: case.pace,
            count: case.count,
            question,
        };
        ask(&mut client, asking, |answer| sized(answer, case.size)).map(RoundResult::from)
    }))
}

fn key(number: u64) -> String {
    format!("$KV.load.key{}", number % KEYS)
}

fn with_stream(endpoint: &Endpoint) -> Result<Client, RunError> {
    fresh(endpoint, "load", STREAM)
}

fn with_bucket(endpoint: &Endpoint) -> Result<Client, RunError> {
    fresh(endpoint, "KV_load", BUCKET)
}

/// Connects, and creates an empty stream.
fn fresh(endpoint: &Endpoint, name: &str, config: &str) -> Result<Client, RunError> {
    let mut client = Client::connect(endpoint)?;
    client.subscribe(&format!("{INBOX}.*"))?;
    // Fails where there is none.
    drop(request(&mut client, &format!("STREAM.DELETE.{name}"), ""));
    request(&mut client, &format!("STREAM.CREATE.{name}"), config)?;
    Ok(client)
}

/// Sends a request to the server's API.
fn request(client: &mut Client, what: &str, body: &str) -> Result<(), RunError> {
    let len = body.len();
    client.send(format!("PUB $JS.API.{what} {INBOX}.api {len}\r\n{body}\r\n").as_bytes())?;
    let said = client.message(|answer| answer.payload.to_vec())?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.contains("\"error\"") {
        return Err(RunError::Peer {
            what: what.to_owned(),
            said,
        });
    }
    Ok(())
}

/// Publishes messages that the server acknowledges when they are stored.
fn store(
    client: &mut Client,
    case: &Case,
    pace: Pace,
    subject: impl Fn(u64) -> String,
) -> Result<LoadResult, RunError> {
    let (payload, size) = ("x".repeat(case.size), case.size);
    let asking = RequestPlan {
        pace,
        count: case.count,
        question: |bytes: &mut Vec<u8>, number| {
            let subject = subject(number);
            let line = format!("PUB {subject} {INBOX}.{number} {size}\r\n{payload}\r\n");
            bytes.extend_from_slice(line.as_bytes());
        },
    };
    ask(client, asking, |answer| stored(answer.payload))
}

/// Checks that an answer is an acknowledgement of the stream.
fn stored(answer: &[u8]) -> Result<(), RunError> {
    let said = String::from_utf8_lossy(answer);
    if said.contains("\"seq\":") && !said.contains("\"error\"") {
        return Ok(());
    }
    Err(RunError::Peer {
        what: "waiting for an acknowledgement".to_owned(),
        said: said.into_owned(),
    })
}

/// Pulls a window of messages at a time, half a window ahead, and acknowledges each.
fn pull(client: &mut Client, case: &Case) -> Result<LoadResult, RunError> {
    let window = match case.pace {
        Pace::Window(window) => window,
        Pace::Rate(_) => u64::MAX,
    };
    let half = window.min(case.count).div_ceil(2);
    let begun = now();
    let (mut wanted, mut seen, mut bytes) = (0, 0, Vec::new());
    while seen < case.count {
        while wanted < case.count && wanted <= seen + half {
            let batch = half.min(case.count - wanted);
            let body = format!("{{\"batch\":{batch},\"expires\":30000000000}}");
            let len = body.len();
            let what = "$JS.API.CONSUMER.MSG.NEXT.load.load";
            let line = format!("PUB {what} {INBOX}.{wanted} {len}\r\n{body}\r\n");
            bytes.extend_from_slice(line.as_bytes());
            wanted += batch;
        }
        client.send(&bytes)?;
        bytes.clear();
        let mut next = Some(client.message(|message| take(message, case.size, &mut bytes))?);
        while let Some(taken) = next {
            taken?;
            seen += 1;
            next = client.held(|message| take(message, case.size, &mut bytes))?;
        }
    }
    client.send(&bytes)?;
    client.flush()?;
    Ok(LoadResult {
        count: case.count,
        took: now().duration_since(begun),
        times: None,
    })
}

/// Acknowledges a message of a stream.
fn take(message: &Message<'_>, size: usize, bytes: &mut Vec<u8>) -> Result<(), RunError> {
    bytes.extend_from_slice(b"PUB ");
    bytes.extend_from_slice(message.reply.unwrap_or_default());
    bytes.extend_from_slice(b" 4\r\n+ACK\r\n");
    sized(message, size)
}
