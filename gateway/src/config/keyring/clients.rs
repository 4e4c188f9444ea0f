//! Whom a keyring is for.

use toml::de::DeValue;

use crate::config::finding::Wrong;
use crate::config::schema;
use crate::config::section::Section;
use crate::config::value;
use crate::policy::{BadClient, Clients, Kind, Listed};

/// Who may publish, and to whom is delivered; `None`: a mistake, which is recorded.
pub(super) fn convert(section: &Section<'_>) -> Option<(Clients, Clients)> {
    let publish_by = list(section, "publish-by");
    let deliver_to = list(section, "deliver-to");
    Some((publish_by?, deliver_to?))
}

fn list(section: &Section<'_>, name: &str) -> Option<Clients> {
    if !section.has(name) {
        return Some(Clients::Everybody);
    }
    let listed = section.many(name, listed)?.into_iter();
    Some(Clients::These(listed.map(|(item, _place)| item).collect()))
}

fn listed(value: &DeValue<'_>) -> Result<Listed, Wrong> {
    let written = value::text(value)?;
    written.parse().map_err(|bad: BadClient| {
        let message = bad.to_string();
        match bad {
            BadClient::Kind(word) => Wrong::with_help(message, in_its_place(written, &word)),
            BadClient::Global => Wrong::with_help(message, "leave the list out to admit everybody"),
            BadClient::Empty
            | BadClient::Star(_)
            | BadClient::Control
            | BadClient::NotUser(_)
            | BadClient::NotAccount(_) => Wrong::new(message),
        }
    })
}

/// What may have been meant by `written`, which begins with a `word` that is no kind.
fn in_its_place(written: &str, word: &str) -> String {
    let kinds = Kind::ALL.map(Kind::word);
    let name = written.get(word.len()..).unwrap_or_default();
    match schema::closest(word, &kinds) {
        Some(kind) if !name.is_empty() => format!("did you mean `{kind}{name}`?"),
        Some(_) | None => format!("write KIND:NAME; the kinds are {}", kinds.join(", ")),
    }
}
