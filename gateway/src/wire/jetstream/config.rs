//! Stream configurations: in CREATE, UPDATE and RESTORE requests, and in the responses of CREATE, UPDATE, INFO, LIST and
//! SNAPSHOT.

use std::borrow::Cow;

use super::super::Buffer;
use super::super::json::{Elements, Members, NotAnObject, key_is, text};
use super::change::{self, Change, Number, change_config, change_configs};
use super::{Request, last, last_text};

/// Where the messages of a stream come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredFrom<'a> {
    /// Published on this subject, or on subjects that match it.
    Published(&'a [u8]),
    /// Copied from other streams, from subjects that match this filter.
    Copied(&'a [u8]),
}

/// Appends the stream configuration `body` with its `max_msg_size` raised by `overhead` bytes; the server counts sealed bytes.
///
/// Only a positive `max_msg_size`, and only if `covered` is true of every subject of the stream, or of anything that it copies:
/// the server refuses a mirror or a stream with sources whose `max_msg_size` is less than its origin's, which may have been
/// raised. `covered` is called with each string in `subjects`, escapes resolved, or with the stream's name where the server uses
/// that as its subject; and with the filters of `mirror` and `sources`, `>` where there are none. `false`: nothing to change,
/// `out` is unchanged.
pub fn widen_max_msg_size(
    body: &[u8],
    overhead: usize,
    covered: impl FnMut(StoredFrom<'_>) -> bool,
    out: &mut Buffer,
) -> bool {
    change::write(body, wider(body, overhead, covered), out)
}

/// The same for the `config` in the body of [`Request::Restore`].
pub fn widen_restored(
    body: &[u8],
    overhead: usize,
    mut covered: impl FnMut(StoredFrom<'_>) -> bool,
    out: &mut Buffer,
) -> bool {
    let widen = |config: &[u8]| wider(config, overhead, &mut covered);
    change_config(body, widen, out)
}

fn wider(
    config: &[u8],
    overhead: usize,
    mut covered: impl FnMut(StoredFrom<'_>) -> bool,
) -> Option<Change> {
    let config = Config::read(config).ok()?;
    let size = config.size.filter(|size| size.value > 0)?;
    let overhead = i64::try_from(overhead).unwrap_or(i64::MAX);
    let wider = size.value.saturating_add(overhead).min(MAX_MSG_SIZE_LIMIT);
    size.becomes(wider)
        .filter(|_| config.is_covered(&mut covered))
}

/// Appends `answer` with each `max_msg_size` above `overhead` lowered by it: of its `config`, or of the `config` of each of its
/// `streams`. `covered` is asked for each configuration, as in [`widen_max_msg_size`]. `false`: nothing to change, `out` is
/// unchanged.
pub fn narrow_max_msg_size(
    answer: &[u8],
    overhead: usize,
    mut covered: impl FnMut(StoredFrom<'_>) -> bool,
    out: &mut Buffer,
) -> bool {
    let overhead = i64::try_from(overhead).unwrap_or(i64::MAX);
    let narrow = |config: &[u8]| {
        let config = Config::read(config).ok()?;
        let size = config.size.filter(|size| size.value > overhead)?;
        let narrower = size.becomes(size.value.saturating_sub(overhead));
        narrower.filter(|_| config.is_covered(&mut covered))
    };
    change_configs(answer, b"streams", narrow, out)
}

/// The stream configuration in the `body` of a request: all of it, or the `config` of [`Request::Restore`].
#[must_use]
pub fn stream_config<'a>(request: Request<'_>, body: &'a [u8]) -> Option<&'a [u8]> {
    match request {
        Request::StreamConfig => Some(body),
        Request::Restore => last(body, b"config").ok().flatten(),
        Request::Next
        | Request::DirectGet { .. }
        | Request::MessageGet
        | Request::StreamInfo
        | Request::StreamList
        | Request::Snapshot
        | Request::ConsumerConfig
        | Request::ConsumerInfo
        | Request::Other => None,
    }
}

/// Whether the stream configuration `body` asks for counters (`allow_msg_counter`).
#[must_use]
pub fn is_counter_stream(body: &[u8]) -> bool {
    Config::read(body).is_ok_and(|config| config.counts)
}

/// Calls `each` with every subject that a stream with the configuration `body` listens to, as [`widen_max_msg_size`] does.
pub fn subjects(body: &[u8], mut each: impl FnMut(&[u8])) {
    if let Ok(config) = Config::read(body) {
        config.subjects(|subject| each(subject.unwrap_or_default()));
    }
}

/// The server keeps `max_msg_size` in 32 bits.
const MAX_MSG_SIZE_LIMIT: i64 = 0x7FFF_FFFF;

/// The keys of a stream configuration that matter here, borrowed from its text.
#[derive(Default)]
struct Config<'a> {
    name: Option<&'a [u8]>,
    subjects: Option<&'a [u8]>,
    size: Option<Number>,
    counts: bool,
    mirror: Option<&'a [u8]>,
    sources: Option<&'a [u8]>,
}

impl<'a> Config<'a> {
    fn read(json: &'a [u8]) -> Result<Self, NotAnObject> {
        let mut config = Self::default();
        for member in Members::new(json) {
            let member = member?;
            let (value, is_null) = (member.value, member.value == b"null");
            let is = |name: &str| key_is(member.key, name.as_bytes());
            if is("max_msg_size") {
                let size = Number::of(&member).filter(|size| size.value <= MAX_MSG_SIZE_LIMIT);
                config.size = size.or(config.size);
            } else if is("subjects") {
                config.subjects = (!is_null).then_some(value);
            } else if is("name") {
                config.name = Some(value).filter(|_| !is_null).or(config.name);
            } else if is("allow_msg_counter") {
                config.counts = value == b"true" || is_null && config.counts;
            } else if is("mirror") {
                config.mirror = (!is_null).then_some(value);
            } else if is("sources") {
                config.sources = (!is_null).then_some(value);
            }
        }
        Ok(config)
    }

    /// Calls `each` with every subject; with `None` for a value that is not a string, which the server refuses.
    fn subjects(&self, mut each: impl FnMut(Option<&[u8]>)) {
        let mut none = true;
        for element in self.subjects.into_iter().flat_map(Elements::new) {
            none = false;
            let subject = element.ok().and_then(|(_, value)| text(value));
            each(subject.as_deref());
        }
        let sources = self.sources.into_iter().flat_map(Elements::new);
        if none && self.mirror.is_none() && sources.count() == 0 {
            let name: Option<Cow<'_, [u8]>> = self.name.and_then(text);
            each(name.as_deref());
        }
    }

    fn is_covered(&self, covered: &mut impl FnMut(StoredFrom<'_>) -> bool) -> bool {
        let sources = self.sources.into_iter().flat_map(Elements::new).flatten();
        let origins = self
            .mirror
            .into_iter()
            .chain(sources.map(|(_, source)| source));
        let mut copied = false;
        for origin in origins {
            filters(origin, |filter| {
                copied = copied || covered(StoredFrom::Copied(filter));
            });
        }
        let (mut some, mut all) = (false, true);
        self.subjects(|subject| {
            some = true;
            all = all && subject.is_some_and(|subject| covered(StoredFrom::Published(subject)));
        });
        copied || some && all
    }
}

/// Calls `each` with the filters of a mirror or source.
fn filters(origin: &[u8], mut each: impl FnMut(&[u8])) {
    const ALL: &[u8] = b">";
    let Ok(filter) = last_text(origin, b"filter_subject") else {
        return;
    };
    let transforms = last(origin, b"subject_transforms").ok().flatten();
    let transforms = transforms.filter(|value| *value != b"null");
    let mut transforms = transforms
        .into_iter()
        .flat_map(Elements::new)
        .flatten()
        .filter_map(|(_, transform)| last_text(transform, b"src").ok())
        .peekable();
    if filter.is_some() || transforms.peek().is_none() {
        each(filter.as_deref().unwrap_or(ALL));
    }
    for source in transforms {
        each(source.as_deref().unwrap_or(ALL));
    }
}
