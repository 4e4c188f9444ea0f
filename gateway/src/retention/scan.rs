//! Scanning one stream for messages sealed under the key version.
//!
//! Several readers start at sequences spread over the range and go on message by message. So a version that sealed for a long
//! time is found at once, and the proof that there is no message is a few times faster.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde_json::json;

use super::api::{Api, ApiError};
use super::json::{self, StoredMessage};
use super::stream::{Stream, Window};
use crate::envelope::{Header, HeaderError, Kid};
use crate::fault::{Failure, Fault};
use crate::policy::Pattern;

/// How many readers scan one stream.
const READERS: u64 = 8;

/// How many messages are read of one stream and pattern. Each is sent whole, so that more would be a load on the bus; a stream
/// with so many messages of other versions is better asked again when its limits have removed some.
const MAX_READS: u64 = 20_000;

/// The outcome for one stream.
#[derive(Debug)]
pub(super) enum Finding {
    /// No message is sealed under the version.
    NothingStored,
    /// This message is sealed under the version.
    Stored(Box<Evidence>),
    /// It cannot be proven: the reason.
    Unknown(Failure),
}

/// A message that is sealed under the version.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) stored: StoredMessage,
    /// How many messages of the stream can be sealed under it at most.
    pub(super) at_most: u64,
}

/// A scan of one stream for one pattern.
struct Scan<'a> {
    api: &'a Api,
    stream: &'a Stream,
    pattern: &'a Pattern,
    kid: Kid,
    reads: AtomicU64,
}

/// The sequences that a message sealed under the version can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SequenceRange {
    /// The first.
    pub(super) first: u64,
    /// One past the last; `None`: to the end of the stream.
    pub(super) end: Option<u64>,
}

/// A stored payload, compared with the version in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadMatch {
    /// Sealed under it.
    Ours,
    /// Sealed under another, or no envelope.
    Other,
    /// An envelope of a later format, whose version is not known.
    Unreadable,
}

/// Scans a stream for each of the patterns.
pub(super) async fn scan_stream(
    api: &Api,
    stream: &Stream,
    patterns: &[Pattern],
    (window, kid): (Window, Kid),
) -> Finding {
    if stream.info.state.messages == 0 && !stream.copies() {
        return Finding::NothingStored;
    }
    let mut doubt = None;
    for pattern in patterns {
        let scan = Scan {
            api,
            stream,
            pattern,
            kid,
            reads: AtomicU64::new(0),
        };
        match Box::pin(scan.run(window.for_stored_time(stream.stored_time))).await {
            Ok(Finding::NothingStored) => {}
            Ok(held @ Finding::Stored(_)) => return held,
            Ok(Finding::Unknown(why)) => doubt = doubt.or(Some(why)),
            Err(failed) => doubt = doubt.or_else(|| Some(Failure::of(&failed))),
        }
    }
    doubt.map_or(Finding::NothingStored, Finding::Unknown)
}

impl Scan<'_> {
    async fn run(&self, window: Window) -> Result<Finding, ApiError> {
        let Some(range) = self.range(window).await? else {
            return Ok(Finding::NothingStored);
        };
        let last = range.last(self.stream.info.state.last_seq);
        let mut readers: FuturesUnordered<_> = range
            .parts(last, READERS)
            .into_iter()
            .map(|part| Box::pin(self.read(part)))
            .collect();
        let mut doubt = None;
        while let Some(read) = readers.next().await {
            match read? {
                Finding::NothingStored => {}
                Finding::Stored(mut evidence) => {
                    let width = last.saturating_sub(range.first).saturating_add(1);
                    evidence.at_most = width.min(self.stream.info.state.messages.max(1));
                    return Ok(Finding::Stored(evidence));
                }
                Finding::Unknown(why) => doubt = Some(why),
            }
        }
        Ok(doubt.map_or(Finding::NothingStored, Finding::Unknown))
    }

    /// The sequences to read; `None`: none. A server that does not know `start_time` answers with the oldest message, which is
    /// safe, or with an error, which ends in [`Finding::Unknown`].
    async fn range(&self, window: Window) -> Result<Option<SequenceRange>, ApiError> {
        let first = match window.from {
            Some(time) => self.since(time).await?,
            None => self.next(1).await?,
        };
        let Some(first) = first else {
            return Ok(None);
        };
        let Some(to) = window.to else {
            let first = first.sequence;
            return Ok(Some(SequenceRange { first, end: None }));
        };
        if first.time > to {
            return Ok(None);
        }
        let beyond = self.since(to).await?.filter(|stored| stored.time >= to);
        Ok(Some(SequenceRange {
            first: first.sequence,
            end: beyond.map(|stored| stored.sequence),
        }))
    }

    /// Reads message by message to the end of the part.
    async fn read(&self, part: SequenceRange) -> Result<Finding, ApiError> {
        let mut next = part.first;
        let mut unreadable = None;
        loop {
            if self.reads.fetch_add(1, Ordering::Relaxed) >= MAX_READS {
                return Ok(Finding::Unknown(self.too_many()));
            }
            let Some(stored) = self.next(next).await? else {
                break;
            };
            if part.end.is_some_and(|end| stored.sequence >= end) {
                break;
            }
            next = stored.sequence.saturating_add(1);
            match match_payload(&stored.payload, self.kid) {
                PayloadMatch::Ours => {
                    let at_most = 1;
                    return Ok(Finding::Stored(Box::new(Evidence { stored, at_most })));
                }
                PayloadMatch::Other => {}
                PayloadMatch::Unreadable => unreadable = Some(stored.sequence),
            }
        }
        Ok(unreadable.map_or(Finding::NothingStored, |at| {
            Finding::Unknown(self.unreadable(at))
        }))
    }

    async fn next(&self, sequence: u64) -> Result<Option<StoredMessage>, ApiError> {
        self.get(&json!({ "seq": sequence, "next_by_subj": self.pattern.as_str() }))
            .await
    }

    async fn since(&self, time: Timestamp) -> Result<Option<StoredMessage>, ApiError> {
        self.get(&json!({ "start_time": time.to_string(), "next_by_subj": self.pattern.as_str() }))
            .await
    }

    async fn get(&self, request: &serde_json::Value) -> Result<Option<StoredMessage>, ApiError> {
        let subject = format!("{}.STREAM.MSG.GET.{}", self.stream.api, self.stream.name());
        let answer = self.api.ask(&subject, request.to_string()).await?;
        json::read_stored(&subject, &answer)
    }

    fn too_many(&self) -> Failure {
        let what = format!(
            "stream {} holds more than {MAX_READS} messages on {} that may be as old, and none of those looked at is sealed under this version",
            self.stream.name(),
            self.pattern
        );
        Failure::new(
            what,
            Fault::operator_later("ask again when they have left the stream, or force it"),
        )
    }

    fn unreadable(&self, sequence: u64) -> Failure {
        let what = format!(
            "message {sequence} of stream {} is an envelope that this keyway cannot read",
            self.stream.name()
        );
        Failure::new(what, Fault::operator_later("upgrade keyway, or force it"))
    }
}

impl SequenceRange {
    /// The last sequence known to belong to it, in a stream that ends at `last_seq`.
    pub(super) fn last(&self, last_seq: u64) -> u64 {
        let known = self.end.map_or(last_seq, |end| end.saturating_sub(1));
        known.max(self.first)
    }

    /// Splits it into at most `count` parts of about the same width; the last part ends where it ends.
    pub(super) fn parts(&self, last: u64, count: u64) -> Vec<Self> {
        let width = last.saturating_sub(self.first).saturating_add(1);
        let step = width.div_ceil(count.max(1)).max(1);
        let mut parts = Vec::new();
        let mut first = self.first;
        while let Some(end) = first.checked_add(step).filter(|end| *end <= last) {
            let end = Some(end);
            parts.push(Self { first, end });
            first = first.saturating_add(step);
        }
        let end = self.end;
        parts.push(Self { first, end });
        parts
    }
}

/// Compares the kid in an envelope's header.
pub(super) fn match_payload(bytes: &[u8], kid: Kid) -> PayloadMatch {
    match Header::parse(bytes) {
        Ok(header) if header.kid == kid => PayloadMatch::Ours,
        Ok(_) | Err(HeaderError::Magic | HeaderError::Short(_)) => PayloadMatch::Other,
        Err(
            HeaderError::Version(_)
            | HeaderError::ReservedSuite
            | HeaderError::UnknownSuite(_)
            | HeaderError::Flags(_),
        ) => PayloadMatch::Unreadable,
    }
}
