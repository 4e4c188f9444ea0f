//! The JSON of JetStream's answers. Members that are not needed are not read.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api::ApiError;
use crate::strict_json;

/// JetStream's error codes for "no message found" and "stream not found" (nats-server, `errors.json`).
const NOT_FOUND: [u64; 2] = [10_037, 10_059];

/// The error that any answer may have.
#[derive(Deserialize)]
struct Outcome {
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A page of the list of streams.
#[derive(Debug, Deserialize)]
pub(super) struct StreamPage {
    /// The number of streams on all pages.
    pub(super) total: usize,
    /// `null` when the page is empty.
    pub(super) streams: Option<Vec<StreamInfo>>,
    /// Streams whose servers did not answer.
    #[serde(default)]
    pub(super) missing: Option<Vec<String>>,
    /// Streams that the servers cannot run, with the reason.
    #[serde(default)]
    pub(super) offline: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    pub(super) state: StreamState,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    #[serde(default)]
    pub(super) retention: String,
    /// Nanoseconds; 0: no limit.
    #[serde(default)]
    pub(super) max_age: u64,
    /// -1: no limit.
    #[serde(default)]
    pub(super) max_msgs_per_subject: i64,
    pub(super) mirror: Option<StreamSource>,
    pub(super) subject_transform: Option<SubjectTransform>,
    pub(super) sources: Option<Vec<StreamSource>>,
    pub(super) republish: Option<SubjectTransform>,
    /// The subjects that it stores.
    pub(super) subjects: Option<Vec<String>>,
    #[serde(default)]
    pub(super) allow_msg_schedules: bool,
}

/// The source of a mirror or sourcing stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamSource {
    pub(super) name: String,
    /// Set if it is in another account or domain.
    pub(super) external: Option<ExternalStream>,
    /// The subjects; empty without transforms: all.
    #[serde(default)]
    pub(super) filter_subject: String,
    pub(super) subject_transforms: Option<Vec<SubjectTransform>>,
}

/// The access to another account or domain.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ExternalStream {
    /// Its API prefix.
    #[serde(default)]
    pub(super) api: String,
}

/// A subject transform, or a republish.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SubjectTransform {
    /// The matching subjects; empty: all.
    #[serde(default)]
    pub(super) src: String,
    /// The new subjects.
    #[serde(default)]
    pub(super) dest: String,
    /// Whether a republish leaves the payloads out.
    #[serde(default)]
    pub(super) headers_only: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct StreamState {
    #[serde(default)]
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) last_seq: u64,
}

/// A page of the list of a stream's consumers.
#[derive(Debug, Deserialize)]
pub(super) struct ConsumerPage {
    pub(super) total: usize,
    pub(super) consumers: Option<Vec<ConsumerInfo>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConsumerInfo {
    pub(super) name: String,
    #[serde(default)]
    pub(super) num_pending: u64,
    #[serde(default)]
    pub(super) num_ack_pending: u64,
}

#[derive(Deserialize)]
struct MessageAnswer {
    message: RawMessage,
}

#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    /// RFC 3339.
    time: String,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMessage {
    /// The stored subject, which may differ from the published one.
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// When it was stored.
    pub(super) time: Timestamp,
    /// Its header block.
    pub(super) headers: Vec<u8>,
    /// The payload: an envelope, if it was sealed.
    pub(super) payload: Vec<u8>,
}

/// Reads the answer to a request to `subject`; `None`: there is no such message or stream.
pub(super) fn read_answer<T: DeserializeOwned>(
    subject: &str,
    bytes: &Bytes,
) -> Result<Option<T>, ApiError> {
    let unreadable = |error| ApiError::unreadable(subject, error);
    let outcome: Outcome = strict_json::from_slice(bytes).map_err(unreadable)?;
    let Some(error) = outcome.error else {
        return strict_json::from_slice(bytes).map(Some).map_err(unreadable);
    };
    if NOT_FOUND.contains(&error.err_code) {
        return Ok(None);
    }
    Err(ApiError::Error {
        subject: subject.to_owned(),
        description: error.description,
        code: error.err_code.max(error.code),
    })
}

/// Reads the answer to a `STREAM.MSG.GET`; `None`: there is no such message.
pub(super) fn read_stored(subject: &str, bytes: &Bytes) -> Result<Option<StoredMessage>, ApiError> {
    let Some(MessageAnswer { message }) = read_answer(subject, bytes)? else {
        return Ok(None);
    };
    let decode = |text: &str| {
        let decoded = BASE64.decode(text.as_bytes());
        decoded.map_err(|error| ApiError::unreadable(subject, error))
    };
    let time = message.time.parse();
    Ok(Some(StoredMessage {
        headers: decode(&message.hdrs)?,
        payload: decode(&message.data)?,
        subject: message.subject,
        sequence: message.seq,
        time: time.map_err(|error: jiff::Error| ApiError::unreadable(subject, error))?,
    }))
}
