//! A stream: which of its times say when a message was sealed, and what ends the storage of its messages.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::json::{Stored, StreamConfig, StreamInfo};
use super::{MARGIN, Question};

/// When messages under the key version were stored, in a stream that stores what agents publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// No earlier; holds for every stream: nothing is stored before it is sealed.
    pub(super) from: Option<Timestamp>,
    /// No later; holds where the time is that of the publish.
    pub(super) to: Option<Timestamp>,
}

/// What a stored time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dating {
    /// When an agent published the message.
    Published,
    /// When the stream got it, maybe long after: from another stream, or by its own schedule.
    Later,
}

/// A stream to look into.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The prefix of its API.
    pub(super) api: String,
    /// What JetStream says of it.
    pub(super) info: StreamInfo,
    /// What its times say.
    pub(super) dating: Dating,
}

impl Window {
    /// The time in which the version sealed, and [`MARGIN`] on both sides.
    pub(super) fn of(question: &Question) -> Self {
        let earlier = |time: Timestamp| time.checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        let later = |time: Timestamp| time.checked_add(MARGIN).unwrap_or(Timestamp::MAX);
        Self {
            from: question.activated.map(earlier),
            to: question.deactivated.map(later),
        }
    }

    /// The same for a stream whose times say this.
    pub(super) const fn dated(self, dating: Dating) -> Self {
        match dating {
            Dating::Published => self,
            Dating::Later => Self { to: None, ..self },
        }
    }
}

impl Stream {
    /// The streams that one API lists.
    pub(super) fn of(api: &str, infos: Vec<StreamInfo>) -> Vec<Self> {
        let configs: BTreeMap<_, _> = infos
            .iter()
            .map(|info| (info.config.name.clone(), info.config.clone()))
            .collect();
        // What is republished late may be stored anywhere.
        let resent = configs
            .values()
            .any(|config| config.republish.is_some() && stores_late(config));
        let dating = |config: &StreamConfig| match resent {
            true => Dating::Later,
            false => dating(config, &configs),
        };
        let stream = |info: StreamInfo| Self {
            api: api.to_owned(),
            dating: dating(&info.config),
            info,
        };
        infos.into_iter().map(stream).collect()
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.info.config.name
    }

    /// Whether its messages come from other streams.
    pub(super) fn copies(&self) -> bool {
        copies(&self.info.config)
    }

    /// When this message is removed by its age: the stream's limit, or the message's own.
    pub(super) fn expires(&self, stored: &Stored) -> Option<Timestamp> {
        let limit = Some(self.info.config.max_age).filter(|age| *age != 0);
        let limit = limit.map(Duration::from_nanos);
        let age = match own_age(&stored.headers) {
            OwnAge::None => limit,
            OwnAge::Of(own) => Some(limit.map_or(own, |limit| own.min(limit))),
            OwnAge::Unlimited => None,
        }?;
        stored.time.checked_add(age).ok()
    }

    /// What ends the storage of its messages.
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

/// A mirror keeps its origin's times, a sourcing stream does not; a schedule stores an old payload anew. All three seen at
/// nats-server 2.15.
fn dating(config: &StreamConfig, configs: &BTreeMap<String, StreamConfig>) -> Dating {
    if is_sourced(config) || config.allow_msg_schedules {
        return Dating::Later;
    }
    let Some(mirror) = &config.mirror else {
        return Dating::Published;
    };
    let origin = configs.get(&mirror.name);
    let origin = origin.filter(|_| mirror.external.is_none());
    match origin {
        Some(origin) if !stores_late(origin) => Dating::Published,
        Some(_) | None => Dating::Later,
    }
}

/// Whether it stores, and republishes, what was published long before.
fn stores_late(config: &StreamConfig) -> bool {
    copies(config) || config.allow_msg_schedules
}

fn copies(config: &StreamConfig) -> bool {
    is_sourced(config) || config.mirror.is_some()
}

fn is_sourced(config: &StreamConfig) -> bool {
    config.sources.as_ref().is_some_and(|all| !all.is_empty())
}

/// What a message says of its own age.
#[derive(Debug, PartialEq, Eq)]
enum OwnAge {
    None,
    Of(Duration),
    Unlimited,
}

/// Reads `Nats-TTL`: seconds, a Go duration, or `never`.
fn own_age(headers: &[u8]) -> OwnAge {
    let text = String::from_utf8_lossy(headers);
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let Some((_, value)) = lines.find(|(name, _)| *name == "Nats-TTL") else {
        return OwnAge::None;
    };
    let value = value.trim();
    if value == "never" {
        return OwnAge::Unlimited;
    }
    let seconds = value.parse().map(Duration::from_secs).ok();
    seconds
        .or_else(|| humantime::parse_duration(value).ok())
        .map_or(OwnAge::None, OwnAge::Of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_age_is_seconds_a_duration_or_never() {
        let of = |value: &str| {
            own_age(format!("NATS/1.0\r\nA: b\r\nNats-TTL: {value}\r\n\r\n").as_bytes())
        };
        assert_eq!(of("90"), OwnAge::Of(Duration::from_secs(90)));
        assert_eq!(of("1h30m"), OwnAge::Of(Duration::from_mins(90)));
        assert_eq!(of("never"), OwnAge::Unlimited);
        assert_eq!(of("soon"), OwnAge::None);
        assert_eq!(own_age(b""), OwnAge::None);
    }
}
