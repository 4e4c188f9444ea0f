//! The words of the log: enums with one spelling for each variant, in both directions.

use serde::{Deserialize, Serialize};

/// A word that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of: {known}")]
pub struct UnknownWord {
    /// The word.
    pub given: String,
    /// The known words.
    pub known: String,
}

/// An enum of words: its variants and their spelling.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.iter().find(|known| known.word() == text);
                found.copied().ok_or_else(|| UnknownWord {
                    given: text.to_owned(),
                    known: Self::ALL.iter().map(|known| known.word()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

words! {
    /// An action on a key version, or on the configuration that governs it.
    Action {
        /// A secret is generated, wrapped and made durable.
        Generate = "generate",
        /// Every member has proven that it holds the version: it may open, and become active.
        Admit = "admit",
        /// A version begins to seal; its predecessor is deactivated in the same step.
        Activate = "activate",
        /// A version stops sealing; the line names no successor.
        Deactivate = "deactivate",
        /// A version is archived: loaded on demand only.
        Archive = "archive",
        /// An archived version is loaded again.
        Restore = "restore",
        /// A version neither seals nor opens until it is resumed or revoked.
        Suspend = "suspend",
        /// A suspended version returns to its former state.
        Resume = "resume",
        /// A version is declared compromised.
        Compromise = "compromise",
        /// A version's secret is erased.
        Destroy = "destroy",
        /// The configuration protects less than before: the line names each change.
        Weaken = "weaken",
        /// The configuration is read again.
        Reload = "reload",
        /// The destruction of a version is requested, and waits for approval by a second person.
        DestroyRequested = "destroy-requested",
        /// A rotation is requested.
        RotateRequested = "rotate-requested",
        /// A rotation that was under way is aborted.
        Abort = "abort",
    }
}

words! {
    /// What triggered an action.
    Trigger {
        /// The cryptoperiod, the overlap or a retention is over.
        Time = "time",
        /// The limit of messages under a version.
        Messages = "messages",
        /// The limit of bytes under a version.
        Bytes = "bytes",
        /// A limit would be reached before a successor is in place.
        Forecast = "forecast",
        /// A key is compromised, or suspected to be.
        Compromise = "compromise",
        /// A person with access left, or changed roles.
        Personnel = "personnel",
        /// A new deployment.
        Deployment = "deployment",
        /// A person's request.
        Manual = "manual",
        /// The start of a gateway.
        Start = "start",
        /// Too many messages that did not open.
        FailedOpens = "failed-opens",
    }
}

words! {
    /// The interface by which an action was requested.
    Channel {
        /// The unix socket.
        AdminSocket = "admin-socket",
        /// The administration's TCP port.
        AdminTcp = "admin-tcp",
        /// A command on the state directory, without a running gateway.
        CommandLine = "command-line",
        /// None: the gateway's own rules.
        Gateway = "gateway",
        /// A signal.
        Signal = "signal",
    }
}

words! {
    /// What the key version may be used for after the action.
    IntendedUse {
        /// It seals and opens (NIST: originator and recipient usage).
        SealAndOpen = "seal-and-open",
        /// It opens only (NIST: recipient usage).
        Open = "open",
        /// Neither.
        Nothing = "nothing",
    }
}

words! {
    /// The outcome of a key event, without the reason.
    OutcomeKind {
        /// It is done.
        Done = "done",
        /// It was tried and failed.
        Failed = "failed",
        /// It was not tried.
        Refused = "refused",
        /// It was tried, and its outcome is not known yet: a later line for the same event has it.
        Unknown = "unknown",
    }
}
