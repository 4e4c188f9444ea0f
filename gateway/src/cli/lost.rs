//! Messages that the running gateway has refused or withheld, by cause, with the remedy for each.

use serde::Serialize;

use crate::printable::Count;

use super::output::Line;

/// The number of messages for one cause, since the gateway started.
#[derive(Serialize)]
pub(super) struct Lost {
    keyring: String,
    /// `refused` (publish) or `withheld` (deliver).
    what: &'static str,
    cause: String,
    messages: u64,
    help: &'static str,
}

/// The metrics, and the word for each.
const COUNTERS: [(&str, &str); 2] = [
    ("keyway_refused_messages_total{", "refused"),
    ("keyway_withheld_messages_total{", "withheld"),
];

/// All losses on a Prometheus page, the most frequent cause first.
pub(super) fn lost(page: &str) -> Vec<Lost> {
    let mut found: Vec<_> = page.lines().filter_map(sample).collect();
    found.sort_by_key(|lost| std::cmp::Reverse(lost.messages));
    found
}

/// Two lines for each loss.
pub(super) fn lines(lost: &[Lost]) -> Vec<Line> {
    let each = lost.iter().flat_map(|lost| {
        let (what, cause, keyring) = (lost.what, &lost.cause, &lost.keyring);
        let count = Count(lost.messages, "message");
        [
            Line::from(format_args!(
                "{count} {what} since the start, cause {cause}, keyring {keyring}"
            )),
            Line::from(format_args!("  {}", lost.help)),
        ]
    });
    let space = (!lost.is_empty()).then(Line::default);
    space.into_iter().chain(each).collect()
}

fn sample(line: &str) -> Option<Lost> {
    let mut counters = COUNTERS.into_iter();
    let (rest, what) = counters.find_map(|(name, what)| Some((line.strip_prefix(name)?, what)))?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let messages = value.parse().ok().filter(|count| *count > 0)?;
    let label = |name: &str| {
        let (_, after) = labels.split_once(&format!("{name}=\""))?;
        Some(after.split('"').next()?.to_owned())
    };
    let cause = label("cause")?;
    Some(Lost {
        keyring: label("keyring")?,
        what,
        help: help(&cause),
        cause,
        messages,
    })
}

/// The usual reason behind a cause, and its remedy.
fn help(cause: &str) -> &'static str {
    match cause {
        "plaintext" => {
            "somebody publishes past the gateway; or answers of JetStream come through a prefix that `jetstream.api-prefixes` does not name (an import, a domain that is mapped)"
        }
        "unauthentic" => {
            "the bus delivers it on another subject than it was published on (schedule, republish, mapping, import, transform): give the keyring an alias, or `bind = \"keyring\"`; if it does not, somebody alters messages"
        }
        "answer" => {
            "it came on a reply subject, and answers nothing that was asked there: plaintext from past the gateway, a prefix of JetStream's API that `jetstream.api-prefixes` does not name, or a client that asks on one connection and listens on another"
        }
        "unknown-key" => {
            "it was sealed by a gateway with other keys (gateways do not share keys yet), or under a version that is destroyed: `keyway keys`"
        }
        "wrong-keyring" => {
            "it was sealed under another keyring than its subject has now: do subjects move between keyrings, or does the bus rename them?"
        }
        "counter" => "counters cannot be sealed: take their subjects out of the keyring",
        "destination" => {
            "a stream (republish, subject_transform) or a schedule was asked for whose messages would open for nobody: let one keyring cover both subjects, with an alias from the published to the new one, or with `bind = \"keyring\"`, and reload"
        }
        "api-prefix" => {
            "clients ask JetStream under a prefix that the configuration does not name (an import of its API): name it in `jetstream.api-prefixes`, and reload"
        }
        "identity" => "clients that `publish-by` or `deliver-to` do not name: docs/identity.md",
        "too-large" => "raise the server's `max_payload` by 64 bytes, or publish smaller messages",
        _ => "docs/metrics.md says what it means; the log names subjects",
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::metrics::Cause;

    #[test]
    fn counts_above_zero_are_told_with_their_cause_and_what_helps() {
        let page = "# HELP x\nkeyway_withheld_messages_total{keyring=\"a\",cause=\"plaintext\"} 3\nkeyway_withheld_messages_total{keyring=\"a\",cause=\"answer\"} 0\nkeyway_refused_messages_total{cause=\"counter\",keyring=\"b\"} 12\nkeyway_withheld_bytes_total{keyring=\"a\",cause=\"plaintext\"} 3\n";
        let found = lost(page);
        let told: Vec<_> = found
            .iter()
            .map(|lost| {
                (
                    lost.what,
                    lost.keyring.as_str(),
                    lost.cause.as_str(),
                    lost.messages,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("refused", "b", "counter", 12),
                ("withheld", "a", "plaintext", 3)
            ]
        );
        assert!(
            found
                .iter()
                .all(|lost| !lost.help.starts_with("docs/metrics"))
        );
        assert_eq!(lines(&found).len(), 5);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn causes_with_a_remedy_of_their_own_exist() {
        let known: Vec<_> = Cause::VARIANTS.iter().map(<&str>::from).collect();
        for cause in [
            "plaintext",
            "unauthentic",
            "answer",
            "unknown-key",
            "wrong-keyring",
            "counter",
            "destination",
            "api-prefix",
            "identity",
            "too-large",
        ] {
            assert!(known.contains(&cause), "{cause}");
        }
    }
}
