//! What a policy says of a subject.

use super::rule::KeyringId;

/// What happens to the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Passed unchanged: a system subject, or one that no keyring covers.
    Pass,
    /// Sealed on publish and opened on deliver, under this keyring.
    Keyring(KeyringId),
    /// A reply subject (`_INBOX.>`, `_R_.>`, or under a configured inbox prefix): the request decides. If it is unknown, the
    /// keyring whose patterns cover the subject, if any.
    Reply(Option<KeyringId>),
}

/// The result of [`super::Policy::lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What happens to its payloads.
    pub route: Route,
    /// Who reads its payloads.
    pub role: Role,
    /// Whether the pattern that decided has a literal token, unlike `>` or `*.>`.
    pub explicit: bool,
    pub(super) prefix: usize,
}

/// Who reads the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Clients: an ordinary subject.
    User,
    /// The requester: a reply subject.
    Reply,
    /// JetStream: a request to its API.
    Api,
    /// The server, or every client of the account.
    System,
}

impl Route {
    /// The keyring of [`Route::Keyring`].
    #[must_use]
    pub const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Pass | Self::Reply(_) => None,
        }
    }

    /// The same, or the keyring whose patterns cover a reply subject.
    #[must_use]
    pub const fn covering_keyring(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Reply(covering) => covering,
            Self::Pass => None,
        }
    }
}

impl Lookup {
    /// The subject that an envelope is bound to: `subject`, which was looked up, without the JetStream domain or API prefix
    /// through which a key-value or object store was written.
    #[must_use]
    pub fn normalise<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        match self.role {
            Role::User => self.rest(subject),
            Role::Reply | Role::Api | Role::System => subject,
        }
    }

    /// The keyring of a subject that a pattern with a literal token covers and that is no reply subject: even as the reply
    /// subject of a request it carries ordinary messages.
    #[must_use]
    pub fn explicit_user_keyring(&self) -> Option<KeyringId> {
        let is_work = self.explicit && self.role == Role::User;
        self.route.keyring().filter(|_| is_work)
    }

    /// The keyring of a subject that a pattern with a literal token covers. Naming it as a reply subject amounts to publishing to
    /// it.
    #[must_use]
    pub fn explicit_keyring(&self) -> Option<KeyringId> {
        self.route.keyring().filter(|_| self.explicit)
    }

    /// What follows `$JS.API.`, or the prefix in its place, in a request to JetStream.
    #[must_use]
    pub fn request<'a>(&self, subject: &'a [u8]) -> Option<&'a [u8]> {
        (self.role == Role::Api).then(|| self.rest(subject))
    }

    fn rest<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        subject.get(self.prefix..).unwrap_or(subject)
    }
}
