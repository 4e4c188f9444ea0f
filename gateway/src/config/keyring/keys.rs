//! Key management of a keyring: suite, rotation, limits, retention and destruction.

use std::time::Duration;

use crate::config::finding::ValueError;
use crate::config::gateway_config::{
    DestroyApproval, Keyring, Limit, OpenPolicy, Retain, Rotate, Terms,
};
use crate::config::section::Section;
use crate::config::value::{self, Value};
use crate::envelope::Suite;
use crate::envelope::limits::HardLimit;
use crate::policy::{Bind, Rule};

/// Longest subject that an envelope can be bound to, in bytes.
const MAX_SUBJECT_LEN: usize = 65_535;

/// A soft threshold or hard limit of a key version; `None` where a value has an error.
#[derive(Clone, Copy)]
struct Budget {
    messages: Option<u64>,
    bytes: Option<u64>,
}

/// Reads the key management of a keyring.
pub(super) fn convert(section: &Section<'_>, rule: &Rule, control_line: usize) -> Option<Keyring> {
    let suite = section.one("suite", suite);
    let thresholds = section.section("rotate");
    let (after, jitter, soft) = rotate(&thresholds);
    let hard = budget(&section.section("limit"));
    let overlap = section.one("overlap", value::duration);
    let retain = section.one("retain", value::word);
    let hold = section.one("hold", value::duration);
    let destroy = section.one("destroy", value::word);
    check_destruction(section, retain, destroy);
    let open = open_policy(section);
    let limit = limit(hard);
    if let Some(limit) = limit {
        check_cipher_bound(section, limit, longest_subject(rule, control_line));
    }
    check_thresholds(&thresholds, soft, hard);
    Some(Keyring {
        name: rule.name.clone(),
        terms: Terms {
            suite: suite?,
            rotate: Rotate {
                after: after?,
                jitter: jitter?,
                messages: soft.messages?,
                bytes: soft.bytes?,
            },
            limit: limit?,
            overlap: overlap?,
            retain: retain?,
            hold: hold?,
            destroy: destroy?,
            open: open?,
        },
    })
}

fn suite(value: Value<'_>) -> Result<Suite, ValueError> {
    let word: String = value::word(value)?;
    Ok(if word == Suite::Aes256GcmSiv.name() {
        Suite::Aes256GcmSiv
    } else {
        Suite::Aes256Gcm
    })
}

fn rotate(section: &Section<'_>) -> (Option<Duration>, Option<u8>, Budget) {
    let after = section.one("after", value::duration);
    let jitter = section.one("jitter", value::count);
    (after, jitter, budget(section))
}

/// `retain = "shred"` destroys without approval, and only `retain = "destroy"` holds.
fn check_destruction(
    section: &Section<'_>,
    retain: Option<Retain>,
    destroy: Option<DestroyApproval>,
) {
    if retain == Some(Retain::Shred) && destroy == Some(DestroyApproval::Approved) {
        let message = "with `retain = \"shred\"` a version is destroyed at the end of its overlap, whoever approves of it";
        let help = "write `retain = \"destroy\"` to wait for a second person, or remove `destroy`";
        section.error("destroy", message.to_owned(), help.to_owned());
    }
    if retain.is_some_and(|retain| retain != Retain::Destroy) && section.has("hold") {
        let message =
            "nothing is held: only what `retain = \"destroy\"` destroys waits for it".to_owned();
        section.warn(
            "hold",
            message,
            "remove it, or write `retain = \"destroy\"`",
        );
    }
}

fn open_policy(section: &Section<'_>) -> Option<OpenPolicy> {
    let suspended = section.one("open-suspended", value::boolean);
    let compromised = section.one("open-compromised", value::boolean);
    Some(match (suspended?, compromised?) {
        (false, false) => OpenPolicy::Nothing,
        (true, false) => OpenPolicy::Suspended,
        (false, true) => OpenPolicy::Compromised,
        (true, true) => OpenPolicy::Both,
    })
}

fn budget(section: &Section<'_>) -> Budget {
    Budget {
        messages: section.one("messages", value::count),
        bytes: section.one("bytes", value::size),
    }
}

fn limit(hard: Budget) -> Option<Limit> {
    Some(Limit {
        messages: hard.messages?,
        bytes: hard.bytes?,
    })
}

/// The longest subject that an envelope authenticates, in bytes.
fn longest_subject(rule: &Rule, control_line: usize) -> usize {
    match rule.bind {
        Bind::Subject { .. } => control_line.min(MAX_SUBJECT_LEN),
        Bind::Keyring => 0,
    }
}

/// The multi-key bound of the cipher, which no limit may exceed.
fn check_cipher_bound(section: &Section<'_>, limit: Limit, longest_subject: usize) {
    let hard = HardLimit {
        messages: limit.messages,
        bytes: limit.bytes,
        longest_subject,
    };
    if let Err(over) = hard.check() {
        let help =
            "lower `limit.messages` or `limit.bytes`; the defaults are within the bound".to_owned();
        section.error("limit", over.to_string(), help);
    }
}

/// Each soft threshold must be below its hard limit, so that a successor exists before sealing stops.
fn check_thresholds(section: &Section<'_>, soft: Budget, hard: Budget) {
    let pairs = [
        ("messages", soft.messages.zip(hard.messages)),
        ("bytes", soft.bytes.zip(hard.bytes)),
    ];
    let read =
        |(name, pair): (&'static str, Option<_>)| pair.map(|(soft, hard)| (name, soft, hard));
    let pairs = pairs.into_iter().filter_map(read);
    for (name, soft, hard) in pairs.filter(|(_, soft, hard)| soft >= hard) {
        let default = if section.has(name) {
            ""
        } else {
            ", the default,"
        };
        let message = format!(
            "{soft}{default} is not below `limit.{name}` ({hard}): sealing would stop before a rotation"
        );
        section.error(
            name,
            message,
            format!("give a number below {hard}, a tenth of it or less at best"),
        );
    }
}
