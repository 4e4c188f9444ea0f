//! Which streams rename subjects on their way in, so that what they deliver was published elsewhere.

use std::time::Duration;

use super::api::{Api, Failed};
use super::config::Config;
use super::json::{StreamInfo, Transform};
use super::question;

/// A stream that stores messages under other subjects than they were published on, and says so nowhere in the message. (A source
/// says it in `Nats-Stream-Source`, a republished message in `Nats-Subject`: these need no help.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// The stream.
    pub stream: String,
    /// The pattern of subjects that it renames.
    pub from: String,
    /// What becomes of them, in the server's notation.
    pub to: String,
}

/// What JetStream was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many streams were looked at.
    pub streams: usize,
    /// Those that rename.
    pub renamings: Vec<Renaming>,
    /// What is not known, each with its remedy behind the first `; `.
    pub doubts: Vec<String>,
}

/// Asks, on this thread, with a runtime of its own.
pub(super) fn ask(config: &Config) -> Survey {
    let mut survey = Survey::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(in_time(config, &mut survey))),
        Err(error) => Err(format!("JetStream cannot be asked: {error}; ask again")),
    };
    survey.doubts.extend(ended.err());
    survey
}

async fn in_time(config: &Config, survey: &mut Survey) -> Result<(), String> {
    let patience = config.deadline.min(Duration::from_secs(30));
    let asked = Box::pin(gather(config, survey));
    match tokio::time::timeout(patience, asked).await {
        Ok(done) => done.map_err(|failed| failed.to_string()),
        Err(_elapsed) => Err("JetStream does not answer in time; ask again".to_owned()),
    }
}

async fn gather(config: &Config, survey: &mut Survey) -> Result<(), Failed> {
    let api = Box::pin(Api::connect(config)).await?;
    for prefix in question::prefixes(config) {
        let infos = Box::pin(question::list(&api, &prefix, &mut survey.doubts)).await?;
        survey.streams = survey.streams.saturating_add(infos.len());
        survey.renamings.extend(infos.iter().flat_map(renamings));
    }
    Ok(())
}

fn renamings(info: &StreamInfo) -> Vec<Renaming> {
    let config = &info.config;
    let mirrored = config
        .mirror
        .iter()
        .flat_map(|mirror| &mirror.subject_transforms);
    let all = config.subject_transform.iter().chain(mirrored.flatten());
    let renaming = |transform: &Transform| Renaming {
        stream: config.name.clone(),
        from: transform.src.clone(),
        to: transform.dest.clone(),
    };
    all.map(renaming).collect()
}
