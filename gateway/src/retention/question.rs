//! Scanning all streams of the account, and the answer.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use super::answer::{ConsumerBehind, RetentionAnswer, RetentionQuestion, StoringStream};
use super::api::{Api, ApiError};
use super::config::Config;
use super::json::{self, ConsumerPage, StreamInfo, StreamPage};
use super::scan::{self, Evidence, Finding};
use super::stream::{Stream, Window};
use crate::fault::{Failure, Fault};
use crate::policy::Pattern;

/// The default prefix of JetStream's API.
const API_PREFIX: &str = "$JS.API";

/// Reply subjects. Replies to sealed requests are sealed under the request's keyring, whatever its subjects are, and a stream may
/// store them.
const REPLY_SUBJECTS: [&str; 2] = ["_INBOX.>", "_R_.>"];

/// How many streams are scanned at once.
const CONCURRENT_STREAMS: usize = 8;

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many streams were scanned.
    pub(super) streams: usize,
    /// Those that hold such messages.
    pub(super) held: Vec<StoringStream>,
    /// What could not be determined.
    pub(super) doubts: Vec<Failure>,
}

/// Asks on this thread.
pub(super) fn ask(config: &Config, question: &RetentionQuestion) -> RetentionAnswer {
    let asking = Box::pin(ask_with_deadline(config, question));
    block_on(asking).unwrap_or_else(RetentionAnswer::Unknown)
}

/// Runs on this thread, with a runtime of its own.
pub(super) fn block_on<T>(asking: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::new(
            format!("JetStream cannot be asked: {error}"),
            Fault::operator_later("ask again"),
        )
    })?;
    Ok(runtime.block_on(asking))
}

async fn ask_with_deadline(config: &Config, question: &RetentionQuestion) -> RetentionAnswer {
    let mut found = Findings::default();
    let asking = Box::pin(gather(config, question, &mut found));
    match tokio::time::timeout(config.deadline, asking).await {
        Ok(Ok(())) => {}
        Ok(Err(failed)) => found.doubts.push(Failure::of(&failed)),
        Err(_elapsed) => {
            let deadline = humantime::format_duration(config.deadline);
            found.doubts.push(Failure::new(
                format!("JetStream was not asked to the end within {deadline}"),
                Fault::operator_later("raise `deadline` of [control]"),
            ));
        }
    }
    found.verdict()
}

/// Connects, lists the streams, and scans them.
async fn gather(
    config: &Config,
    question: &RetentionQuestion,
    found: &mut Findings,
) -> Result<(), ApiError> {
    let api = Box::pin(Api::connect(config)).await?;
    let patterns = patterns(&question.subjects);
    for prefix in prefixes(config, &question.api_prefixes) {
        let listed = list_streams(&api, &prefix, &mut found.doubts).await;
        let infos = match listed {
            // With `domains` configured, the server itself need not have JetStream.
            Err(ApiError::NoResponders(_))
                if prefix == API_PREFIX && !config.domains.is_empty() =>
            {
                continue;
            }
            Err(failed) => {
                found.doubts.push(Failure::of(&failed));
                continue;
            }
            Ok(infos) => infos,
        };
        // Mirrors and sourcing streams last, so that a message that moves there meanwhile is not missed.
        let (copies, plain): (Vec<_>, Vec<_>) = Stream::of(&prefix, infos)
            .into_iter()
            .partition(Stream::copies);
        for streams in [plain, copies] {
            scan_streams(&api, &streams, &patterns, question, found).await;
        }
    }
    Ok(())
}

/// Scans these streams, several at once.
async fn scan_streams(
    api: &Api,
    streams: &[Stream],
    patterns: &[Pattern],
    question: &RetentionQuestion,
    found: &mut Findings,
) {
    let about = (Window::of(question), question.kid);
    let one = |stream| async move {
        let finding = scan::scan_stream(api, stream, patterns, about).await;
        (stream, finding)
    };
    let mut rest = streams.iter();
    let mut scans: FuturesUnordered<_> = rest
        .by_ref()
        .take(CONCURRENT_STREAMS)
        .map(|s| Box::pin(one(s)))
        .collect();
    while let Some((stream, finding)) = scans.next().await {
        scans.extend(rest.next().map(|s| Box::pin(one(s))));
        found.streams = found.streams.saturating_add(1);
        match finding {
            Finding::NothingStored => {}
            Finding::Stored(evidence) => {
                let consumers = Box::pin(consumers_behind(api, stream)).await;
                let holder = storing_stream(stream, *evidence, consumers);
                found.held.push(holder);
            }
            Finding::Unknown(why) => found.doubts.push(why),
        }
    }
}

/// Every stream under this prefix. Gaps in the list are added to `doubts`.
pub(super) async fn list_streams(
    api: &Api,
    prefix: &str,
    doubts: &mut Vec<Failure>,
) -> Result<Vec<StreamInfo>, ApiError> {
    let subject = format!("{prefix}.STREAM.LIST");
    let mut streams: Vec<StreamInfo> = Vec::new();
    let mut totals = BTreeSet::new();
    loop {
        let request = json!({ "offset": streams.len() }).to_string();
        let answer = api.ask(&subject, request).await?;
        let page: Option<StreamPage> = json::read_answer(&subject, &answer)?;
        let page = page.ok_or_else(|| ApiError::unreadable(&subject, "it is no list"))?;
        doubts.extend(page.gaps());
        totals.insert(page.total);
        let more = page.streams.unwrap_or_default();
        let is_last = more.is_empty() || streams.len().saturating_add(more.len()) >= page.total;
        streams.extend(more);
        if is_last {
            break;
        }
    }
    // A stream deleted meanwhile moves the others up, one of them to a page that was read already.
    if !totals.iter().eq([&streams.len()]) {
        let what = "the list of streams has gaps, or changed while it was read";
        doubts.push(Failure::new(what, Fault::operator_later("ask again")));
    }
    Ok(streams)
}

/// The stream's consumers with unfinished messages. The answer does not depend on them, so that errors are left out.
async fn consumers_behind(api: &Api, stream: &Stream) -> Vec<ConsumerBehind> {
    let subject = format!("{}.CONSUMER.LIST.{}", stream.api, stream.name());
    let mut consumers = Vec::new();
    let mut offset = 0_usize;
    loop {
        let answer = api
            .ask(&subject, json!({ "offset": offset }).to_string())
            .await;
        let page = answer.and_then(|bytes| json::read_answer::<ConsumerPage>(&subject, &bytes));
        let Ok(Some(page)) = page else {
            tracing::debug!(%subject, "consumers could not be listed");
            return consumers;
        };
        let more = page.consumers.unwrap_or_default();
        let is_last = more.is_empty() || offset.saturating_add(more.len()) >= page.total;
        offset = offset.saturating_add(more.len());
        let behind = more.into_iter().map(|consumer| ConsumerBehind {
            name: consumer.name,
            pending: consumer.num_pending,
            ack_pending: consumer.num_ack_pending,
        });
        consumers.extend(behind.filter(|c| c.pending > 0 || c.ack_pending > 0));
        if is_last {
            return consumers;
        }
    }
}

fn storing_stream(
    stream: &Stream,
    evidence: Evidence,
    consumers: Vec<ConsumerBehind>,
) -> StoringStream {
    let Evidence { stored, at_most } = evidence;
    StoringStream {
        stream: stream.name().to_owned(),
        api: stream.api.clone(),
        expires: stream.expires(&stored),
        subject: stored.subject,
        sequence: stored.sequence,
        stored: stored.time,
        messages_at_most: at_most,
        consumers,
        why: stream.why(),
    }
}

/// The API prefixes to ask under: the default, each domain's, each import's.
pub(super) fn prefixes(config: &Config, imports: &[String]) -> Vec<String> {
    let own = std::iter::once(API_PREFIX.to_owned());
    let domains = config.domains.iter().map(|name| format!("$JS.{name}.API"));
    let imports = imports
        .iter()
        .map(|prefix| prefix.trim_end_matches('.').to_owned());
    own.chain(domains).chain(imports).collect()
}

/// The keyring's subjects and the reply subjects, without those that another covers.
pub(super) fn patterns(subjects: &[Pattern]) -> Vec<Pattern> {
    let replies = REPLY_SUBJECTS.iter().filter_map(|text| text.parse().ok());
    let all: BTreeSet<Pattern> = subjects.iter().cloned().chain(replies).collect();
    let covered = |one: &Pattern| all.iter().any(|other| other != one && other.covers(one));
    all.iter().filter(|one| !covered(one)).cloned().collect()
}

impl StreamPage {
    /// Streams that the servers could not report on.
    pub(super) fn gaps(&self) -> Vec<Failure> {
        let missing = self.missing.iter().flatten().map(|name| {
            let what = format!("stream {name} does not answer");
            Failure::new(what, Fault::operator_later("ask again when its servers do"))
        });
        let offline = self.offline.iter().flatten().map(|(name, why)| {
            let what = format!("stream {name} is offline ({why})");
            Failure::new(
                what,
                Fault::operator_later("upgrade its servers, or delete it"),
            )
        });
        missing.chain(offline).collect()
    }
}

impl Findings {
    /// A stored message decides, then a doubt.
    pub(super) fn verdict(self) -> RetentionAnswer {
        if !self.held.is_empty() {
            return RetentionAnswer::Stored(self.held);
        }
        let mut doubts = self.doubts.into_iter();
        let Some(mut first) = doubts.next() else {
            return RetentionAnswer::NothingStored {
                streams: self.streams,
            };
        };
        let more = doubts.count();
        if more > 0 {
            first.what += &format!(" (and {more} more doubts)");
        }
        RetentionAnswer::Unknown(first)
    }
}
