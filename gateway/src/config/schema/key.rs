//! What is declared of a key: type, range, default, unit, when a change takes effect, example and description.

use std::time::Duration;

pub(super) const ZERO: Duration = Duration::ZERO;
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const TEN_SECONDS: Duration = Duration::from_secs(10);
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const TEN_MINUTES: Duration = Duration::from_mins(10);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
pub(super) const MONTH: Duration = Duration::from_hours(24 * 30);
/// Longer than any key should live. A year is that of `humantime`, which reads and writes durations.
pub(super) const TEN_YEARS: Duration = Duration::from_secs(31_557_600 * 10);

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`, with `[]` after a list of tables.
    pub path: &'static str,
    /// The type of its values, with their range and unit.
    pub kind: Kind,
    /// What an absent key means.
    pub default: Default,
    /// When a change of it takes effect.
    pub takes_effect: TakesEffect,
    /// An example line.
    pub example: &'static str,
    /// What it does.
    pub effect: &'static str,
}

/// The type of a value. Text that stands here describes the form of values, for the reference page.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A table.
    Table,
    /// A list of tables.
    Tables,
    /// True or false.
    Boolean,
    /// Text.
    Text(&'static str),
    /// Text, or a list of it.
    Texts(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these words, or a list of them.
    WordList(&'static [&'static str]),
    /// A date.
    Date(&'static str),
    /// An integer.
    Integer(&'static str),
    /// An integer: what it counts, the least and the most.
    Count(&'static str, u64, u64),
    /// Bytes: the least and the most.
    Size(u64, u64),
    /// A duration: the shortest and the longest.
    Duration(Duration, Duration),
    /// A [`Self::Duration`] that must also be shorter than that of another key in the same table.
    ShorterThan(&'static str, Duration, Duration),
}

/// What an absent key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, in TOML.
    Value(&'static str),
    /// A default that depends on something else, described in words.
    Described(&'static str),
    /// The key cannot be absent.
    Required,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// At a reload. Of a list of tables: one that is new.
    AtReload,
    /// At the next start. Of a table: whether there is one.
    AtRestart,
    /// A table that means nothing by itself: as each of its keys says.
    ByKey,
}

/// Declares a table of keys, in the order of the reference page: path, type, default, when a change takes effect; example;
/// description.
macro_rules! keys {
    ($($path:literal: $kind:expr, $default:expr, $takes_effect:expr; $example:literal; $effect:literal)*) => {
        pub(super) const KEYS: &[Key] = &[$(Key {
            path: $path,
            kind: $kind,
            default: $default,
            takes_effect: $takes_effect,
            example: $example,
            effect: $effect,
        }),*];
    };
}
pub(super) use keys;
