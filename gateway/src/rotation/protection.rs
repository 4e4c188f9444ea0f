//! Which changes of the configuration weaken protection: a table of all keys, and the comparison of two configurations.
//!
//! Protection is what keeps a payload from being read or forged, and from being lost with its key; availability and addresses are
//! not.

use std::time::Duration;

use serde_json::Value;

use crate::audit::{Act, Action, Change, IntendedUse, Settings, Text};
use crate::policy::Pattern;
use crate::rotation::reason::Reason;

use Weakening::{Any, Clear, Down, Fewer, More, Nothing, Replaced, Subjects, Up, Words};

/// Which change of a key's value weakens protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// None: the key is not about protection, or only its parts are.
    Nothing,
    /// From a word to a later one. An absent value counts as the first.
    Words(&'static [&'static str]),
    /// To a higher number, a longer time, a later date.
    Up,
    /// To a lower number or a shorter time. An absent value counts as the highest.
    Down,
    /// To a list with additional items. A word in place of a list stands for everything.
    More,
    /// To a list with fewer items.
    Fewer,
    /// To a list with additional `nats://` items: plaintext connections.
    Clear,
    /// To any other value: which one is weaker cannot be told.
    Any,
    /// To any other value, if there was one before.
    Replaced,
    /// To patterns that do not cover the former ones.
    Subjects,
}

const TRUE_IS_WEAKER: Weakening = Words(&["false", "true"]);

/// Every key of the configuration.
pub const KEYS: &[(&str, Weakening)] = &[
    ("listen", Nothing),
    ("servers", Clear),
    ("servers-verify", More),
    // Another directory has another audit log: there is nothing to compare with.
    ("state", Nothing),
    ("lock-memory", Words(&["true", "auto", "false"])),
    ("relay-only", TRUE_IS_WEAKER),
    ("advertise", Nothing),
    ("admin", Nothing),
    ("admin.listen", Nothing),
    ("admin.socket", Nothing),
    // A token permits all orders.
    ("admin.tokens", More),
    ("admin.tokens[].name", Nothing),
    ("admin.tokens[].file", Nothing),
    ("log", Nothing),
    ("log.format", Nothing),
    ("log.level", Nothing),
    ("limits", Nothing),
    ("limits.max-control-line", Nothing),
    ("limits.max-message", Nothing),
    ("limits.pending", Nothing),
    ("limits.connections", Nothing),
    ("limits.connections-per-address", Nothing),
    ("limits.connections-per-second", Nothing),
    ("limits.auth-timeout", Nothing),
    ("limits.miss-wait", Nothing),
    ("limits.dial-timeout", Nothing),
    ("limits.handshake-timeout", Nothing),
    ("limits.workers", Nothing),
    ("shutdown", Nothing),
    ("shutdown.grace", Nothing),
    ("shutdown.spread", Nothing),
    ("shutdown.drain", Nothing),
    ("proxy", Nothing),
    // Without it clients that must come through a proxy are refused: that is availability.
    ("proxy.nkey-seed-file", Nothing),
    ("proxy.send", Nothing),
    // Identities do not depend on addresses.
    ("proxy.accept-from", Nothing),
    // Replies under these are sealed as their request was, whatever the keyrings cover.
    ("inbox-prefixes", More),
    ("jetstream", Nothing),
    // Subjects under these pass as they are.
    ("jetstream.api-prefixes", More),
    // The state directory does not open under another kind.
    ("custody", Nothing),
    ("custody.kind", Nothing),
    ("custody.passphrase-file", Nothing),
    ("custody.passphrase-fd", Nothing),
    ("control", Nothing),
    ("control.servers", Nothing),
    ("control.user", Nothing),
    ("control.password-file", Nothing),
    ("control.token-file", Nothing),
    ("control.credentials", Nothing),
    ("control.nkey-seed-file", Nothing),
    // Domains that are not listed are not searched before a key is destroyed.
    ("control.domains", Fewer),
    ("control.deadline", Nothing),
    ("keyring", Nothing),
    ("keyring[].name", Nothing),
    ("keyring[].subjects", Subjects),
    (
        "keyring[].suite",
        Words(&["aes-256-gcm-siv", "aes-256-gcm"]),
    ),
    ("keyring[].rotate", Nothing),
    ("keyring[].rotate.after", Up),
    ("keyring[].rotate.jitter", Nothing),
    ("keyring[].rotate.messages", Up),
    ("keyring[].rotate.bytes", Up),
    ("keyring[].limit", Nothing),
    ("keyring[].limit.messages", Up),
    ("keyring[].limit.bytes", Up),
    ("keyring[].overlap", Down),
    ("keyring[].open-suspended", TRUE_IS_WEAKER),
    ("keyring[].open-compromised", TRUE_IS_WEAKER),
    ("keyring[].retain", Words(&["archive", "destroy", "shred"])),
    ("keyring[].hold", Down),
    ("keyring[].destroy", Words(&["approved", "automatic"])),
    ("keyring[].bind", Words(&["subject", "keyring"])),
    ("keyring[].answers", Words(&["bound", "unbound"])),
    ("keyring[].aliases", More),
    ("keyring[].aliases[].from", Nothing),
    ("keyring[].aliases[].to", Nothing),
    ("keyring[].publish-by", More),
    ("keyring[].deliver-to", More),
    ("keyring[].plaintext", Words(&["reject", "accept"])),
    ("keyring[].until", Up),
    ("keyring[].reply", Words(&["sealed", "puback", "either"])),
    ("keyring[].empty", Words(&["seal", "pass"])),
    ("keyring[].undecryptable", Nothing),
    (
        "keyring[].undecryptable.deliver",
        Words(&["nothing", "envelope"]),
    ),
    ("keyring[].undecryptable.nak-delay", Nothing),
    ("keyring[].undecryptable.limit", Down),
    (
        "keyring[].undecryptable.at-limit",
        Words(&["terminate", "envelope"]),
    ),
    ("tls", Nothing),
    ("tls.certificate", Nothing),
    ("tls.key", Nothing),
    ("tls.clients", Words(&["required", "optional", "none"])),
    ("tls.client-ca", Replaced),
    ("tls.crl", Replaced),
    // Without the section everything is plaintext.
    ("tls.plaintext", TRUE_IS_WEAKER),
    ("tls.handshake", Nothing),
    ("tls.wait", Nothing),
    ("server-tls", Nothing),
    ("server-tls.ca", Any),
    ("server-tls.certificate", Nothing),
    ("server-tls.key", Nothing),
    ("server-tls.server-name", Any),
    ("server-tls.handshake-first", Nothing),
];

/// How changes of the key at this path weaken protection; `None` for an unknown key.
#[must_use]
pub fn weakening(path: &str) -> Option<Weakening> {
    let mut keys = KEYS.iter();
    keys.find(|(key, _)| *key == path).map(|(_, way)| *way)
}

/// The changes by which `new` protects less than `old`.
#[must_use]
pub fn weakened(old: &Settings, new: &Settings) -> Vec<Change> {
    let changes = old.changes(new).into_iter();
    let mut weaker: Vec<Change> = changes
        .filter(|change| is_weaker(change, old, new))
        .collect();
    for keyring in keyrings(new) {
        for change in weaker_for_moved_subjects(keyring, old, new) {
            if weaker.iter().all(|known| known.key != change.key) {
                weaker.push(change);
            }
        }
    }
    weaker
}

/// The audit log entry of such changes.
#[must_use]
pub fn weaken_act(changes: Vec<Change>, old: &Settings, reason: Reason) -> Act {
    let scope = scope(&changes, old).into_iter();
    Act {
        who: reason.who,
        through: reason.through,
        trigger: Some(reason.trigger),
        why: reason.why,
        what: Action::Weaken,
        keyring: None,
        version: None,
        intended_use: IntendedUse::Nothing,
        forced: None,
        evidence: None,
        exposure: None,
        expiry: None,
        scope: scope.map(Text::from).collect(),
        changes,
    }
}

/// The subjects that changes concern, as they were covered before.
fn scope(changes: &[Change], old: &Settings) -> Vec<String> {
    let concerned = |keyring: &str| {
        let mut keyrings = changes.iter().map(|change| parts(change.key.as_str()));
        keyrings.any(|parts| parts.is_none_or(|(name, _)| name == keyring))
    };
    let of_all = keyrings(old).filter(|keyring| concerned(keyring));
    let subjects = of_all.flat_map(|keyring| items(old.get(&key(keyring, SUBJECTS))));
    subjects.map(str::to_owned).collect()
}

fn is_weaker(change: &Change, old: &Settings, new: &Settings) -> bool {
    let path = change.key.as_str();
    let (before, after) = (&change.old, &change.new);
    let Some((keyring, name)) = parts(path) else {
        return weakens(weakening(path), before, after);
    };
    if name == SUBJECTS {
        return loses_subjects(keyring, old, new);
    }
    // A removed keyring shows in its subjects; a new one is compared with those from which it takes subjects.
    let has = |settings: &Settings| !settings.get(&key(keyring, SUBJECTS)).is_null();
    has(old) && has(new) && weakens(of_keyring(name), before, after)
}

/// Whether a keyring loses subjects.
fn loses_subjects(keyring: &str, old: &Settings, new: &Settings) -> bool {
    let kept = patterns(new, keyring);
    let others: Vec<Pattern> = keyrings(new)
        .filter(|other| *other != keyring)
        .flat_map(|other| patterns(new, other))
        .collect();
    let is_kept = |gone: &Pattern| {
        let covered = kept.iter().any(|pattern| pattern.covers(gone));
        kept.contains(gone) || (covered && !others.iter().any(|other| other.overlaps(gone)))
    };
    !patterns(old, keyring).iter().all(is_kept)
}

/// What is weaker in a keyring than in those from which it takes subjects.
fn weaker_for_moved_subjects(keyring: &str, old: &Settings, new: &Settings) -> Vec<Change> {
    let known = patterns(old, keyring);
    let mut added = patterns(new, keyring);
    added.retain(|pattern| !known.contains(pattern));
    // Of two patterns that match a subject, the more specific decides.
    let takes = |from: &Pattern| {
        let mut added = added.iter();
        added.any(|to| to.overlaps(from) && to.specificity(from).is_lt())
    };
    let losers = keyrings(old).filter(|other| *other != keyring);
    let losers = losers.filter(|other| patterns(old, other).iter().any(takes));
    losers
        .flat_map(|other| weaker_than(other, keyring, old, new))
        .collect()
}

fn weaker_than(other: &str, keyring: &str, old: &Settings, new: &Settings) -> Vec<Change> {
    let names = KEYS.iter().filter_map(|(path, way)| {
        let name = path.strip_prefix("keyring[].")?;
        (*way != Subjects).then_some((name, *way))
    });
    let change = |(name, way)| {
        let path = key(keyring, name);
        let (before, after) = (old.get(&key(other, name)), new.get(&path));
        weakens(Some(way), before, after).then(|| Change::of(&path, before, after))
    };
    names.filter_map(change).collect()
}

fn of_keyring(name: &str) -> Option<Weakening> {
    weakening(&format!("keyring[].{name}"))
}

/// Whether a change of a value weakens protection. Any change of an unknown key counts as weaker.
fn weakens(way: Option<Weakening>, old: &Value, new: &Value) -> bool {
    if old == new {
        return false;
    }
    let (before, after) = (magnitude(old), magnitude(new));
    match way.unwrap_or(Any) {
        Nothing | Subjects => false,
        Any => true,
        Replaced => !old.is_null(),
        Words(words) => rank(words, new) > rank(words, old),
        Up => after > before,
        // No value is the highest.
        Down => after.is_some_and(|after| before.is_none_or(|before| after < before)),
        More => has_more(old, new, ""),
        Clear => has_more(old, new, "nats://"),
        Fewer => !new.is_null() && has_more(new, old, ""),
    }
}

/// The position among the words; beyond the last for any other value.
fn rank(words: &[&str], value: &Value) -> usize {
    let said = match value {
        Value::Null => return 0,
        Value::String(word) => word.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    let found = words.iter().position(|word| *word == said);
    found.unwrap_or(words.len())
}

/// A number, a time in nanoseconds, or a date.
fn magnitude(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_u64() {
        return Some(i128::from(number));
    }
    let text = value.as_str()?;
    let duration = humantime::parse_duration(text).ok();
    let duration = duration.and_then(|time: Duration| i128::try_from(time.as_nanos()).ok());
    duration.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()))
}

/// Whether `new` has items with this prefix that `old` neither has nor covers.
fn has_more(old: &Value, new: &Value, kind: &str) -> bool {
    if old.is_string() {
        return false;
    }
    // `user:*` is everybody of that kind.
    let covers = |known: &str, item: &str| {
        known == item
            || known
                .strip_suffix('*')
                .is_some_and(|any| item.starts_with(any))
    };
    let is_known = |item: &str| items(old).any(|known| covers(known, item));
    new.is_string() || items(new).any(|item| item.starts_with(kind) && !is_known(item))
}

fn items(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn keyrings(settings: &Settings) -> impl Iterator<Item = &str> {
    let keys = settings.keys().filter_map(parts);
    keys.filter(|(_, name)| *name == SUBJECTS)
        .map(|(keyring, _)| keyring)
}

fn patterns(settings: &Settings, keyring: &str) -> Vec<Pattern> {
    let subjects = items(settings.get(&key(keyring, SUBJECTS)));
    subjects
        .filter_map(|subject| subject.parse().ok())
        .collect()
}

fn key(keyring: &str, name: &str) -> String {
    format!("{KEYRING}{keyring}.{name}")
}

/// Splits `keyring.NAME.KEY`; `None` for a key that belongs to no keyring.
fn parts(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(KEYRING)?.split_once('.')
}

const KEYRING: &str = "keyring.";
const SUBJECTS: &str = "subjects";
