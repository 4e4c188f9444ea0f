//! Records as JSON, for people to read. Formats only; the rules are in [`super::record`].
//!
//! A field that a later version adds gets `#[serde(default)]` and a higher [`FORMAT`]: an older gateway then says that it is too
//! old, and never drops what it does not understand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Label, Proposal, Record, Version};
use super::time::{ClockState, Moment, Monotonic};
use super::verified::VerifiedRecord;
use crate::audit::Head;
use crate::envelope::{Commitment, Suite, Volume};
use crate::policy::KeyringName;

/// The highest format that this version reads: with `audited`, how far the audit log had come. Early files of format 3 may have
/// it, too.
pub(super) const FORMAT: u64 = 4;

/// A record whose versions have `monotonic` times or `sealed`.
const MEASURED: u64 = 3;

/// A record in which a destruction waits for a second person.
const PROPOSED: u64 = 2;

/// All other files.
const PLAIN: u64 = 1;

/// Why a payload cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Newer(u64),
    Damaged(String),
}

#[derive(Deserialize)]
struct Probe {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordJson {
    format: u64,
    keyring: String,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audited: Option<Head>,
    versions: Vec<VersionJson>,
}

/// The part of a record before its versions.
#[derive(Serialize)]
struct HeadJson<'a> {
    format: u64,
    keyring: &'a str,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    audited: Option<&'a Head>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionJson {
    number: u32,
    label: String,
    state: String,
    suite: String,
    kid: String,
    commitment: String,
    created: String,
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deactivated: Option<String>,
    #[serde(default, skip_serializing_if = "MonotonicJson::is_empty")]
    monotonic: MonotonicJson,
    #[serde(default)]
    reserved: UsedJson,
    #[serde(default, skip_serializing_if = "UsedJson::is_nothing")]
    sealed: UsedJson,
    #[serde(default)]
    lanes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    served: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposed: Option<Proposal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped: Option<String>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MonotonicJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deactivated: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockJson {
    format: u64,
    /// Both clocks when this was written, the host's uptime in nanoseconds, and its boot id.
    monotonic: String,
    wall: String,
    uptime: u64,
    boot: Option<String>,
    passed: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audited: Option<Head>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsedJson {
    messages: u64,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenJson {
    format: u64,
    epochs: BTreeMap<String, u64>,
}

/// The highest epoch seen of every keyring.
pub(super) type SeenEpochs = BTreeMap<KeyringName, u64>;

/// A record as JSON.
pub(super) struct RecordText {
    pub(super) payload: Vec<u8>,
    /// Each version's byte range in the payload.
    pub(super) ranges: Vec<Range<usize>>,
}

/// Writes a record; versions that are as they were `before` are copied from there.
pub(super) fn write_record(
    record: &Record,
    before: &VerifiedRecord,
) -> Result<RecordText, serde_json::Error> {
    let mut payload = serde_json::to_vec_pretty(&HeadJson {
        format: format(record),
        keyring: record.keyring.as_str(),
        epoch: record.epoch,
        audited: record.audited.as_ref(),
    })?;
    // The end of the object comes after the versions.
    payload.truncate(payload.len().saturating_sub(b"\n}".len()));
    payload.extend_from_slice(b",\n  \"versions\": [");
    let mut ranges = Vec::with_capacity(record.versions.len());
    for (index, version) in record.versions.iter().enumerate() {
        let separator: &[u8] = if index == 0 { b"\n    " } else { b",\n    " };
        payload.extend_from_slice(separator);
        let begin = payload.len();
        match before.text_of(index, version) {
            Some(text) => payload.extend_from_slice(text),
            None => put_version(&mut payload, version)?,
        }
        ranges.push(begin..payload.len());
    }
    let end: &[u8] = if ranges.is_empty() {
        b"]\n}"
    } else {
        b"\n  ]\n}"
    };
    payload.extend_from_slice(end);
    Ok(RecordText { payload, ranges })
}

/// The lowest sufficient format, so that an older gateway reads a record in which nothing is new to it.
fn format(record: &Record) -> u64 {
    let any = |is: fn(&Version) -> bool| record.versions.iter().any(is);
    let timed = |version: &Version| version.monotonic != Monotonic::default();
    if record.audited.is_some() {
        FORMAT
    } else if any(timed) || any(|version| version.sealed != Volume::default()) {
        MEASURED
    } else if any(|version| version.proposed.is_some()) {
        PROPOSED
    } else {
        PLAIN
    }
}

impl From<Volume> for UsedJson {
    fn from(Volume { messages, bytes }: Volume) -> Self {
        Self { messages, bytes }
    }
}

impl From<UsedJson> for Volume {
    fn from(UsedJson { messages, bytes }: UsedJson) -> Self {
        Self { messages, bytes }
    }
}

impl UsedJson {
    const fn is_nothing(&self) -> bool {
        self.messages == 0 && self.bytes == 0
    }
}

/// Appends a version as pretty JSON, indented by two levels. A line end is never within a string.
fn put_version(payload: &mut Vec<u8>, version: &Version) -> Result<(), serde_json::Error> {
    let text = serde_json::to_vec_pretty(&write_version(version))?;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        payload.extend_from_slice(line);
        if line.ends_with(b"\n") {
            payload.extend_from_slice(b"    ");
        }
    }
    Ok(())
}

pub(super) fn read_record(payload: &[u8]) -> Result<Record, Unreadable> {
    let json: RecordJson = read(payload)?;
    let versions = json.versions.into_iter().map(read_version);
    Ok(Record {
        keyring: field("keyring", &json.keyring)?,
        epoch: json.epoch,
        audited: json.audited,
        versions: versions.collect::<Result<_, _>>()?,
    })
}

pub(super) fn write_seen(seen: &SeenEpochs) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec_pretty(&SeenJson {
        format: PLAIN,
        epochs: seen.iter().map(|(k, e)| (k.to_string(), *e)).collect(),
    })
}

pub(super) fn read_seen(payload: &[u8]) -> Result<SeenEpochs, Unreadable> {
    let json: SeenJson = read(payload)?;
    json.epochs
        .iter()
        .map(|(keyring, epoch)| Ok((field("epochs", keyring)?, *epoch)))
        .collect()
}

pub(super) fn write_clock(clock_state: &ClockState) -> Result<Vec<u8>, serde_json::Error> {
    let passed = clock_state.passed.iter();
    let format = if clock_state.audited.is_some() {
        FORMAT
    } else {
        PLAIN
    };
    serde_json::to_vec_pretty(&ClockJson {
        format,
        monotonic: clock_state.moment.monotonic.to_string(),
        wall: clock_state.moment.wall.to_string(),
        uptime: u64::try_from(clock_state.uptime.as_nanos()).unwrap_or(u64::MAX),
        boot: clock_state.boot.clone(),
        passed: passed
            .map(|(k, at)| (k.to_string(), at.to_string()))
            .collect(),
        audited: clock_state.audited.clone(),
    })
}

pub(super) fn read_clock(payload: &[u8]) -> Result<ClockState, Unreadable> {
    let json: ClockJson = read(payload)?;
    let passed = json.passed.iter();
    Ok(ClockState {
        moment: Moment {
            monotonic: field("monotonic", &json.monotonic)?,
            wall: field("wall", &json.wall)?,
        },
        uptime: Duration::from_nanos(json.uptime),
        boot: json.boot,
        passed: passed
            .map(|(keyring, at)| Ok((field("passed", keyring)?, field("passed", at)?)))
            .collect::<Result<_, _>>()?,
        audited: json.audited,
    })
}

/// Reads any of the catalogue's JSON files. The format is read first, so that a later one is reported as such.
pub(super) fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Unreadable> {
    let damaged = |e: serde_json::Error| Unreadable::Damaged(e.to_string());
    let Probe { format } = crate::strict_json::from_slice(payload).map_err(damaged)?;
    if format > FORMAT {
        return Err(Unreadable::Newer(format));
    }
    crate::strict_json::from_slice(payload).map_err(damaged)
}

pub(super) fn field<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Unreadable>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|e| Unreadable::Damaged(format!("`{name}` = `{text}`: {e}")))
}

fn write_version(version: &Version) -> VersionJson {
    VersionJson {
        number: version.number,
        label: version.label.to_string(),
        state: version.state.to_string(),
        suite: version.suite.name().to_owned(),
        kid: HEXLOWER.encode(&version.kid.0),
        commitment: HEXLOWER.encode(&version.commitment.0),
        created: version.created.to_string(),
        since: version.since.to_string(),
        activated: version.activated.as_ref().map(Timestamp::to_string),
        deactivated: version.deactivated.as_ref().map(Timestamp::to_string),
        monotonic: write_monotonic(version.monotonic),
        reserved: version.reserved.into(),
        sealed: version.sealed.into(),
        lanes: version.lanes,
        served: version.served.clone(),
        proposed: version.proposed.clone(),
        wrapped: version.wrapped.as_ref().map(ToString::to_string),
    }
}

fn write_monotonic(times: Monotonic) -> MonotonicJson {
    let text = |time: Option<Timestamp>| time.as_ref().map(Timestamp::to_string);
    MonotonicJson {
        since: text(times.since),
        activated: text(times.activated),
        deactivated: text(times.deactivated),
    }
}

fn read_version(json: VersionJson) -> Result<Version, Unreadable> {
    let commitment = Commitment(hex("commitment", &json.commitment)?);
    let kid = crate::envelope::Kid(hex("kid", &json.kid)?);
    let time = |name, text: &Option<String>| text.as_deref().map(|t| field(name, t)).transpose();
    Ok(Version {
        number: json.number,
        kid,
        commitment,
        suite: suite(&json.suite)?,
        state: field("state", &json.state)?,
        created: field("created", &json.created)?,
        since: field("since", &json.since)?,
        activated: time("activated", &json.activated)?,
        deactivated: time("deactivated", &json.deactivated)?,
        monotonic: Monotonic {
            since: time("since", &json.monotonic.since)?,
            activated: time("activated", &json.monotonic.activated)?,
            deactivated: time("deactivated", &json.monotonic.deactivated)?,
        },
        reserved: json.reserved.into(),
        sealed: json.sealed.into(),
        lanes: json.lanes,
        served: json.served,
        proposed: json.proposed,
        wrapped: json
            .wrapped
            .as_deref()
            .map(|text| field("wrapped", text))
            .transpose()?,
        label: Label::from_record(json.label),
    })
}

impl MonotonicJson {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn suite(text: &str) -> Result<Suite, Unreadable> {
    [Suite::Aes256Gcm, Suite::Aes256GcmSiv]
        .into_iter()
        .find(|suite| suite.name() == text)
        .ok_or_else(|| Unreadable::Damaged(format!("`suite` = `{text}`: not a suite")))
}

fn hex<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Unreadable> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Unreadable::Damaged(format!("`{name}` is not {N} bytes of lower-case hex")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version, with an activation time if it has subjects.
    fn version(number: u32, served: &[&str]) -> Version {
        let commitment = Commitment([u8::try_from(number).unwrap(); 32]);
        let keyring = "agents".parse().unwrap();
        Version {
            number,
            label: Label::new(&keyring, Timestamp::UNIX_EPOCH, number),
            kid: commitment.kid(),
            commitment,
            suite: Suite::Aes256Gcm,
            state: super::super::State::Destroyed,
            created: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            activated: (!served.is_empty()).then_some(Timestamp::UNIX_EPOCH),
            deactivated: None,
            monotonic: Monotonic::default(),
            reserved: Volume::default(),
            sealed: Volume::default(),
            lanes: 7,
            served: served.iter().map(ToString::to_string).collect(),
            proposed: None,
            wrapped: None,
        }
    }

    /// The same record, written by `serde_json` in one call.
    fn defined(record: &Record) -> Vec<u8> {
        serde_json::to_vec_pretty(&RecordJson {
            format: format(record),
            keyring: record.keyring.to_string(),
            epoch: record.epoch,
            audited: record.audited.clone(),
            versions: record.versions.iter().map(write_version).collect(),
        })
        .unwrap()
    }

    #[test]
    fn record_in_parts_is_the_record_in_one() {
        let mut before = VerifiedRecord::absent("agents".parse().unwrap());
        let mut record = before.record.clone();
        for number in 0..6 {
            let written = write_record(&record, &before).unwrap();
            assert_eq!(written.payload, defined(&record));
            before = VerifiedRecord::written(record.clone(), written.payload, written.ranges);
            record.epoch += 1;
            // A new version, and a changed one.
            let served: &[&str] = if number % 2 == 0 {
                &["a.>", "\"\n{"]
            } else {
                &[]
            };
            record.versions.push(version(number + 1, served));
            record.versions[0].lanes += 1;
        }
    }

    const PAGE: &str = include_str!("../../../docs/keys.md");

    /// The members of a type, from serde's error for an unknown one.
    fn members<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let unknown = serde_json::from_str::<T>("{\"nothing-of-this\":0}");
        let error = unknown.err().unwrap().to_string();
        let (_, known) = error.split_once("expected ").unwrap();
        let known = known.split('`').skip(1).step_by(2);
        known.map(str::to_owned).collect()
    }

    #[test]
    fn page_shows_a_record_and_names_every_member() {
        let section = PAGE.split("\n## Records\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let shown = section.split("```json\n").nth(1).unwrap();
        let shown = shown.split("```").next().unwrap();
        let (record, _signature) = shown.split_once("{\"catalogue\"").unwrap();
        let record: RecordJson = serde_json::from_str(record).unwrap();
        assert_eq!(record.versions.len(), 1);
        let all = [
            members::<RecordJson>(),
            members::<VersionJson>(),
            members::<Proposal>(),
            members::<MonotonicJson>(),
            members::<UsedJson>(),
        ];
        assert!(all.iter().all(|members| members.len() > 1), "{all:?}");
        for name in all.iter().flatten() {
            let is_named = ['"', '`']
                .iter()
                .any(|mark| section.contains(&format!("{mark}{name}{mark}")));
            assert!(is_named, "docs/keys.md does not name `{name}`");
        }
        let named = section
            .split("```")
            .skip(2)
            .flat_map(|text| text.split('`').skip(1).step_by(2));
        let is_word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase());
        let members: Vec<&String> = all.iter().flatten().collect();
        for name in named.filter(is_word) {
            let is_state = name.parse::<super::super::State>().is_ok();
            assert!(
                is_state || members.iter().any(|member| *member == name),
                "docs/keys.md names `{name}`"
            );
        }
    }

    #[test]
    fn record_is_of_the_lowest_format_that_says_everything() {
        let before = VerifiedRecord::absent("agents".parse().unwrap());
        let mut record = before.record.clone();
        record.versions = vec![version(1, &["a"]), version(2, &[])];
        let written = write_record(&record, &before).unwrap().payload;
        let text = String::from_utf8(written).unwrap();
        assert!(text.contains("\"format\": 1,") && !text.contains("proposed"));
        record.versions[1].proposed = Some(Proposal {
            who: "uid:1".to_owned(),
            why: "old".to_owned(),
            forced: true,
        });
        let written = write_record(&record, &before).unwrap().payload;
        assert!(String::from_utf8_lossy(&written).contains("\"format\": 2,"));
        let Ok(read) = read_record(&written) else {
            panic!("it cannot be read")
        };
        assert_eq!(read, record);
        record.versions[0].sealed.messages = 7;
        let written = write_record(&record, &before).unwrap().payload;
        assert!(String::from_utf8_lossy(&written).contains("\"format\": 3,"));
        assert!(read_record(&written).is_ok_and(|read| read == record));
        record.versions[0].sealed.messages = 0;
        record.versions[0].monotonic = Monotonic {
            since: Some(Timestamp::MAX),
            activated: None,
            deactivated: Some(Timestamp::UNIX_EPOCH),
        };
        let written = write_record(&record, &before).unwrap().payload;
        assert!(String::from_utf8_lossy(&written).contains("\"format\": 3,"));
        assert!(read_record(&written).is_ok_and(|read| read == record));
        record.audited = Some(head());
        let written = write_record(&record, &before).unwrap().payload;
        assert!(String::from_utf8_lossy(&written).contains("\"format\": 4,"));
        assert_eq!(written, defined(&record));
        assert!(read_record(&written).is_ok_and(|read| read == record));
    }

    fn head() -> Head {
        serde_json::from_str(r#"{"log":"l","lines":7}"#).unwrap()
    }

    #[test]
    fn time_is_of_the_lowest_format_that_says_everything() {
        let mut clock_state = ClockState {
            moment: Moment {
                monotonic: Timestamp::UNIX_EPOCH,
                wall: Timestamp::MAX,
            },
            uptime: Duration::from_secs(7),
            boot: None,
            passed: BTreeMap::new(),
            audited: None,
        };
        for (audited, format) in [(None, "\"format\": 1,"), (Some(head()), "\"format\": 4,")] {
            clock_state.audited = audited;
            let written = write_clock(&clock_state).unwrap();
            assert!(String::from_utf8_lossy(&written).contains(format));
            let read = read_clock(&written);
            assert!(read.is_ok_and(|read| read.audited == clock_state.audited));
        }
    }

    #[test]
    fn head_of_the_log_is_read_of_the_formats_in_which_it_was_written_at_first() {
        let mut record = Record::empty("agents".parse().unwrap());
        record.audited = Some(head());
        let written =
            write_record(&record, &VerifiedRecord::absent(record.keyring.clone())).unwrap();
        let text = String::from_utf8(written.payload).unwrap();
        let third = text.replacen("\"format\": 4", "\"format\": 3", 1);
        assert!(read_record(third.as_bytes()).is_ok_and(|read| read == record));
    }

    #[test]
    fn unchanged_version_is_copied_and_a_changed_one_is_not() {
        let mut record = Record::empty("agents".parse().unwrap());
        record.versions = vec![version(1, &[]), version(2, &["a"])];
        let written =
            write_record(&record, &VerifiedRecord::absent(record.keyring.clone())).unwrap();
        let before = VerifiedRecord::written(record.clone(), written.payload, written.ranges);
        assert!(before.text_of(0, &record.versions[0]).is_some());
        assert!(before.text_of(0, &record.versions[1]).is_none());
        record.versions[1].lanes += 1;
        assert!(before.text_of(1, &record.versions[1]).is_none());
        let read = VerifiedRecord::read(record.clone(), Vec::new());
        assert!(read.text_of(0, &record.versions[0]).is_none());
    }
}
