//! A stream: whether its stored times are those of the publish, and what removes its messages.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{CLOCK_MARGIN, RetentionQuestion};
use super::json::{StoredMessage, StreamConfig, StreamInfo};

/// The time in which messages under the key version were stored, in a stream to which they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Not earlier, in any stream: nothing is stored before it is sealed.
    pub(super) from: Option<Timestamp>,
    /// Not later, where the stored time is that of the publish.
    pub(super) to: Option<Timestamp>,
}

/// The meaning of a stream's stored times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredTime {
    /// When the message was published.
    Published,
    /// When the stream stored it, maybe long after: from another stream, or by a schedule.
    Later,
}

/// A stream to scan.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Its API prefix.
    pub(super) api: String,
    pub(super) info: StreamInfo,
    pub(super) stored_time: StoredTime,
}

impl Window {
    /// The time in which the version sealed, extended by [`CLOCK_MARGIN`] on both sides.
    pub(super) fn of(question: &RetentionQuestion) -> Self {
        let earlier = |time: Timestamp| time.checked_sub(CLOCK_MARGIN).unwrap_or(Timestamp::MIN);
        let later = |time: Timestamp| time.checked_add(CLOCK_MARGIN).unwrap_or(Timestamp::MAX);
        Self {
            from: question.activated.map(earlier),
            to: question.deactivated.map(later),
        }
    }

    /// The window for a stream with such times.
    pub(super) const fn for_stored_time(self, stored_time: StoredTime) -> Self {
        match stored_time {
            StoredTime::Published => self,
            StoredTime::Later => Self { to: None, ..self },
        }
    }
}

impl Stream {
    /// The streams listed under one API prefix.
    pub(super) fn of(api: &str, infos: Vec<StreamInfo>) -> Vec<Self> {
        let configs: BTreeMap<_, _> = infos
            .iter()
            .map(|info| (info.config.name.clone(), info.config.clone()))
            .collect();
        // Old messages that are republished may be stored in any stream.
        let resent = configs
            .values()
            .any(|config| config.republish.is_some() && stores_late(config));
        let stored_time = |config: &StreamConfig| match resent {
            true => StoredTime::Later,
            false => stored_time(config, &configs),
        };
        let stream = |info: StreamInfo| Self {
            api: api.to_owned(),
            stored_time: stored_time(&info.config),
            info,
        };
        infos.into_iter().map(stream).collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.info.config.name
    }

    /// Whether it mirrors or sources other streams.
    pub(super) fn copies(&self) -> bool {
        copies(&self.info.config)
    }

    /// When this message expires, by the stream's `max_age` or its own `Nats-TTL`.
    pub(super) fn expires(&self, stored: &StoredMessage) -> Option<Timestamp> {
        let limit = Some(self.info.config.max_age).filter(|age| *age != 0);
        let limit = limit.map(Duration::from_nanos);
        let age = match message_ttl(&stored.headers) {
            MessageTtl::None => limit,
            MessageTtl::After(own) => Some(limit.map_or(own, |limit| own.min(limit))),
            MessageTtl::Never => None,
        }?;
        stored.time.checked_add(age).ok()
    }

    /// What removes its messages, for people.
    pub(super) fn why(&self) -> String {
        let config = &self.info.config;
        let kept = match config.retention.as_str() {
            "workqueue" => "kept until a consumer's acknowledgement".to_owned(),
            "interest" => "kept until every consumer has acknowledged it".to_owned(),
            _ if config.max_msgs_per_subject > 0 => format!(
                "kept until {} newer on its subject replace it",
                config.max_msgs_per_subject
            ),
            _ => "kept until the stream's limits or a purge remove it".to_owned(),
        };
        let age = Duration::from_nanos(config.max_age);
        let limit = match config.max_age {
            0 => String::new(),
            _ => format!(", at most {}", humantime::format_duration(age)),
        };
        let copy = match &config.mirror {
            Some(origin) => format!("; a mirror of {}", origin.name),
            None if self.copies() => "; sourced from other streams".to_owned(),
            None => String::new(),
        };
        format!("{kept}{limit}{copy}")
    }
}

/// A mirror keeps its origin's times, a sourcing stream does not, and a schedule stores an old payload anew (all observed with
/// nats-server 2.15).
fn stored_time(config: &StreamConfig, configs: &BTreeMap<String, StreamConfig>) -> StoredTime {
    if is_sourced(config) || config.allow_msg_schedules {
        return StoredTime::Later;
    }
    let Some(mirror) = &config.mirror else {
        return StoredTime::Published;
    };
    let origin = configs.get(&mirror.name);
    let origin = origin.filter(|_| mirror.external.is_none());
    match origin {
        Some(origin) if !stores_late(origin) => StoredTime::Published,
        Some(_) | None => StoredTime::Later,
    }
}

/// Whether it may store, and republish, messages long after they were published.
fn stores_late(config: &StreamConfig) -> bool {
    copies(config) || config.allow_msg_schedules
}

/// Whether it mirrors or sources other streams.
pub(super) fn copies(config: &StreamConfig) -> bool {
    is_sourced(config) || config.mirror.is_some()
}

fn is_sourced(config: &StreamConfig) -> bool {
    config.sources.as_ref().is_some_and(|all| !all.is_empty())
}

/// A message's `Nats-TTL`.
#[derive(Debug, PartialEq, Eq)]
enum MessageTtl {
    None,
    After(Duration),
    Never,
}

/// Reads `Nats-TTL`: seconds, a Go duration, or `never`.
fn message_ttl(headers: &[u8]) -> MessageTtl {
    let text = String::from_utf8_lossy(headers);
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let Some((_, value)) = lines.find(|(name, _)| *name == "Nats-TTL") else {
        return MessageTtl::None;
    };
    let value = value.trim();
    if value == "never" {
        return MessageTtl::Never;
    }
    let seconds = value.parse().map(Duration::from_secs).ok();
    seconds
        .or_else(|| humantime::parse_duration(value).ok())
        .map_or(MessageTtl::None, MessageTtl::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_age_is_seconds_a_duration_or_never() {
        let of = |value: &str| {
            message_ttl(format!("NATS/1.0\r\nA: b\r\nNats-TTL: {value}\r\n\r\n").as_bytes())
        };
        assert_eq!(of("90"), MessageTtl::After(Duration::from_secs(90)));
        assert_eq!(of("1h30m"), MessageTtl::After(Duration::from_mins(90)));
        assert_eq!(of("never"), MessageTtl::Never);
        assert_eq!(of("soon"), MessageTtl::None);
        assert_eq!(message_ttl(b""), MessageTtl::None);
    }
}
