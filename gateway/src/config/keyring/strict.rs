//! What a keyring does with plaintext, empty payloads, answers, and messages that do not open.

use std::time::{Duration, SystemTime};

use crate::config::section::Section;
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
    let plaintext = plaintext(section, now);
    let answers = answers(section, subjects);
    let binds_answers = section.one("answers", value::is("bound"));
    let empty = section.one("empty", value::word);
    let undecryptable = undecryptable(&section.section("undecryptable"));
    Some(Strict {
        plaintext: plaintext?,
        answers: answers?,
        binds_answers: binds_answers?,
        empty: empty?,
        undecryptable: undecryptable?,
    })
}

fn plaintext(section: &Section<'_>, now: SystemTime) -> Option<Plaintext> {
    let accept = section.one("plaintext", value::is("accept"));
    let until = section.optional("until", value::end_of_day);
    match (accept?, until?) {
        (false, None) => Some(Plaintext::Reject),
        (true, Some(until)) if until > now => {
            section.warn(
                "plaintext",
                "plaintext is delivered on protected subjects".to_owned(),
                "write `plaintext = \"reject\"` as soon as every publisher is behind a gateway",
            );
            Some(Plaintext::Accept { until })
        }
        (true, Some(_past)) => {
            let help = "write `plaintext = \"reject\"` and remove `until`, or give a later date";
            section.error("until", "the date has passed".to_owned(), help.to_owned());
            None
        }
        (true, None) => {
            let message = "plaintext is accepted without a date on which that ends".to_owned();
            section.error(
                "plaintext",
                message,
                "for example: until = 2027-06-30".to_owned(),
            );
            None
        }
        (false, Some(_)) => {
            let message =
                "a date on which plaintext ends to be accepted, but it is rejected already"
                    .to_owned();
            section.error(
                "until",
                message,
                "remove it, or write `plaintext = \"accept\"`".to_owned(),
            );
            None
        }
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
    let deliver = deliver(section);
    let nak_delay = section.optional("nak-delay", value::duration);
    let after = section.optional("limit", value::duration);
    let then = section.optional("at-limit", value::word);
    check_delay(section, nak_delay.flatten().zip(after.flatten()));
    let limit = limit(section, after, then);
    Some(Undecryptable {
        deliver: deliver?,
        nak_delay: nak_delay?,
        limit: limit?,
    })
}

fn deliver(section: &Section<'_>) -> Option<Substitute> {
    let deliver: Substitute = section.one("deliver", value::word)?;
    if deliver == Substitute::Envelope {
        section.warn(
            "deliver",
            "agents get ciphertext where a message does not open: a setting for debugging"
                .to_owned(),
            "write `deliver = \"nothing\"` as soon as the cause is found",
        );
    }
    Some(deliver)
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

#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
fn limit(
    section: &Section<'_>,
    after: Option<Option<Duration>>,
    then: Option<Option<AtLimit>>,
) -> Option<Option<Limit>> {
    match (after?, then?) {
        (None, None) => Some(None),
        (Some(after), Some(then)) => {
            if then == AtLimit::Terminate {
                section.warn(
                    "at-limit",
                    "a message that stays unreadable for so long is given up: its consumer gets it no more, and a work queue deletes it".to_owned(),
                    "write `at-limit = \"envelope\"`, or remove it with `limit`, to lose nothing that is stored",
                );
            }
            Some(Some(Limit { after, then }))
        }
        (Some(_), None) => {
            section.error(
                "limit",
                "a limit, but not what happens when it is reached".to_owned(),
                "add `at-limit = \"envelope\"` or `at-limit = \"terminate\"`".to_owned(),
            );
            None
        }
        (None, Some(_)) => {
            section.error(
                "at-limit",
                "what happens at the limit, but there is none".to_owned(),
                "add a limit, for example `limit = \"5m\"`, or remove it".to_owned(),
            );
            None
        }
    }
}
