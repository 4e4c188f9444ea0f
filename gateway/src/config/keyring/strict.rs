//! What a keyring does with plaintext, empty payloads, answers, and messages that do not open.

use std::time::{Duration, SystemTime};

use crate::config::section::{Section, read_all};
use crate::config::value;
use crate::policy::{
    Answers, AtLimit, Empty, Limit, Pattern, Plaintext, Substitute, Undecryptable,
};

/// How the subjects of key-value and object stores start.
const STORES: [&str; 3] = ["$KV.", "$O.", "$OBJ."];

/// The strictness of a keyring.
pub(super) struct Strict {
    pub(super) plaintext: Plaintext,
    pub(super) answers: Answers,
    pub(super) binds_answers: bool,
    pub(super) empty: Empty,
    pub(super) undecryptable: Undecryptable,
}

impl Default for Strict {
    fn default() -> Self {
        Self {
            plaintext: Plaintext::Reject,
            answers: Answers::default(),
            binds_answers: true,
            empty: Empty::default(),
            undecryptable: Undecryptable::default(),
        }
    }
}

/// Reads the strictness of a keyring; `None`: an error, which is recorded.
pub(super) fn convert(
    section: &Section<'_>,
    subjects: &[Pattern],
    now: SystemTime,
) -> Option<Strict> {
    read_all!(Strict {
        plaintext: plaintext(section, now),
        answers: answers(section, subjects),
        binds_answers: section.is("answers", "bound"),
        empty: section.one("empty", value::word),
        undecryptable: undecryptable(&section.section("undecryptable")),
    })
}

fn plaintext(section: &Section<'_>, now: SystemTime) -> Option<Plaintext> {
    let accept = section.is("plaintext", "accept");
    let until = section.optional("until", value::end_of_day);
    match (accept?, until?) {
        (false, None) => Some(Plaintext::Reject),
        (true, Some(until)) if until > now => {
            section.warn(
                "plaintext",
                "plaintext is delivered on protected subjects",
                "write `plaintext = \"reject\"` as soon as every publisher is behind a gateway",
            );
            Some(Plaintext::Accept { until })
        }
        (true, Some(_past)) => section.refuse(
            "until",
            "the date has passed",
            "write `plaintext = \"reject\"` and remove `until`, or give a later date",
        ),
        (true, None) => section.refuse(
            "plaintext",
            "plaintext is accepted without a date on which that ends",
            "for example: until = 2027-06-30",
        ),
        (false, Some(_)) => section.refuse(
            "until",
            "a date on which plaintext ends to be accepted, but it is rejected already",
            "remove it, or write `plaintext = \"accept\"`",
        ),
    }
}

fn answers(section: &Section<'_>, subjects: &[Pattern]) -> Option<Answers> {
    let answers: Answers = section.one("reply", value::word)?;
    let store = subjects.iter().find(|pattern| in_store(pattern));
    if let Some(store) = store.filter(|_| answers == Answers::Sealed) {
        let message = format!(
            "JetStream answers in plaintext when `{store}` is written, and the writer never learns of it"
        );
        let help = "write `reply = \"puback\"`, or move these subjects to a keyring of their own";
        section.warn("reply", message, help);
    }
    Some(answers)
}

/// Whether the subjects are those of a key-value or object store.
fn in_store(pattern: &Pattern) -> bool {
    let written = pattern.to_string();
    STORES.iter().any(|store| written.starts_with(store))
}

fn undecryptable(section: &Section<'_>) -> Option<Undecryptable> {
    let deliver = section.one("deliver", value::word);
    if deliver == Some(Substitute::Envelope) {
        section.warn(
            "deliver",
            "agents get ciphertext where a message does not open: a setting for debugging",
            "write `deliver = \"nothing\"` as soon as the cause is found",
        );
    }
    let nak_delay = section.optional("nak-delay", value::duration);
    let after = section.optional("limit", value::duration);
    check_delay(section, nak_delay.flatten().zip(after.flatten()));
    read_all!(Undecryptable {
        deliver: deliver,
        nak_delay: nak_delay,
        limit: limit(section, after),
    })
}

/// `nak-delay` must be below `limit`, which is checked only when the message is delivered again.
fn check_delay(section: &Section<'_>, pair: Option<(Duration, Duration)>) {
    let Some((delay, limit)) = pair.filter(|(delay, limit)| delay >= limit) else {
        return;
    };
    let [delay, limit] = [delay, limit].map(humantime::format_duration);
    let message = format!(
        "{delay} is not below `limit` ({limit}): the message would come back only when the limit is over"
    );
    let help = format!("give a delay below {limit}, a tenth of it or less at best");
    section.error("nak-delay", message, help);
}

fn limit(section: &Section<'_>, after: Option<Option<Duration>>) -> Option<Option<Limit>> {
    let then = section.optional("at-limit", value::word);
    match (after?, then?) {
        (None, None) => Some(None),
        (Some(after), Some(then)) => {
            if then == AtLimit::Terminate {
                section.warn(
                    "at-limit",
                    "a message that stays unreadable for so long is given up: its consumer gets it no more, and a work queue deletes it",
                    "write `at-limit = \"envelope\"`, or remove it with `limit`, to lose nothing that is stored",
                );
            }
            Some(Some(Limit { after, then }))
        }
        (Some(_), None) => section.refuse(
            "limit",
            "a limit, but not what happens when it is reached",
            "add `at-limit = \"envelope\"` or `at-limit = \"terminate\"`",
        ),
        (None, Some(_)) => section.refuse(
            "at-limit",
            "what happens at the limit, but there is none",
            "add a limit, for example `limit = \"5m\"`, or remove it",
        ),
    }
}
