//! Subjects in requests and headers that the server is to publish to, to send requests to, or to copy from.
//!
//! | request | names |
//! |---|---|
//! | `CONSUMER.CREATE…`, `CONSUMER.DURABLE.CREATE…` | `config.deliver_subject` |
//! | `STREAM.SNAPSHOT` | `deliver_subject` |
//! | `STREAM.CREATE`, `STREAM.UPDATE`, `STREAM.RESTORE` (in `config`) | `republish` and `subject_transform`: `src`, `dest` |
//! | the same, in `mirror` and in each of `sources` | `name`, `filter_subject`; `subject_transforms`: `src`, `dest`; `external`: `api`, `deliver`; `consumer.deliver_subject` |
//!
//! Every key that could be read as one of these is reported, however the server treats duplicates. A `src` that is absent, empty
//! or `null` is `>`, as for the server.

use std::borrow::Cow;

use super::super::json::{Elements, Member, Members, key_is, text};
use super::super::subject::tokens;
use super::Request;

/// A subject that a request or a header names, and what the server does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectUse<'a> {
    /// The server publishes or stores on it: a pattern that covers every possible target.
    PublishTo(&'a [u8]),
    /// The server publishes requests of its own on it: a pattern.
    RequestTo(&'a [u8]),
    /// The server copies what is stored under it: a pattern.
    CopyFrom(&'a [u8]),
    /// The server copies all of this stream, unless there is a [`SubjectUse::CopyFrom`], too.
    CopyStream(&'a [u8]),
}

/// Calls `each` with every subject that the `body` of a request names; none if it is no JSON object, which the server refuses.
pub fn subject_uses(request: Request<'_>, body: &[u8], mut each: impl FnMut(SubjectUse<'_>)) {
    let each: Each<'_> = &mut each;
    match request {
        Request::Snapshot => to(body, "deliver_subject", each),
        Request::ConsumerConfig => {
            within(body, "config", |config| to(config, "deliver_subject", each));
        }
        Request::StreamConfig => stream(body, each),
        Request::Restore => within(body, "config", |config| stream(config, each)),
        Request::Next
        | Request::DirectGet { .. }
        | Request::MessageGet
        | Request::StreamInfo
        | Request::ConsumerInfo
        | Request::StreamList
        | Request::Other => {}
    }
}

/// Calls `each` with the source pattern and a covering target pattern of a stream's `subject_transform`, else of its `republish`
/// unless that is for headers only. Nothing for a stream that copies others, whose messages may have been published on any
/// subject, nor for what is republished after a transform.
pub fn subject_transforms(config: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    let has = |name| named(config, name).any(|member| !matches!(member.value, b"null" | b"[]"));
    if has("mirror") || has("sources") {
        return;
    }
    let name = if has("subject_transform") {
        "subject_transform"
    } else {
        "republish"
    };
    within(config, name, |transform| {
        let bare = named(transform, "headers_only").any(|member| member.value == b"true");
        let (mut from, mut to) = (b">".to_vec(), Vec::new());
        strings(transform, "src", |subject| from = subject.to_vec());
        strings(transform, "dest", |subject| {
            to = pattern(subject).into_owned()
        });
        // A mapping function that yields several tokens can yield any.
        let known = to.ends_with(b">") == from.ends_with(b">");
        if known && !bare && !to.is_empty() {
            each(&from, &to);
        }
    });
}

/// The headers of a publish that name a subject: `true` if the server publishes to it, `false` if it copies from it.
const HEADERS: [(&[u8], bool); 5] = [
    (b"Nats-Trace-Dest", true),
    (b"Nats-Schedule-Target", true),
    // With `Nats-Schedule-Next: purge`: the schedule there is deleted.
    (b"Nats-Scheduler", true),
    (b"Nats-Consumer-Stalled", true),
    (b"Nats-Schedule-Source", false),
];

/// Calls `each` with every subject that the headers of a publish name.
///
/// The server compares names byte by byte and takes one of several; some of its code reads on behind the empty line. So every
/// line of the block is read. (`traceparent` names no subject: the server's configuration says where its events go.)
pub fn header_subject_uses(headers: &[u8], mut each: impl FnMut(SubjectUse<'_>)) {
    for colon in memchr::memchr_iter(b':', headers) {
        let (before, rest) = headers.split_at_checked(colon).unwrap_or_default();
        let mut names = HEADERS.iter();
        let named = names.find(|(name, _)| is_last_line(before, name));
        let Some((_, is_target)) = named else {
            continue;
        };
        let line = rest.get(1..).unwrap_or_default();
        let end = memchr::memmem::find(line, b"\r\n").unwrap_or(line.len());
        let subject = line.get(..end).unwrap_or_default().trim_ascii();
        if subject.is_empty() {
            continue;
        }
        each(if *is_target {
            SubjectUse::PublishTo(subject)
        } else {
            SubjectUse::CopyFrom(subject)
        });
    }
}

/// Whether the last line is `name`.
fn is_last_line(lines: &[u8], name: &[u8]) -> bool {
    let before = lines.strip_suffix(name);
    before.is_some_and(|before| before.ends_with(b"\r\n"))
}

type Each<'e> = &'e mut dyn FnMut(SubjectUse<'_>);

fn stream(config: &[u8], each: Each<'_>) {
    for name in ["republish", "subject_transform"] {
        within(config, name, |transform| {
            transformed(transform, each, &mut |each| stored(config, each));
        });
    }
    within(config, "mirror", |source| copied(source, each));
    elements(config, "sources", |source| copied(source, each));
}

/// The subjects of a `mirror` or one of `sources`.
fn copied(source: &[u8], each: Each<'_>) {
    strings(source, "name", |name| each(SubjectUse::CopyStream(name)));
    strings(source, "filter_subject", |subject| {
        each(SubjectUse::CopyFrom(subject))
    });
    elements(source, "subject_transforms", |transform| {
        transformed(transform, each, &mut |each| {
            each(SubjectUse::CopyFrom(b">"))
        });
    });
    within(source, "consumer", |consumer| {
        to(consumer, "deliver_subject", each)
    });
    within(source, "external", |external| {
        strings(external, "api", |prefix| {
            each(SubjectUse::RequestTo(&[prefix, b".>"].concat()))
        });
        strings(external, "deliver", |prefix| {
            each(SubjectUse::PublishTo(&[prefix, b".>"].concat()))
        });
    });
}

/// Everything that a stream may store: its own subjects, or any subject if it copies other streams.
fn stored(config: &[u8], each: Each<'_>) {
    let copies = |name| named(config, name).next().is_some();
    let copies = copies("mirror") || copies("sources");
    let own = named(config, "subjects").flat_map(|member| Elements::new(member.value).flatten());
    let mut own = own.filter_map(|(_, value)| text(value)).peekable();
    if copies || own.peek().is_none() {
        return each(SubjectUse::CopyFrom(b">"));
    }
    for subject in own {
        each(SubjectUse::CopyFrom(&subject));
    }
}

/// The subjects of a transform; `all` reports what one without a `src` copies.
fn transformed(transform: &[u8], each: Each<'_>, all: &mut dyn FnMut(Each<'_>)) {
    let (mut has_source, mut has_target) = (false, false);
    strings(transform, "src", |subject| {
        has_source |= subject != b">";
        if subject != b">" {
            each(SubjectUse::CopyFrom(subject));
        }
    });
    strings(transform, "dest", |_| has_target = true);
    // Without a target nothing is renamed: the same as a source without a filter.
    if has_target && !has_source {
        all(each);
    }
    to(transform, "dest", each);
}

fn to(object: &[u8], name: &str, each: Each<'_>) {
    strings(object, name, |subject| {
        each(SubjectUse::PublishTo(&pattern(subject)))
    });
}

/// A pattern that covers every result of a transform to `subject`: a mapping function becomes `*`, or a final `>` if it can yield
/// several tokens.
fn pattern(subject: &[u8]) -> Cow<'_, [u8]> {
    if !subject.iter().any(|b| matches!(b, b'{' | b'$')) {
        return Cow::Borrowed(subject);
    }
    let mut pattern = Vec::with_capacity(subject.len());
    for token in tokens(subject) {
        if !pattern.is_empty() {
            pattern.push(b'.');
        }
        let wider = match token {
            [b'$', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                b"*"
            }
            mapping if mapping.windows(2).any(|pair| pair == b"{{") => {
                if !gives_one_token(mapping) {
                    pattern.push(b'>');
                    break;
                }
                b"*"
            }
            other => other,
        };
        pattern.extend_from_slice(wider);
    }
    Cow::Owned(pattern)
}

/// Whether a mapping function yields exactly one token.
fn gives_one_token(mapping: &[u8]) -> bool {
    const ONE: [&[u8]; 5] = [b"wildcard", b"partition", b"random", b"left", b"right"];
    let Some(inner) = mapping.strip_prefix(b"{{") else {
        return false;
    };
    let inner = inner.trim_ascii_start().to_ascii_lowercase();
    ONE.iter().any(|name| {
        let rest = inner.strip_prefix(*name).map(<[u8]>::trim_ascii_start);
        rest.is_some_and(|rest| rest.starts_with(b"("))
    })
}

fn named<'a>(object: &'a [u8], name: &str) -> impl Iterator<Item = Member<'a>> {
    let members = Members::new(object).flatten();
    members.filter(move |member| key_is(member.key, name.as_bytes()))
}

fn within<'a>(object: &'a [u8], name: &str, mut each: impl FnMut(&'a [u8])) {
    named(object, name).for_each(|member| each(member.value));
}

fn elements<'a>(object: &'a [u8], name: &str, mut each: impl FnMut(&'a [u8])) {
    let values = named(object, name).flat_map(|member| Elements::new(member.value));
    values.flatten().for_each(|(_, value)| each(value));
}

/// Calls `each` with the non-empty strings called `name`.
fn strings(object: &[u8], name: &str, mut each: impl FnMut(&[u8])) {
    for member in named(object, name) {
        if let Some(text) = text(member.value).filter(|text| !text.is_empty()) {
            each(&text);
        }
    }
}
