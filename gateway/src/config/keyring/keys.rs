//! Key management of a keyring: suite, rotation, limits, retention and destruction.

use crate::config::finding::ValueError;
use crate::config::gateway_config::{
    DestroyApproval, Keyring, Limit, OpenPolicy, Retain, Rotate, Terms,
};
use crate::config::section::{Section, read_all};
use crate::config::value::{self, Value};
use crate::envelope::Suite;
use crate::envelope::limits::HardLimit;
use crate::policy::{Bind, Rule};

/// Longest subject that an envelope can be bound to, in bytes.
const MAX_SUBJECT_LEN: usize = 65_535;

/// Reads the key management of a keyring.
pub(super) fn convert(section: &Section<'_>, rule: &Rule, control_line: usize) -> Option<Keyring> {
    let (thresholds, limits) = (section.section("rotate"), section.section("limit"));
    let [messages, bytes] = budget(&thresholds);
    let [most_messages, most_bytes] = budget(&limits);
    check_threshold(&thresholds, "messages", messages.zip(most_messages));
    check_threshold(&thresholds, "bytes", bytes.zip(most_bytes));
    let limit = read_all!(Limit {
        messages: most_messages,
        bytes: most_bytes,
    });
    if let Some(limit) = limit {
        check_cipher_bound(section, limit, longest_subject(rule, control_line));
    }
    let retain = section.one("retain", value::word);
    let destroy = section.one("destroy", value::word);
    check_destruction(section, retain, destroy);
    let terms = read_all!(Terms {
        suite: section.one("suite", suite),
        rotate: read_all!(Rotate {
            after: thresholds.one("after", value::duration),
            jitter: thresholds.one("jitter", value::count),
            messages: messages,
            bytes: bytes,
        }),
        limit: limit,
        overlap: section.one("overlap", value::duration),
        retain: retain,
        hold: section.one("hold", value::duration),
        destroy: destroy,
        open: open_policy(section),
    });
    terms.map(|terms| Keyring {
        name: rule.name.clone(),
        terms,
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

/// The messages and bytes of a soft threshold or hard limit of a key version.
fn budget(section: &Section<'_>) -> [Option<u64>; 2] {
    let messages = section.one("messages", value::count);
    [messages, section.one("bytes", value::size)]
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
        section.error("destroy", message, help);
    }
    if retain.is_some_and(|retain| retain != Retain::Destroy) && section.has("hold") {
        section.warn(
            "hold",
            "nothing is held: only what `retain = \"destroy\"` destroys waits for it",
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
        let help = "lower `limit.messages` or `limit.bytes`; the defaults are within the bound";
        section.error("limit", over.to_string(), help);
    }
}

/// A soft threshold must be below its hard limit, so that a successor exists before sealing stops.
fn check_threshold(section: &Section<'_>, name: &str, pair: Option<(u64, u64)>) {
    if let Some((soft, hard)) = pair.filter(|(soft, hard)| soft >= hard) {
        let default = if section.has(name) {
            ""
        } else {
            ", the default,"
        };
        let message = format!(
            "{soft}{default} is not below `limit.{name}` ({hard}): sealing would stop before a rotation"
        );
        let help = format!("give a number below {hard}, a tenth of it or less at best");
        section.error(name, message, help);
    }
}
