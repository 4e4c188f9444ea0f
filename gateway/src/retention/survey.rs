//! Streams that store, or republish, messages under other subjects than they were published on: by their own transforms, or by
//! those of the streams that they mirror or source, and so on.

use std::time::Duration;

use crate::fault::{Failure, Fault};

use super::api::{Api, ApiError};
use super::config::Config;
use super::json::{StreamConfig, StreamInfo, StreamSource, SubjectTransform};
use super::question;
use super::renaming::SubjectMapping;
use super::stream;

/// A stream that stores messages under other subjects than they were published on. Its headers `Nats-Stream-Source` and
/// `Nats-Subject` do not help: they are not authenticated, and name the last stream before it only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// The stream.
    pub stream: String,
    /// The streams that they came through, the one that they were published to first.
    pub origins: Vec<String>,
    /// The pattern of published subjects.
    pub from: String,
    /// Their stored subjects, in nats-server's notation.
    pub to: String,
}

/// A stream with `allow_msg_schedules`: what is published on one of its subjects may be published again on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// The stream.
    pub stream: String,
    /// Its subjects.
    pub subjects: Vec<String>,
}

/// A stream that mirrors or sources another through an API prefix that is not configured, and so was not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnaskedSource {
    /// The stream.
    pub stream: String,
    /// The one that it mirrors or sources.
    pub origin: String,
    /// The API prefix.
    pub api: String,
}

/// The outcome of a survey of all streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many streams were listed.
    pub streams: usize,
    /// Those that rename.
    pub renamings: Vec<Renaming>,
    /// Those with schedules.
    pub schedulings: Vec<Scheduling>,
    /// Those with a source that was not asked.
    pub unseen: Vec<UnaskedSource>,
    /// What could not be determined.
    pub doubts: Vec<Failure>,
}

/// Asks on this thread.
pub(super) fn ask(config: &Config, imports: &[String]) -> Survey {
    let mut survey = Survey::default();
    let asking = Box::pin(ask_with_deadline(config, imports, &mut survey));
    let ended = question::block_on(asking).flatten();
    survey.doubts.extend(ended.err());
    survey
}

async fn ask_with_deadline(
    config: &Config,
    imports: &[String],
    survey: &mut Survey,
) -> Result<(), Failure> {
    let patience = config.deadline.min(Duration::from_secs(30));
    let asked = Box::pin(gather(config, imports, survey));
    match tokio::time::timeout(patience, asked).await {
        Ok(done) => done.map_err(|failed| Failure::of(&failed)),
        Err(_elapsed) => Err(Failure::new(
            "JetStream does not answer in time",
            Fault::operator_later("ask again"),
        )),
    }
}

async fn gather(config: &Config, imports: &[String], survey: &mut Survey) -> Result<(), ApiError> {
    let api = Box::pin(Api::connect(config)).await?;
    let prefixes = question::prefixes(config, imports);
    for prefix in &prefixes {
        let infos = Box::pin(question::list_streams(&api, prefix, &mut survey.doubts)).await?;
        survey.streams = survey.streams.saturating_add(infos.len());
        survey.renamings.extend(renamings(&infos));
        for StreamInfo { config, .. } in &infos {
            survey.schedulings.extend(scheduling(config));
            survey.unseen.extend(unseen(config, &prefixes));
        }
    }
    Ok(())
}

fn scheduling(config: &StreamConfig) -> Option<Scheduling> {
    config.allow_msg_schedules.then(|| Scheduling {
        stream: config.name.clone(),
        subjects: config.subjects.iter().flatten().cloned().collect(),
    })
}

/// Its sources under other prefixes than these.
fn unseen(config: &StreamConfig, prefixes: &[String]) -> Vec<UnaskedSource> {
    let origins = config.mirror.iter().chain(config.sources.iter().flatten());
    let unseen = origins.filter_map(|origin| {
        let api = origin.external.as_ref()?.api.trim_end_matches('.');
        let is_known = api.is_empty() || prefixes.iter().any(|prefix| prefix == api);
        (!is_known).then(|| UnaskedSource {
            stream: config.name.clone(),
            origin: origin.name.clone(),
            api: api.to_owned(),
        })
    });
    unseen.collect()
}

/// Subjects that a stream stores, and where they come from.
#[derive(Clone)]
struct StoredSubjects<'a> {
    mapping: SubjectMapping,
    /// The streams that they came through.
    origins: Vec<&'a str>,
}

impl StoredSubjects<'_> {
    fn unchanged(subject: &str) -> Self {
        Self {
            mapping: SubjectMapping::unchanged(subject),
            origins: Vec::new(),
        }
    }
}

fn renamings(infos: &[StreamInfo]) -> Vec<Renaming> {
    let mut found = Vec::new();
    for info in infos {
        let stored_subjects = stored_subjects(&info.config, infos, &mut vec![&info.config.name]);
        let again = info
            .config
            .republish
            .iter()
            .filter(|again| !again.headers_only);
        let again = again.flat_map(|again| through(&stored_subjects, again));
        let again: Vec<_> = again.collect();
        for StoredSubjects { mapping, origins } in stored_subjects.into_iter().chain(again) {
            let (from, to) = mapping.to_patterns();
            let renaming = Renaming {
                stream: info.config.name.clone(),
                origins: origins.into_iter().map(str::to_owned).collect(),
                from,
                to,
            };
            if mapping.renames() && !found.contains(&renaming) {
                found.push(renaming);
            }
        }
    }
    found
}

/// The subjects that a stream stores. `ancestors` holds it and the streams that led to it: streams may source each other in a circle.
fn stored_subjects<'a>(
    config: &'a StreamConfig,
    infos: &'a [StreamInfo],
    ancestors: &mut Vec<&'a str>,
) -> Vec<StoredSubjects<'a>> {
    let mut stored_subjects = published(config);
    for origin in config.mirror.iter().chain(config.sources.iter().flatten()) {
        stored_subjects.extend(copied(origin, infos, ancestors));
    }
    // A stream's transform applies to all that it stores, but not in a mirror.
    match &config.subject_transform {
        Some(transform) if config.mirror.is_none() => {
            let changed = through(&stored_subjects, transform);
            stored_subjects.into_iter().chain(changed).collect()
        }
        Some(_) | None => stored_subjects,
    }
}

/// The subjects published to it.
fn published(config: &StreamConfig) -> Vec<StoredSubjects<'_>> {
    let mut subjects: Vec<&str> = config.subjects.iter().flatten().map(|s| &**s).collect();
    if subjects.is_empty() && !stream::copies(config) {
        subjects.push(&config.name);
    }
    subjects
        .into_iter()
        .map(StoredSubjects::unchanged)
        .collect()
}

/// The subjects that it mirrors or sources from another stream.
fn copied<'a>(
    origin: &'a StreamSource,
    infos: &'a [StreamInfo],
    ancestors: &mut Vec<&'a str>,
) -> Vec<StoredSubjects<'a>> {
    let name = origin.name.as_str();
    let known = infos.iter().find(|info| info.config.name == name);
    let known = known.filter(|_| origin.external.is_none());
    let held = match known {
        Some(_) if ancestors.contains(&name) => Vec::new(),
        Some(info) => {
            ancestors.push(name);
            let held = stored_subjects(&info.config, infos, ancestors);
            ancestors.pop();
            held
        }
        // In another account or domain, anything may be published.
        None => vec![StoredSubjects::unchanged(">")],
    };
    let transforms = origin.subject_transforms.iter().flatten();
    let transforms: Vec<_> = transforms.filter(|all| !all.dest.is_empty()).collect();
    let mut copied: Vec<_> = match transforms.as_slice() {
        [] if origin.filter_subject.is_empty() => held,
        [] => changed(&held, |mapping| {
            mapping.restricted_to(&origin.filter_subject)
        }),
        all => all
            .iter()
            .flat_map(|transform| through(&held, transform))
            .collect(),
    };
    for stored in &mut copied {
        stored.origins.push(name);
    }
    copied
}

fn through<'a>(
    stored_subjects: &[StoredSubjects<'a>],
    transform: &SubjectTransform,
) -> Vec<StoredSubjects<'a>> {
    changed(stored_subjects, |mapping| mapping.followed_by(transform))
}

fn changed<'a>(
    stored_subjects: &[StoredSubjects<'a>],
    change: impl Fn(&SubjectMapping) -> Option<SubjectMapping>,
) -> Vec<StoredSubjects<'a>> {
    let changed = stored_subjects.iter().filter_map(|stored| {
        Some(StoredSubjects {
            mapping: change(&stored.mapping)?,
            origins: stored.origins.clone(),
        })
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn copies_through_prefixes_that_were_not_asked_are_not_seen() {
        let config = json!({"name": "C", "mirror": {"name": "M", "external": {"api": "$JS.hub.API"}},
            "sources": [{"name": "A"}, {"name": "B", "external": {"api": "JS.acme.API."}}, {"name": "D", "external": {"deliver": "d"}}]});
        let config: StreamConfig = serde_json::from_value(config).unwrap();
        let told = |prefixes: &[&str]| -> Vec<_> {
            let prefixes: Vec<_> = prefixes.iter().copied().map(str::to_owned).collect();
            let unseen = unseen(&config, &prefixes);
            unseen
                .iter()
                .map(|one| format!("{} {}", one.origin, one.api))
                .collect()
        };
        assert_eq!(told(&["$JS.API"]), ["M $JS.hub.API", "B JS.acme.API"]);
        assert_eq!(told(&["$JS.API", "$JS.hub.API"]), ["B JS.acme.API"]);
        assert!(told(&["$JS.hub.API", "JS.acme.API"]).is_empty());
    }

    fn told(streams: &[serde_json::Value]) -> Vec<String> {
        let infos: Vec<StreamInfo> = streams
            .iter()
            .map(|config| {
                let info = json!({"config": config, "state": {}});
                serde_json::from_value(info).unwrap()
            })
            .collect();
        let tell = |renaming: &Renaming| {
            let Renaming {
                stream,
                origins,
                from,
                to,
            } = renaming;
            format!("{stream} [{}] {from} {to}", origins.join(" "))
        };
        renamings(&infos).iter().map(tell).collect()
    }

    #[test]
    fn chain_of_copies_renames_from_where_it_was_published() {
        let transform = |src: &str, dest: &str| json!([{"src": src, "dest": dest}]);
        let a = json!({"name": "A", "subjects": ["a.>"]});
        let b = json!({"name": "B", "sources": [{"name": "A", "subject_transforms": transform("a.>", "b.>")}]});
        let c = json!({"name": "C", "sources": [{"name": "B", "subject_transforms": transform("b.>", "c.>")}]});
        let mirror = json!({"name": "M", "mirror": {"name": "C", "filter_subject": "c.x"}});
        assert_eq!(
            told(&[a, b, c, mirror]),
            ["B [A] a.> b.>", "C [A B] a.> c.>", "M [A B C] a.x c.x"]
        );
    }

    #[test]
    fn own_transforms_and_what_is_published_again_rename_too() {
        let own = json!({"name": "S", "subjects": ["s.*"], "subject_transform": {"src": "s.*", "dest": "t.$1"},
            "republish": {"src": ">", "dest": "r.>"}});
        let headers = json!({"name": "H", "subjects": ["h"], "republish": {"src": ">", "dest": "r.>", "headers_only": true}});
        assert_eq!(
            told(&[own, headers]),
            [
                "S [] s.* t.{{wildcard(1)}}",
                "S [] s.* r.s.{{wildcard(1)}}",
                "S [] s.* r.t.{{wildcard(1)}}"
            ]
        );
    }

    #[test]
    fn streams_that_copy_each_other_or_what_is_not_seen_come_to_an_end() {
        let a = json!({"name": "A", "subjects": ["a"], "sources": [{"name": "B", "subject_transforms": [{"src": "b", "dest": "c"}]}]});
        let b = json!({"name": "B", "subjects": ["b"], "sources": [{"name": "A"}]});
        let other = json!({"name": "O", "mirror": {"name": "A", "external": {"api": "$JS.hub.API"},
            "subject_transforms": [{"src": "x.>", "dest": "y.>"}]}});
        assert_eq!(told(&[a, b, other]), ["A [B] b c", "O [A] x.> y.>"]);
    }
}
