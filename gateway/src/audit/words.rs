//! The words of the log: each has one spelling, and what is read is what was written.

use serde::{Deserialize, Serialize};

/// A word that is none of those that were expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of: {known}")]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// What would be right.
    pub known: String,
}

/// An enum of words: its variants, their spelling, and both directions between the two.
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
    /// What is done to a key version, or to what governs it.
    Action {
        /// A secret is drawn, wrapped and made durable.
        Generate = "generate",
        /// Every member has proven that it holds the version: it may open, and become active.
        Admit = "admit",
        /// A version begins to seal; its predecessor is deactivated in the same step.
        Activate = "activate",
        /// A version stops sealing without a successor that is named here.
        Deactivate = "deactivate",
        /// A version is put away: loaded only when something still needs it.
        Archive = "archive",
        /// An archived version is loaded again.
        Restore = "restore",
        /// A version neither seals nor opens until somebody has looked into it.
        Suspend = "suspend",
        /// A suspended version is put back to where it was.
        Resume = "resume",
        /// A version is declared compromised.
        Compromise = "compromise",
        /// A version's secret is erased.
        Destroy = "destroy",
        /// The configuration protects less than before: the line names each change.
        Weaken = "weaken",
        /// The configuration that decides over keys is read again.
        Reload = "reload",
        /// The destruction of a version is asked for, and waits for a second person.
        DestroyRequested = "destroy-requested",
        /// A rotation is asked for.
        RotateRequested = "rotate-requested",
        /// A rotation that was under way is given up.
        Abort = "abort",
    }
}

words! {
    /// What set it off.
    Trigger {
        /// The cryptoperiod, the overlap or a retention is over.
        Time = "time",
        /// The messages that a version may seal.
        Messages = "messages",
        /// The bytes that a version may seal.
        Bytes = "bytes",
        /// A limit would be reached before a successor is in place.
        Forecast = "forecast",
        /// A key may be known to others.
        Compromise = "compromise",
        /// Somebody left, or changed what they do.
        Personnel = "personnel",
        /// A new deployment.
        Deployment = "deployment",
        /// Somebody wanted it.
        Manual = "manual",
        /// The gateway starts, and goes on with what it finds.
        Start = "start",
        /// Too many messages that did not open.
        FailedOpens = "failed-opens",
    }
}

words! {
    /// The way by which it was asked for.
    Through {
        /// The unix socket.
        AdminSocket = "admin-socket",
        /// The administration's TCP port.
        AdminTcp = "admin-tcp",
        /// A command on the state directory, without a gateway.
        CommandLine = "command-line",
        /// Nobody asked: the gateway's own rules.
        Gateway = "gateway",
        /// A signal.
        Signal = "signal",
    }
}

words! {
    /// What the key version is for once the act is done.
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
    /// What came of a key event, in a word.
    OutcomeWord {
        /// It is done.
        Done = "done",
        /// It was tried and failed.
        Failed = "failed",
        /// It was not tried.
        Refused = "refused",
        /// It was tried, and what came of it is not known yet: a later line for the same event says so.
        Unknown = "unknown",
    }
}
