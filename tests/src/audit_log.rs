//! Reads from an audit log when each key version sealed.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The period in which a version sealed, by the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealingPeriod {
    /// The begin of its activation.
    pub from: Timestamp,
    /// When a successor was active or it was revoked; `None` while it seals.
    pub until: Option<Timestamp>,
}

/// Every version that was activated, by its kid in hexadecimal.
pub fn sealing_periods(state: &Path) -> BTreeMap<String, SealingPeriod> {
    let log = std::fs::read_to_string(state.join("audit/log.jsonl")).unwrap();
    let mut all = BTreeMap::<String, SealingPeriod>::new();
    let mut active = BTreeMap::<String, String>::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["outcome"] != "done" {
            continue;
        }
        let (kid, keyring) = (text(&line["version"]["kid"]), text(&line["keyring"]));
        let completed = time(&line["completed"]);
        match line["action"].as_str().unwrap() {
            "activate" => {
                if let Some(before) = active.insert(keyring, kid.clone()) {
                    end(&mut all, &before, completed);
                }
                let from = time(&line["initiated"]).unwrap();
                all.entry(kid)
                    .or_insert(SealingPeriod { from, until: None });
            }
            "compromise" => {
                let until = time(&line["exposure"]["until"]);
                end(&mut all, &kid, until.or(completed));
            }
            "suspend" | "deactivate" => end(&mut all, &kid, completed),
            _ => {}
        }
    }
    all
}

/// Sets the end of a period, where it is earlier than the one known.
fn end(all: &mut BTreeMap<String, SealingPeriod>, kid: &str, at: Option<Timestamp>) {
    if let Some(known) = all.get_mut(kid) {
        known.until = known.until.into_iter().chain(at).min();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
