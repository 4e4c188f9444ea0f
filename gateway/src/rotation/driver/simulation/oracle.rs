//! An oracle for the audit log: compares every line with the records on the disk.
//!
//! It reads the disk independently of the gateway's memory. An intent precedes its effect and names it; what is `done` is on the
//! disk, what has `failed` is not; a completion follows the effect; amounts are those of the ledger.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde_json::Value;

use super::traffic::Traffic;
use crate::audit::{Act, Action, Body, Completed, Event, EventId, Line, OutcomeKind, Trigger};
use crate::clock::Clock;
use crate::disk::testing::CrashDisk;
use crate::envelope::{Kid, Volume};

/// Shared with the disk.
#[derive(Clone)]
pub(super) struct Oracle(Arc<Mutex<Inner>>);

struct Inner {
    disk: Arc<CrashDisk>,
    clock: Clock,
    traffic: Traffic,
    /// Every version on the disk, by its kid as text.
    versions: HashMap<String, Value>,
    /// When a version was seen to enter a state, and after how many clock jumps.
    entered: HashMap<(String, String), (Timestamp, u64)>,
    /// Intents without a final outcome.
    open: BTreeMap<EventId, Event>,
    /// How often the clock had jumped when each intent was written. `RetentionReasons` when a process ends, because a power cut may take an
    /// outcome.
    jumps_at_intent: HashMap<EventId, u64>,
    /// How often the clock has jumped.
    jumps: u64,
    /// Destructions without evidence, and whether they were forced.
    unproven: Vec<(Kid, bool)>,
}

impl Oracle {
    pub(super) fn new(disk: &Arc<CrashDisk>, clock: &Clock, traffic: &Traffic) -> Self {
        let oracle = Self(Arc::new(Mutex::new(Inner {
            disk: Arc::clone(disk),
            clock: clock.clone(),
            traffic: traffic.clone(),
            versions: HashMap::new(),
            entered: HashMap::new(),
            open: BTreeMap::new(),
            jumps_at_intent: HashMap::new(),
            jumps: 0,
            unproven: Vec::new(),
        })));
        oracle.reread_disk();
        oracle
    }

    /// Reads the disk anew after the end of a process.
    pub(super) fn reread_disk(&self) {
        let mut inner = self.inner();
        inner.versions.clear();
        inner.entered.clear();
        inner.open.clear();
        let content = inner.disk.content();
        for (_path, record) in content.iter().filter(|(path, _content)| is_record(path)) {
            inner.read(record);
        }
        for line in lines(&content) {
            inner.remember(&line.body);
        }
        // It is not known when these states were entered.
        inner.entered.clear();
    }

    pub(super) fn clock_jumps(&self) {
        self.inner().jumps += 1;
    }

    /// To be called after a rename to `path`.
    pub(super) fn renamed(&self, path: &Path) {
        if is_record(path) {
            let mut inner = self.inner();
            if let Some(content) = inner.disk.content().get(path) {
                inner.read(content);
            }
        }
    }

    /// To be called after an append to `path`.
    pub(super) fn appended(&self, path: &Path, bytes: &[u8]) {
        if is_log(path) {
            let line = Line::parse(bytes).unwrap();
            let mut inner = self.inner();
            inner.check_line(&line.body);
            inner.remember(&line.body);
            if let Body::Outcome(completed) = line.body
                && completed.outcome == OutcomeKind::Done
            {
                inner.note_destruction(&completed.event.act);
            }
        }
    }

    /// Destructions without evidence since the last call, and whether they were forced.
    pub(super) fn unproven(&self) -> Vec<(Kid, bool)> {
        std::mem::take(&mut self.inner().unproven)
    }

    /// Every effect on the disk was logged as done.
    pub(super) fn check_all_effects_logged(&self) {
        let inner = self.inner();
        let of = |line: Line| match line.body {
            Body::Outcome(completed) if completed.outcome == OutcomeKind::Done => {
                let Act { what, version, .. } = completed.event.act;
                Some((what, version?.kid.to_string()))
            }
            Body::Intent(_) | Body::Outcome(_) | Body::Note(_) => None,
        };
        let content = inner.disk.content();
        let done: Vec<_> = lines(&content).filter_map(of).collect();
        let said = |what, kid: &String| done.contains(&(what, kid.clone()));
        for (kid, version) in &inner.versions {
            let was = |what| said(what, kid);
            let active = version.get("activated").is_some();
            let state = version["state"].as_str().unwrap();
            assert!(
                was(Action::Generate),
                "nobody has said that it was made: {version}"
            );
            assert!(
                !active || was(Action::Admit) && was(Action::Activate),
                "{version}"
            );
            assert!(
                state != "compromised" || was(Action::Compromise),
                "{version}"
            );
            let ended = was(Action::Destroy) || was(Action::Abort);
            assert!(state != "destroyed" || ended, "{version}");
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    /// Reads a record: the first of the file's two JSON documents.
    fn read(&mut self, content: &[u8]) {
        let mut documents = serde_json::Deserializer::from_slice(content).into_iter::<Value>();
        let record = documents.next().unwrap().unwrap();
        let now = self.now();
        for version in record["versions"].as_array().unwrap() {
            let kid = version["kid"].as_str().unwrap().to_owned();
            let state = version["state"].as_str().unwrap().to_owned();
            let before = self.versions.insert(kid.clone(), version.clone());
            if before.is_none_or(|before| before["state"] != version["state"]) {
                self.entered.insert((kid, state), (now, self.jumps));
            }
        }
    }

    fn remember(&mut self, body: &Body) {
        match body {
            Body::Intent(event) => {
                self.open.insert(event.id, event.clone());
                self.jumps_at_intent.entry(event.id).or_insert(self.jumps);
            }
            Body::Outcome(completed) if completed.is_final() => {
                self.open.remove(&completed.event.id);
            }
            Body::Outcome(_) | Body::Note(_) => {}
        }
    }

    fn check_line(&self, body: &Body) {
        match body {
            Body::Intent(event) => self.check_intent(event),
            Body::Outcome(completed) => self.check_outcome(completed),
            Body::Note(_) => {}
        }
    }

    fn check_intent(&self, event: &Event) {
        let act = &event.act;
        let now = self.now();
        assert_eq!(event.initiated, now, "it is begun now: {event:?}");
        assert!(act.version.is_some(), "it names no version: {event:?}");
        assert!(!self.took_effect(act), "it is so already: {event:?}");
        let is_end = matches!(act.what, Action::Destroy | Action::DestroyRequested);
        assert_eq!(act.forced.is_some(), is_end, "{event:?}");
        assert!(act.exposure.is_none(), "it is not done yet: {event:?}");
        if act.what == Action::Generate {
            let label = act.version.as_ref().unwrap().label.to_string();
            let (_name, number) = label.rsplit_once('.').unwrap();
            let keyring = act.keyring.as_ref().unwrap().as_str();
            let same = |version: &&Value| {
                version["label"]
                    .as_str()
                    .unwrap()
                    .starts_with(&format!("{keyring}-"))
            };
            let count = self.versions.values().filter(same).count();
            assert_eq!(number, (count + 1).to_string(), "{event:?}");
            self.check_threshold(act);
        }
    }

    /// The amount in the reason of a rotation was sealed under some version.
    fn check_threshold(&self, act: &Act) {
        let why = act.why.as_str();
        let words = why.split_once(" of ").filter(|_| why.ends_with(" sealed"));
        let Some(said) = words.and_then(|(said, _of)| said.parse::<u64>().ok()) else {
            return;
        };
        let path = self.traffic.path();
        let of = |used: &Volume| match act.trigger {
            Some(Trigger::Bytes) => used.bytes,
            _ => used.messages,
        };
        let most = path.ledger.sealed.values().map(of).max();
        assert!(most >= Some(said), "{said} were never sealed: {act:?}");
    }

    fn check_outcome(&self, completed: &Completed) {
        let Some(intent) = self.open.get(&completed.event.id) else {
            let begun = matches!(completed.outcome, OutcomeKind::Unknown);
            assert!(!begun, "it was never begun: {completed:?}");
            return;
        };
        let act = &completed.event.act;
        let mut repeated = completed.event.clone();
        repeated.act.exposure = None;
        assert_eq!(repeated, *intent, "it repeats another intent");
        match completed.outcome {
            OutcomeKind::Done => {
                assert!(self.took_effect(act), "it is not done: {completed:?}");
                self.check_times(completed);
                self.check_exposure(act);
            }
            OutcomeKind::Failed => assert!(!self.took_effect(act), "it is done: {completed:?}"),
            OutcomeKind::Refused => panic!("it was begun: {completed:?}"),
            OutcomeKind::Unknown => {}
        }
    }

    /// Begun before the effect, completed after it, unless the clock has jumped.
    fn check_times(&self, completed: &Completed) {
        if self.jumps_at_intent[&completed.event.id] != self.jumps {
            return;
        }
        let now = self.now();
        let (begun, ended) = (completed.event.initiated, completed.completed);
        assert!(begun <= ended && ended <= now, "{now}: {completed:?}");
        if completed.event.act.what == Action::DestroyRequested {
            return;
        }
        let kid = completed
            .event
            .act
            .version
            .as_ref()
            .unwrap()
            .kid
            .to_string();
        let version = &self.versions[&kid];
        let state = version["state"].as_str().unwrap().to_owned();
        if let Some((entered, then)) = self.entered.get(&(kid, state))
            && *then == self.jumps
        {
            assert!(
                begun <= *entered && *entered <= ended,
                "{entered}: {completed:?}"
            );
        }
    }

    fn check_exposure(&self, act: &Act) {
        let said = act.exposure.as_ref();
        assert_eq!(said.is_some(), act.what == Action::Compromise, "{act:?}");
        let (Some(said), Some(version)) = (said, &act.version) else {
            return;
        };
        let path = self.traffic.path();
        let id = path.ledger.ids.get(&Kid(version.kid.0));
        let sealed = id.and_then(|id| path.ledger.sealed.get(id)).copied();
        let Volume { messages, bytes } = sealed.unwrap_or_default();
        for ([least, most], is) in [(said.messages, messages), (said.bytes, bytes)] {
            assert!(
                least <= is && is <= most,
                "{messages} messages, {bytes} bytes: {act:?}"
            );
        }
        assert_eq!(said.from.is_some(), said.until.is_some(), "{act:?}");
    }

    fn note_destruction(&mut self, act: &Act) {
        let Some(kid) = act.version.as_ref().map(|version| Kid(version.kid.0)) else {
            return;
        };
        if act.what != Action::Destroy {
            return;
        }
        let path = self.traffic.path();
        let id = path.ledger.ids.get(&kid);
        let needed = id.is_some_and(|id| path.ledger.stores(*id));
        drop(path);
        match (act.forced, &act.evidence) {
            (Some(false), Some(_)) => assert!(!needed, "something stored needs it: {act:?}"),
            (Some(forced), None) => self.unproven.push((kid, forced)),
            _ => panic!("forced and proven: {act:?}"),
        }
    }

    /// Whether the act's effect is on the disk.
    fn took_effect(&self, act: &Act) -> bool {
        let kid = act.version.as_ref().unwrap().kid.to_string();
        let Some(version) = self.versions.get(&kid) else {
            return false;
        };
        let state = version["state"].as_str().unwrap();
        match act.what {
            Action::Generate => true,
            Action::Admit => state != "pre-active",
            Action::Activate => version.get("activated").is_some(),
            Action::Resume => state != "suspended",
            Action::Archive => state == "archived",
            Action::Destroy | Action::Abort => state == "destroyed",
            Action::Compromise => state == "compromised",
            Action::Suspend => state == "suspended",
            Action::DestroyRequested => version.get("proposed").is_some_and(|proposed| {
                proposed["who"] == act.who.to_string()
                    && proposed["why"] == act.why.as_str()
                    && proposed["forced"] == act.forced.unwrap_or_default()
            }),
            Action::Deactivate
            | Action::Restore
            | Action::Reload
            | Action::RotateRequested
            | Action::Weaken => {
                panic!("nobody does that: {act:?}")
            }
        }
    }

    /// The wall clock in whole milliseconds, as the log has it.
    fn now(&self) -> Timestamp {
        let now = Timestamp::try_from(self.clock.wall()).unwrap();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap()
    }
}

/// The whole lines of the audit log.
fn lines(content: &BTreeMap<PathBuf, Vec<u8>>) -> impl Iterator<Item = Line> {
    let logs = content.iter().filter(|(path, _content)| is_log(path));
    let lines = logs.flat_map(|(_path, log)| log.split_inclusive(|byte| *byte == b'\n'));
    lines.filter_map(|line| Line::parse(line).ok())
}

fn is_record(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let is_json = path.extension().is_some_and(|kind| kind == "json");
    folder.is_some_and(|name| name == "catalogue") && is_json
}

fn is_log(path: &Path) -> bool {
    path.ends_with("audit/log.jsonl")
}
