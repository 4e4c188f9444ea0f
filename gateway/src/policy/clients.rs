//! The clients that a keyring admits: verified names of a client, and lists of admitted names.

use std::fmt;
use std::str::FromStr;

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The kind of a client's name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum IdentityKind {
    /// A public user nkey, `U…`.
    Nkey,
    /// The user name of user and password.
    User,
    /// An account: the public nkey, `A…`, that signed a user's JWT, or the server's name for the account.
    Account,
    /// The subject of a client certificate.
    Subject,
    /// A DNS name of a client certificate.
    Dns,
    /// A URI of a client certificate.
    Uri,
    /// A mail address of a client certificate.
    Email,
}

/// A set of kinds, displayed as words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityKinds(u8);

/// A client's name and its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientName {
    kind: IdentityKind,
    text: Box<str>,
}

/// An item of a list of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedClient {
    /// Clients with this name.
    Name(ClientName),
    /// Clients with any name of this kind.
    Any(IdentityKind),
}

/// The clients that one direction of a keyring admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// All clients, with or without verified names.
    #[default]
    Everybody,
    /// Clients with one of these verified names; none if the list is empty.
    These(Vec<AllowedClient>),
}

/// Why an item of a list is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClient {
    /// An unknown or missing kind: the text in its place.
    #[error("`{0}` is no kind of identity")]
    Kind(String),
    /// Nothing behind the colon.
    #[error("a name is empty: give one, or `*` for any")]
    Empty,
    /// `*` inside a name.
    #[error("`{0}` has a `*` inside a name: it stands alone, for any name of its kind")]
    Star(String),
    /// A line break or the like.
    #[error("a name holds a control character")]
    Control,
    /// Not a public nkey of a user.
    #[error("`{0}` is not a public nkey of a user: they begin with `U` and have 56 characters")]
    NotUser(String),
    /// An nkey of an account with a wrong checksum.
    #[error("`{0}` is not a public nkey of an account: its checksum does not fit")]
    NotAccount(String),
    /// The global account `$G`, which holds all clients without an account of their own.
    #[error("`$G` is the account of everybody who has no other")]
    Global,
}

/// Longest name in bytes; longer ones match nothing, so that they need not be kept.
pub const MAX_NAME_LEN: usize = 4096;

/// The length of a public nkey in characters.
const NKEY_LEN: usize = 56;

/// The server's global account, for clients without one of their own.
const GLOBAL: &str = "$G";

impl IdentityKind {
    const fn bit(self) -> u8 {
        match self {
            Self::Nkey => 1,
            Self::User => 1 << 1,
            Self::Account => 1 << 2,
            Self::Subject => 1 << 3,
            Self::Dns => 1 << 4,
            Self::Uri => 1 << 5,
            Self::Email => 1 << 6,
        }
    }
}

impl IdentityKinds {
    /// Adds a kind.
    #[must_use]
    pub const fn with(self, kind: IdentityKind) -> Self {
        Self(self.0 | kind.bit())
    }
}

impl ClientName {
    /// A verified name; `None` for one that identifies nobody: empty, longer than [`MAX_NAME_LEN`], or the global account.
    #[must_use]
    pub fn proven(kind: IdentityKind, text: &str) -> Option<Self> {
        if text.len() > MAX_NAME_LEN {
            return None;
        }
        let text = spelt(kind, text);
        let is_nobodys = text.is_empty() || kind == IdentityKind::Account && &*text == GLOBAL;
        (!is_nobodys).then_some(Self { kind, text })
    }

    /// Length in bytes.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> IdentityKind {
        self.kind
    }
}

impl AllowedClient {
    /// The kind of names that it admits.
    #[must_use]
    pub const fn kind(&self) -> IdentityKind {
        match self {
            Self::Name(name) => name.kind,
            Self::Any(kind) => *kind,
        }
    }

    fn admits(&self, name: &ClientName) -> bool {
        match self {
            Self::Name(listed) => listed == name,
            Self::Any(kind) => *kind == name.kind,
        }
    }
}

impl Clients {
    /// Whether a client with these names is admitted.
    pub fn admit<'n>(&self, names: impl IntoIterator<Item = &'n ClientName>) -> bool {
        match self {
            Self::Everybody => true,
            Self::These(listed) => names
                .into_iter()
                .any(|name| listed.iter().any(|item| item.admits(name))),
        }
    }

    /// The list in the configuration's spelling; `None` for everybody.
    #[must_use]
    pub fn listed(&self) -> Option<Vec<String>> {
        match self {
            Self::Everybody => None,
            Self::These(listed) => Some(listed.iter().map(ToString::to_string).collect()),
        }
    }
}

/// A name in the form that is compared: DNS names ignore letter case.
fn spelt(kind: IdentityKind, text: &str) -> Box<str> {
    match kind {
        IdentityKind::Dns => text.to_ascii_lowercase().into_boxed_str(),
        IdentityKind::Nkey
        | IdentityKind::User
        | IdentityKind::Account
        | IdentityKind::Subject
        | IdentityKind::Uri
        | IdentityKind::Email => text.into(),
    }
}

fn looks_like_account_key(text: &str) -> bool {
    text.len() == NKEY_LEN && text.starts_with('A')
}

/// Whether `text` is the public nkey of a user.
#[must_use]
pub(crate) fn is_user_key(text: &str) -> bool {
    text.starts_with('U') && nkeys::from_public_key(text).is_ok()
}

/// Whether `text` is the public nkey of an account.
#[must_use]
pub(crate) fn is_account_key(text: &str) -> bool {
    text.starts_with('A') && nkeys::from_public_key(text).is_ok()
}

impl FromStr for AllowedClient {
    type Err = BadClient;

    fn from_str(text: &str) -> Result<Self, BadClient> {
        let (word, name) = text.split_once(':').unwrap_or((text, ""));
        let kind = word.parse::<IdentityKind>().ok();
        let kind = kind.ok_or_else(|| BadClient::Kind(word.to_owned()))?;
        if name == "*" {
            return Ok(Self::Any(kind));
        }
        if name.contains('*') {
            return Err(BadClient::Star(name.to_owned()));
        }
        if name.chars().any(char::is_control) {
            return Err(BadClient::Control);
        }
        match kind {
            IdentityKind::Nkey if !name.is_empty() && !is_user_key(name) => {
                return Err(BadClient::NotUser(name.to_owned()));
            }
            IdentityKind::Account if looks_like_account_key(name) && !is_account_key(name) => {
                return Err(BadClient::NotAccount(name.to_owned()));
            }
            IdentityKind::Account if name == GLOBAL => return Err(BadClient::Global),
            IdentityKind::Nkey
            | IdentityKind::Account
            | IdentityKind::User
            | IdentityKind::Subject
            | IdentityKind::Dns
            | IdentityKind::Uri
            | IdentityKind::Email => {}
        }
        let named = ClientName::proven(kind, name).ok_or(BadClient::Empty)?;
        Ok(Self::Name(named))
    }
}

impl fmt::Display for AllowedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(ClientName { kind, text }) => write!(f, "{}:{text}", <&str>::from(kind)),
            Self::Any(kind) => write!(f, "{}:*", <&str>::from(kind)),
        }
    }
}

impl fmt::Display for IdentityKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        let has = |kind: &&IdentityKind| self.0 & kind.bit() != 0;
        for kind in IdentityKind::VARIANTS.iter().filter(has) {
            write!(f, "{before}{}", <&str>::from(kind))?;
            before = " ";
        }
        if before.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<AllowedClient, BadClient> {
        text.parse()
    }

    fn name(kind: IdentityKind, text: &str) -> ClientName {
        ClientName::proven(kind, text).unwrap()
    }

    #[test]
    fn list_admits_exact_names_of_its_kinds_and_no_others() {
        let list = ["user:planner", "dns:Planner.Example", "account:*"];
        let clients = Clients::These(list.map(|text| listed(text).unwrap()).into());
        let admits = |kind, text| clients.admit(&[name(kind, text)]);
        assert!(
            admits(IdentityKind::User, "planner") && admits(IdentityKind::Dns, "planner.EXAMPLE")
        );
        assert!(admits(IdentityKind::Account, "any"));
        for (kind, text) in [
            (IdentityKind::User, "Planner"),
            (IdentityKind::User, "planner "),
            (IdentityKind::User, "*"),
            (IdentityKind::Email, "planner"),
            (IdentityKind::Subject, "planner"),
        ] {
            assert!(!admits(kind, text), "{kind:?} {text}");
        }
        assert!(!clients.admit([]));
        assert!(clients.admit(&[
            name(IdentityKind::User, "x"),
            name(IdentityKind::User, "planner")
        ]));
    }

    #[test]
    fn empty_list_admits_nobody_and_none_admits_everybody() {
        let somebody = [name(IdentityKind::User, "planner")];
        assert!(!Clients::These(Vec::new()).admit(&somebody));
        assert!(Clients::Everybody.admit(&somebody) && Clients::Everybody.admit([]));
    }

    #[test]
    fn text_of_an_item_is_what_was_read() {
        let user = nkeys::KeyPair::new_user().public_key();
        let account = nkeys::KeyPair::new_account().public_key();
        for text in [
            &format!("nkey:{user}"),
            &format!("account:{account}"),
            "account:ACME",
            "subject:CN=planner,O=Example",
            "uri:spiffe://example/planner",
            "email:a@b.example",
            "user:*",
        ] {
            assert_eq!(listed(text).unwrap().to_string(), *text);
        }
    }

    #[test]
    fn item_that_names_nobody_is_refused() {
        let user = nkeys::KeyPair::new_user().public_key();
        let account = nkeys::KeyPair::new_account().public_key();
        assert_eq!(listed("usr:a"), Err(BadClient::Kind("usr".to_owned())));
        assert_eq!(
            listed("planner"),
            Err(BadClient::Kind("planner".to_owned()))
        );
        assert_eq!(listed("user:"), Err(BadClient::Empty));
        assert_eq!(listed("user"), Err(BadClient::Empty));
        assert_eq!(listed("user:p*"), Err(BadClient::Star("p*".to_owned())));
        assert_eq!(listed("user:a\nb"), Err(BadClient::Control));
        assert_eq!(listed("account:$G"), Err(BadClient::Global));
        assert_eq!(
            listed(&format!("nkey:{account}")),
            Err(BadClient::NotUser(account))
        );
        let torn = user.get(..55).unwrap().to_owned();
        assert_eq!(
            listed(&format!("nkey:{torn}")),
            Err(BadClient::NotUser(torn))
        );
        let wrong = format!("A{}", "B".repeat(55));
        assert_eq!(
            listed(&format!("account:{wrong}")),
            Err(BadClient::NotAccount(wrong))
        );
    }

    #[test]
    fn account_of_everybody_is_nobodys() {
        let account = |text| ClientName::proven(IdentityKind::Account, text);
        assert_eq!((account("$G"), account("")), (None, None));
        assert!(account("ACME").is_some());
    }

    #[test]
    fn kinds_are_told_as_words() {
        let kinds = IdentityKinds::default()
            .with(IdentityKind::Account)
            .with(IdentityKind::Nkey);
        assert_eq!(kinds.to_string(), "nkey account");
        assert_eq!(IdentityKinds::default().to_string(), "none");
    }
}
