//! Classes of subjects: user subjects, reply subjects, requests to JetStream's API, system subjects.
//!
//! Payloads on system subjects are read by the server or by every client of the account, so no keyring covers them, not even
//! one on `>`. The list is closed: any other `$…` subject is a user subject, and is sealed if a rule covers it. A missing entry
//! then shows at once as a refused request, and never as plaintext on the server.

use super::pattern::{Pattern, Token};

/// The class of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class<'a> {
    /// Looked up in the rules by these bytes, which lack the domain or API prefix of a key-value or object put.
    User(&'a [u8]),
    /// A reply subject, looked up among the patterns whose first token is literal.
    Reply,
    /// A request to JetStream's API: what follows `$JS.API.` or the prefix in its place. Never sealed.
    Api(&'a [u8]),
    /// Never sealed.
    System(&'static System),
}

/// A class of system subjects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct System {
    /// Its pattern.
    pub(super) pattern: &'static str,
    /// The literal prefix of its subjects.
    start: &'static [u8],
    /// Why it is never sealed.
    pub(super) why: &'static str,
}

const fn system(pattern: &'static str, why: &'static str) -> System {
    let (start, _wildcard) = pattern.as_bytes().split_at(pattern.len().saturating_sub(1));
    System {
        pattern,
        start,
        why,
    }
}

/// Recognised by prefix. `$JS.ACK` and the like are checked before domains, which stand at the same position.
const STARTS: [System; 12] = [
    system("$JS.ACK.>", "the server reads acknowledgements"),
    system("$JS.FC.>", "the server reads flow control"),
    system("$JS.EVENT.>", "the server writes advisories"),
    system("$JS.SNAPSHOT.>", "the server reads and writes backups"),
    system("$SYS.>", "the server answers these requests"),
    system(
        "$SRV.>",
        "service discovery is read by every client of the account",
    ),
    system("$MQTT.>", "the server keeps MQTT sessions there"),
    system("$NRG.>", "the servers of a cluster speak there"),
    system("$JSC.>", "the servers of a cluster speak there"),
    system(
        "$GNR.>",
        "the gateways of a supercluster route replies there",
    ),
    system(
        "_GR_.>",
        "the gateways of a supercluster route replies there",
    ),
    system("$LDS.>", "leaf nodes detect loops there"),
];

/// JetStream's API, recognised by the verb after its prefix.
pub(super) static API: System = System {
    pattern: "$JS.API.>",
    start: b"$JS.API.",
    why: "the server reads JetStream requests",
};

/// What follows the prefix in JetStream's API, besides `INFO`; the server maps the same list for a domain.
const VERBS: [&[u8]; 6] = [
    b"STREAM.",
    b"CONSUMER.",
    b"DIRECT.",
    b"META.",
    b"SERVER.",
    b"ACCOUNT.",
];

/// What follows the prefix when a key-value or object store is written through a domain or an API prefix.
const STORES: [&[u8]; 3] = [b"$KV.", b"$OBJ.", b"$O."];

const REPLIES: [&[u8]; 2] = [b"_INBOX.", b"_R_."];

/// API prefixes as they stand in subjects, with their final dot.
pub(super) fn dotted(prefixes: &[String]) -> Vec<Box<[u8]>> {
    let bare = prefixes.iter().map(|prefix| prefix.trim_end_matches('.'));
    bare.filter(|prefix| !prefix.is_empty())
        .map(|prefix| format!("{prefix}.").into_bytes().into_boxed_slice())
        .collect()
}

/// The class of `subject`; `prefixes` come from [`dotted`].
pub(super) fn of<'a>(subject: &'a [u8], prefixes: &[Box<[u8]>]) -> Class<'a> {
    if let Some(after) = prefixes.iter().find_map(|p| subject.strip_prefix(&**p)) {
        return api(after, subject);
    }
    match subject.first() {
        Some(b'$' | b'_') => special(subject),
        _ => Class::User(subject),
    }
}

/// Whether a filter of the class `User` or `Reply` may match a system subject.
pub(super) fn may_be_system(filter: &Pattern, prefixes: &[Box<[u8]>]) -> bool {
    let first = filter.tokens().next();
    let prefixes = prefixes.iter().map(|prefix| &**prefix);
    let mut starts = prefixes.chain([API.start]).map(first_token);
    match first {
        Some(Token::Literal(first)) => starts.any(|start| start == first),
        Some(Token::Star | Token::Tail) | None => true,
    }
}

/// Patterns of all subjects that may be requests to JetStream's API.
pub(super) fn requests(prefixes: &[Box<[u8]>]) -> impl Iterator<Item = Pattern> {
    let configured = prefixes
        .iter()
        .map(|prefix| format!("{}>", String::from_utf8_lossy(prefix)));
    let known = [API.pattern, "$JS.*.API.>"].map(str::to_owned);
    let patterns = known.into_iter().chain(configured);
    patterns.filter_map(|pattern| pattern.parse().ok())
}

fn first_token(subject: &[u8]) -> &[u8] {
    subject
        .split(|byte| *byte == b'.')
        .next()
        .unwrap_or(subject)
}

/// The part of `subject` after a JetStream domain or a configured API prefix; `None` when it has neither.
pub(super) fn after_prefix<'a>(subject: &'a [u8], prefixes: &[Box<[u8]>]) -> Option<&'a [u8]> {
    let configured = prefixes.iter().find_map(|p| subject.strip_prefix(&**p));
    configured.or_else(|| after_domain(subject))
}

fn special(subject: &[u8]) -> Class<'_> {
    if REPLIES.iter().any(|start| subject.starts_with(start)) {
        return Class::Reply;
    }
    if let Some(after) = subject.strip_prefix(API.start) {
        return api(after, subject);
    }
    let through_domain = after_domain(subject);
    if let Some(store) = through_domain.filter(|after| is_store(after)) {
        return Class::User(store);
    }
    if let Some(system) = STARTS.iter().find(|s| subject.starts_with(s.start)) {
        return Class::System(system);
    }
    through_domain.map_or(Class::User(subject), |after| api(after, subject))
}

/// The class of a subject with an API prefix; `after` is what follows it.
fn api<'a>(after: &'a [u8], subject: &'a [u8]) -> Class<'a> {
    if is_store(after) {
        Class::User(after)
    } else if after == b"INFO" || VERBS.iter().any(|verb| after.starts_with(verb)) {
        Class::Api(after)
    } else {
        Class::User(subject)
    }
}

fn is_store(after: &[u8]) -> bool {
    STORES.iter().any(|store| after.starts_with(store))
}

/// What follows `$JS.<domain>.API.`.
fn after_domain(subject: &[u8]) -> Option<&[u8]> {
    let rest = subject.strip_prefix(b"$JS.")?;
    let dot = memchr::memchr(b'.', rest)?;
    let (_domain, rest) = rest.split_at_checked(dot)?;
    rest.strip_prefix(b".API.")
}
