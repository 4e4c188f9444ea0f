//! `publish-by` and `deliver-to`: the clients that may use a keyring.

use strum::VariantArray;

use crate::config::finding::ValueError;
use crate::config::schema;
use crate::config::section::Section;
use crate::config::value::{self, Value};
use crate::dataplane::Credential;
use crate::policy::{AllowedClient, BadClient, Clients, IdentityKind};

/// The keys of the lists.
const LISTS: [&str; 2] = ["publish-by", "deliver-to"];

/// Clients that may publish, and clients that are delivered to; `None`: an error, which is recorded.
pub(super) fn convert(section: &Section<'_>) -> Option<(Clients, Clients)> {
    let [publish_by, deliver_to] = LISTS.map(|name| list(section, name));
    publish_by.zip(deliver_to)
}

fn list(section: &Section<'_>, name: &str) -> Option<Clients> {
    if !section.has(name) {
        return Some(Clients::Everybody);
    }
    Some(Clients::These(section.list(name, listed)?))
}

/// Warns of lists, which a relay-only gateway does not enforce.
pub(super) fn warn_of_relay(section: &Section<'_>) {
    for name in LISTS.into_iter().filter(|name| section.has(name)) {
        section.warn(
            name,
            "with `relay-only = true` nobody is kept out by this list",
            "let the server's permissions say who may publish and subscribe, or remove `relay-only`",
        );
    }
}

/// Records entries that no client can match, because servers verify only these credentials.
pub(super) fn check(section: &Section<'_>, verified: &[Credential]) {
    let proves = |credentials: &[Credential]| credentials.iter().any(|one| verified.contains(one));
    for name in LISTS.into_iter().filter(|name| section.has(name)) {
        for (item, place) in section.valid(name, listed).0 {
            let help = match item.kind() {
                IdentityKind::User if !proves(&[Credential::User]) => "servers-verify = \"user\"",
                IdentityKind::Nkey if !proves(&[Credential::Nkey, Credential::Jwt]) => {
                    "servers-verify = \"nkey\", or \"jwt\","
                }
                IdentityKind::User
                | IdentityKind::Nkey
                | IdentityKind::Account
                | IdentityKind::Subject
                | IdentityKind::Dns
                | IdentityKind::Uri
                | IdentityKind::Email => continue,
            };
            section.error_at(
                place,
                name,
                format!("`{item}` is nobody: `servers-verify` does not say that servers check it"),
                format!("write {help} at the top of the file if they do; docs/identity.md says what that means"),
            );
        }
    }
}

fn listed(value: Value<'_>) -> Result<AllowedClient, ValueError> {
    let written = value::text(value)?;
    written.parse().map_err(|bad: BadClient| {
        let message = bad.to_string();
        match bad {
            BadClient::Kind(word) => ValueError::with_help(message, in_its_place(written, &word)),
            BadClient::Global => {
                ValueError::with_help(message, "leave the list out to admit everybody")
            }
            BadClient::Empty
            | BadClient::Star(_)
            | BadClient::Control
            | BadClient::NotUser(_)
            | BadClient::NotAccount(_) => ValueError::new(message),
        }
    })
}

/// A remedy for `written`, which begins with the unknown kind `word`.
fn in_its_place(written: &str, word: &str) -> String {
    let kinds: Vec<_> = IdentityKind::VARIANTS.iter().map(<&str>::from).collect();
    let name = written.get(word.len()..).unwrap_or_default();
    match schema::closest(word, &kinds) {
        Some(kind) if !name.is_empty() => format!("did you mean `{kind}{name}`?"),
        Some(_) | None => format!("write KIND:NAME; the kinds are {}", kinds.join(", ")),
    }
}
