//! Properties of JetStream's requests and responses, compared with `serde_json` and the rules of Go's decoder.

use std::num::NonZeroU64;

use data_encoding::BASE64;

use super::Buffer;
use super::check_json::{Json, go_fold};
use super::jetstream::{self, Delivery, DirectGetBatch, Request, StoredFrom, StoredMessage};

const OVERHEAD: usize = 48;
const LARGEST: i64 = 0x7FFF_FFFF;

/// For any bytes, taken for every kind of request, response and subject: rewrites change the right members, everything else
/// passes, and a rewrite that changes nothing appends nothing.
///
/// # Panics
/// When it does not hold.
pub fn jetstream_holds(data: &[u8]) {
    let tree = Json::read(data);
    let changes = [
        rewritten(data, |out| jetstream::widen_max_bytes(data, OVERHEAD, out)),
        rewritten(data, |out| {
            jetstream::widen_max_msg_size(data, OVERHEAD, covered, out)
        }),
        rewritten(data, |out| {
            jetstream::narrow_max_msg_size(data, OVERHEAD, covered, out)
        }),
        rewritten(data, |out| {
            jetstream::direct_get(data, OVERHEAD, out).changed
        }),
        rewritten(data, |out| jetstream::narrow_limits(data, OVERHEAD, out)),
    ];
    let stored = StoredMessage::parse(data);
    drop((
        jetstream::is_counter_stream(data),
        jetstream::deliver_subject(data),
        jetstream::requested_subject(data),
        Request::of(data),
    ));
    never_panics(data);
    subjects_hold(data);
    answered_request_is_recognised(data);
    if let Ok(Some(stored)) = &stored {
        stored_holds(stored, data);
    }
    let Some(tree) = tree else {
        let acknowledges = jetstream::is_pub_ack(data);
        assert!(!acknowledges, "not JSON, yet an acknowledgement");
        return;
    };
    for (changed, expect) in
        changes
            .iter()
            .zip([wider_pull, wider_config, narrower, shown_get, lower_limits])
    {
        let mut expected = tree.clone();
        expect(&mut expected);
        assert_eq!(
            Json::read(changed.as_deref().unwrap_or(data)),
            Some(expected)
        );
    }
    assert_eq!(jetstream::is_counter_stream(data), counts(&tree));
    assert_eq!(jetstream::batch(data), batch(&tree));
    renames_hold(&tree, data);
    acknowledgement_holds(&tree, data);
    if let Some(stored) = plain_message(&tree) {
        assert_eq!(stored_is(data), stored, "a server's answer is not read");
    }
}

/// What a rewrite appends: nothing if it returns `false`.
fn rewritten(data: &[u8], rewrite: impl Fn(&mut Buffer) -> bool) -> Option<Vec<u8>> {
    let mut out = Buffer::new();
    out.put(b"before");
    let changed = rewrite(&mut out);
    let text = out.filled().strip_prefix(b"before").unwrap_or_default();
    assert_eq!(changed, !text.is_empty());
    assert!(!changed || text != data, "said to change, and did not");
    changed.then(|| text.to_vec())
}

fn covered(what: StoredFrom<'_>) -> bool {
    let (StoredFrom::Published(subject) | StoredFrom::Copied(subject)) = what;
    subject.starts_with(b"a")
}

/// Applies `change` to the last integer called `name`, as Go would read it.
fn change_last(tree: &mut Json, name: &str, change: impl FnOnce(i64) -> Option<i64>) {
    let Json::Object(pairs) = tree else { return };
    let numbers = pairs.iter_mut().rev();
    let mut named = numbers.filter(|(key, _)| go_fold(key) == name);
    let found = named.find_map(|(_, value)| value.integer().map(|number| (number, value)));
    if let Some((number, value)) = found
        && let Some(new) = change(number)
    {
        *value = Json::Integer(new);
    }
}

fn wider_pull(tree: &mut Json) {
    wider(tree, |max| (max / 40).saturating_add(1));
}

/// A direct get gets more: up to 1 MiB of overhead for messages of two bytes.
fn wider_get(tree: &mut Json) {
    wider(tree, |max| {
        let short = (max / 2).saturating_add(1).min(21_845);
        (max / 40).saturating_add(1).max(short)
    });
}

/// Adds 48 bytes for each message of the batch that fits, according to `room`.
fn wider(tree: &mut Json, room: impl Fn(i64) -> i64) {
    let batch = tree.last_integer("batch").filter(|&batch| batch > 0);
    let several = matches!(tree.last("multi_last"), Some(Json::Array(list)) if !list.is_empty());
    let batch = batch.unwrap_or(if several { 1024 } else { 1 });
    change_last(tree, "max_bytes", |max| {
        let overhead = batch.min(room(max)).saturating_mul(48);
        (max > 0).then(|| max.saturating_add(overhead))
    });
}

/// A direct get of several messages: of a batch, or of the last of several subjects.
fn batch(tree: &Json) -> Option<DirectGetBatch> {
    let Json::Object(pairs) = tree else {
        return None;
    };
    let several = matches!(tree.last("multi_last"), Some(Json::Array(list)) if !list.is_empty());
    let max_bytes = tree.last_integer("max_bytes").filter(|&max| max > 0);
    let no_hdr = pairs
        .iter()
        .rev()
        .filter(|(key, _)| go_fold(key) == "no_hdr");
    let no_hdr = no_hdr
        .map(|(_, value)| value)
        .find(|value| **value != Json::Null);
    let is_batch = tree.last_integer("batch").is_some_and(|batch| batch > 0);
    (is_batch || several).then(|| DirectGetBatch {
        max_bytes: max_bytes.and_then(|max| NonZeroU64::new(max.unsigned_abs())),
        without_headers: no_hdr == Some(&Json::Flag(true)) && !several,
    })
}

/// No transforms are reported for a stream that copies others, and no empty target.
fn renames_hold(tree: &Json, data: &[u8]) {
    let copies = |name| {
        let value = tree.last(name);
        value.is_some_and(|value| !matches!(value, Json::Null) && *value != Json::Array(Vec::new()))
    };
    let copies = copies("mirror") || copies("sources");
    jetstream::subject_transforms(data, |_from, to| {
        assert!(!copies, "what is copied may have been published anywhere");
        assert!(!to.is_empty(), "a stream renames to nothing");
    });
}

/// A request with a JSON response is recognised under an unknown prefix, too.
fn answered_request_is_recognised(data: &[u8]) {
    let foreign = [&b"$JS.elsewhere.API."[..], data].concat();
    match Request::of(data) {
        Request::Next | Request::DirectGet { .. } | Request::Other => {
            let _resembles = jetstream::may_be_api_request(&foreign);
        }
        Request::MessageGet
        | Request::StreamConfig
        | Request::StreamInfo
        | Request::StreamList
        | Request::ConsumerConfig
        | Request::ConsumerInfo
        | Request::Snapshot
        | Request::Restore => assert!(jetstream::may_be_api_request(&foreign)),
    }
}

fn shown_get(tree: &mut Json) {
    wider_get(tree);
    let Json::Object(pairs) = tree else { return };
    for (key, value) in pairs {
        if go_fold(key) == "no_hdr" && *value == Json::Flag(true) {
            *value = Json::Flag(false);
        }
    }
}

fn never_panics(data: &[u8]) {
    let requests = [
        Request::Next,
        Request::DirectGet { subject: None },
        Request::StreamConfig,
        Request::Restore,
        Request::ConsumerConfig,
        Request::Snapshot,
    ];
    for request in requests {
        jetstream::subject_uses(request, data, |_place| ());
        let _clear = jetstream::is_unambiguous(request, data);
    }
    jetstream::header_subject_uses(data, |_place| ());
    let _limit = jetstream::exceeded(data, OVERHEAD);
    let _trace = jetstream::is_trace_event(data);
    let _response = jetstream::is_api_response(data);
}

fn wider_config(tree: &mut Json) {
    if is_covered(tree) {
        resize(tree, |max| {
            (max > 0).then(|| max.saturating_add(48).min(LARGEST))
        });
    }
}

fn narrower_config(tree: &mut Json) {
    if is_covered(tree) {
        resize(tree, |max| (max > 48).then(|| max.saturating_sub(48)));
    }
}

/// Changes the last `max_msg_size` that fits the server's 32 bits.
fn resize(config: &mut Json, change: impl FnOnce(i64) -> Option<i64>) {
    let Json::Object(pairs) = config else { return };
    let sizes = pairs.iter_mut().rev();
    let mut sizes = sizes.filter(|(key, _)| go_fold(key) == "max_msg_size");
    let fitting =
        sizes.find_map(|(_, value)| Some((value.integer().filter(|&n| n <= LARGEST)?, value)));
    if let Some((number, value)) = fitting
        && let Some(new) = change(number)
    {
        *value = Json::Integer(new);
    }
}

fn narrower(tree: &mut Json) {
    each_config(tree, "streams", narrower_config);
}

/// What is told of a limit is the largest that is raised to no more.
fn lower_limits(tree: &mut Json) {
    each_config(tree, "consumers", |config| {
        change_last(config, "max_bytes", |raised| {
            let raises_to = |limit: i64| {
                let room = (limit / 40).saturating_add(1);
                limit.saturating_add(room.saturating_mul(48))
            };
            // 88 bytes for each 40 of the limit, and 48 before them.
            let whole = (raised.checked_sub(48)? / 88).checked_mul(40)?;
            let limits = whole..whole.saturating_add(40);
            let limit = limits.rev().find(|limit| raises_to(*limit) <= raised)?;
            (limit > 0).then_some(limit)
        });
    });
}

fn own_config(element: &mut Json, change: impl Fn(&mut Json)) {
    let Json::Object(pairs) = element else { return };
    let configs = pairs.iter_mut().filter(|(key, _)| go_fold(key) == "config");
    configs.for_each(|(_, config)| change(config));
}

/// Calls `change` with each `config` of an answer: its own, and those of the elements of `list`.
fn each_config(tree: &mut Json, list: &str, change: impl Fn(&mut Json)) {
    let Json::Object(pairs) = tree else { return };
    for (key, value) in pairs {
        match (go_fold(key).as_str(), value) {
            ("config", config) => change(config),
            (key, Json::Array(elements)) if key == list => {
                elements
                    .iter_mut()
                    .for_each(|element| own_config(element, &change));
            }
            _ => {}
        }
    }
}

/// Whether all subjects that the server would give the stream are covered, and there is one, or anything that it copies is.
fn is_covered(config: &Json) -> bool {
    let sources = match config.last("sources") {
        Some(Json::Array(list)) => list.as_slice(),
        _ => &[],
    };
    let origins = config.last("mirror").into_iter().chain(sources);
    origins.into_iter().any(copies_covered) || publishes_covered(config)
}

fn copies_covered(origin: &Json) -> bool {
    let filter = |tree: &Json, key| match tree.last_but_null(key) {
        Some(Json::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let is_object = |tree: &&Json| matches!(tree, Json::Object(_));
    let transforms = match origin.last("subject_transforms") {
        Some(Json::Array(list)) => list.as_slice(),
        _ => &[],
    };
    let mut filters: Vec<_> = filter(origin, "filter_subject").into_iter().collect();
    let transforms = transforms.iter().filter(is_object);
    filters
        .extend(transforms.map(|transform| filter(transform, "src").unwrap_or_else(|| ">".into())));
    let is_all = filters.is_empty() && covered(StoredFrom::Copied(b">"));
    let named = |filter: &String| covered(StoredFrom::Copied(filter.as_bytes()));
    is_object(&origin) && (is_all || filters.iter().any(named))
}

fn publishes_covered(config: &Json) -> bool {
    let is_covered = |tree: &Json| matches!(tree, Json::Text(text) if covered(StoredFrom::Published(text.as_bytes())));
    match config.last("subjects") {
        Some(Json::Array(list)) if !list.is_empty() => return list.iter().all(is_covered),
        // The server refuses any other type.
        Some(Json::Array(_) | Json::Null) | None => {}
        Some(_) => return false,
    }
    let own = matches!(config.last("mirror"), None | Some(Json::Null))
        && match config.last("sources") {
            Some(Json::Array(list)) => list.is_empty(),
            None | Some(Json::Null) => true,
            Some(_) => false,
        };
    own && config.last_but_null("name").is_some_and(is_covered)
}

fn counts(config: &Json) -> bool {
    config.last_but_null("allow_msg_counter") == Some(&Json::Flag(true))
}

/// Exactly the forms that the server writes are acknowledgements.
fn acknowledgement_holds(tree: &Json, data: &[u8]) {
    let text = tree.to_string();
    let is_form = is_form(tree);
    let acknowledges = jetstream::is_pub_ack(data);
    assert!(is_form || !acknowledges, "{text} is no acknowledgement");
    if is_form && text.len() <= 4096 {
        let canonical = jetstream::is_pub_ack(text.as_bytes());
        assert!(canonical, "{text} is an acknowledgement");
    }
}

fn is_form(tree: &Json) -> bool {
    let Json::Object(pairs) = tree else {
        return false;
    };
    let mut keys: Vec<_> = pairs.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    let fits = pairs.iter().all(|(key, value)| match key.as_str() {
        "stream" if *value == Json::from("") => keys.contains(&"error"),
        "stream" | "domain" | "val" => matches!(value, Json::Text(name) if is_name(name)),
        "batch" => matches!(value, Json::Text(_)),
        "type" => ["ack", "gap", "err"]
            .iter()
            .any(|kind| *value == Json::from(*kind)),
        "seq" | "last_seq" => value.natural().is_some(),
        "count" => value.natural().is_some_and(|n| i64::try_from(n).is_ok()),
        "msgs" => value.natural().is_some_and(|n| n < 1 << 16),
        "duplicate" => matches!(value, Json::Flag(_)),
        "error" => is_error(value),
        _ => false,
    });
    let unique = keys.windows(2).all(|pair| pair.first() != pair.last());
    let has = |name: &str| keys.binary_search(&name).is_ok();
    let form = match tree.last("type") {
        Some(Json::Text(kind)) => match kind.as_str() {
            "ack" => keys == ["msgs", "seq", "type"],
            "gap" => keys == ["last_seq", "seq", "type"],
            _ => keys == ["error", "seq", "type"],
        },
        _ => !has("msgs") && !has("last_seq") && (has("error") || has("stream") && has("seq")),
    };
    fits && unique && form
}

/// What the server admits for the name of a stream or a domain, as far as an acknowledgement goes.
fn is_name(name: &str) -> bool {
    let special = |byte: u8| byte.is_ascii_control() || b" .*>/\\".contains(&byte);
    !name.is_empty() && !name.bytes().any(special)
}

fn is_error(tree: &Json) -> bool {
    let Json::Object(pairs) = tree else {
        return false;
    };
    let once = |name: &str| pairs.iter().filter(|(key, _)| key == name).count() <= 1;
    tree.last("code").is_some()
        && pairs.iter().all(|(key, value)| match key.as_str() {
            "code" => once(key) && value.natural().is_some_and(|n| i64::try_from(n).is_ok()),
            "err_code" => once(key) && value.natural().is_some_and(|n| n < 1 << 16),
            "description" => once(key) && matches!(value, Json::Text(_)),
            _ => false,
        })
}

/// A decoded payload encodes to the same text, and another payload in its place is read back.
fn stored_holds(stored: &StoredMessage<'_>, json: &[u8]) {
    let mut data = b"before".to_vec();
    if !stored.decode(&mut data) {
        assert_eq!(data, b"before", "broken base64 left something");
        return;
    }
    let data = data.strip_prefix(b"before").unwrap_or_default();
    let mut same = Buffer::new();
    stored.rewrite(data, &mut same);
    assert_eq!(same.filled(), json, "rewriting the same changes the text");
    let mut other = Buffer::new();
    let long = [b'x'; 1000];
    stored.rewrite(&long, &mut other);
    let (_, _, read) = stored_is(other.filled()).unwrap_or_default();
    assert!(other.filled() == json || read == long);
}

type Read = (Vec<u8>, u64, Vec<u8>);

/// How [`StoredMessage`] reads a response.
fn stored_is(json: &[u8]) -> Option<Read> {
    let stored = StoredMessage::parse(json).ok().flatten()?;
    let mut data = Vec::new();
    let decoded = stored.decode(&mut data);
    decoded.then(|| (stored.subject.to_vec(), stored.sequence, data))
}

/// The message in a response of the server's own spelling; `None` for a response that the server would not write.
fn plain_message(tree: &Json) -> Option<Option<Read>> {
    let message = tree.only("message")?;
    let Json::Text(subject) = message.only("subject")? else {
        return None;
    };
    let sequence = message.only("seq")?.natural()?;
    let (Some(Json::Text(text)), None) = (message.only("data"), message.last("hdrs")) else {
        return None;
    };
    // `BASE64` also decodes two concatenated texts, which is not standard.
    let data = BASE64.decode(text.as_bytes()).ok()?;
    if BASE64.encode(&data) != *text {
        return None;
    }
    Some(Some((subject.clone().into_bytes(), sequence, data)))
}

/// Reply subjects and sizes, compared with a naive reading.
fn subjects_hold(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let digits = |text: &str| {
        let all = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| all)
    };
    let tokens: Vec<_> = text.split('.').collect();
    let expected = match tokens.as_slice() {
        ["$JS", "ACK", s, c, n, seq, own, time, _] => Some((*s, *c, *n, *seq, [*own, *time])),
        ["$JS", "ACK", _, _, s, c, n, seq, own, time, _, ..] => {
            Some((*s, *c, *n, *seq, [*own, *time]))
        }
        _ => None,
    };
    let expected = expected.and_then(|(stream, consumer, delivered, sequence, others)| {
        others
            .into_iter()
            .try_for_each(|other| digits(other).map(drop))?;
        let numbers = (digits(delivered)?, digits(sequence)?);
        (!stream.is_empty() && !consumer.is_empty()).then_some((stream, consumer, numbers))
    });
    let read = Delivery::of(text.as_bytes());
    let read = read.map(|d| (name(d.stream), name(d.consumer), (d.delivered, d.sequence)));
    assert_eq!(read, expected, "{text}");
    let narrow = jetstream::narrow_msg_size(data, OVERHEAD);
    let expected = digits(text).and_then(|size| size.checked_sub(48));
    assert_eq!(narrow, expected.filter(|&size| size > 0), "{text}");
}

fn name(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
