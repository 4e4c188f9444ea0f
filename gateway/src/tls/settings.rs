//! What the configuration says of TLS: files and manners, no contents.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the gateway's listener does TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The gateway's certificate and its key.
    pub own: Pair,
    /// Whether clients show a certificate of theirs.
    pub clients: Clients,
    /// Whether clients without TLS are served too.
    pub demand: Demand,
    /// Who speaks first.
    pub handshake: Handshake,
}

/// A certificate chain and the key that belongs to it, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, then those that lead to its CA.
    pub certificate: PathBuf,
    /// The key, which nobody but its owner may read.
    pub key: PathBuf,
}

/// Whether clients show a certificate. One that is shown is always checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// It is not asked for.
    Unasked,
    /// It is asked for; a client may have none.
    Optional(Authorities),
    /// A client without one is turned away.
    Required(Authorities),
}

/// Who signs clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Their CAs.
    pub ca: PathBuf,
    /// What the CAs have revoked: a list for each of them. `None`: nothing.
    pub crl: Option<PathBuf>,
}

/// Whether a client has to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It has to.
    Required,
    /// It may; the first byte that it sends decides (`allow_non_tls` of nats-server).
    Optional,
}

/// Who speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The gateway, in the clear: INFO, then the handshake.
    AfterInfo,
    /// The client: the handshake, then INFO (`handshake_first` of nats-server).
    First,
    /// The client, if it does so within this time; else INFO comes first.
    Automatic(Duration),
}

/// How the gateway does TLS with servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToServer {
    /// The CAs that sign servers' certificates; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// What the gateway shows to servers that ask for it.
    pub own: Option<Pair>,
    /// The name in servers' certificates, in place of the host that is dialled.
    pub server_name: Option<String>,
    /// The handshake comes before the server's INFO.
    pub handshake_first: bool,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The certificate that clients see.
    Certificate,
    /// Its key.
    Key,
    /// The CAs of clients' certificates.
    ClientCa,
    /// What these have revoked.
    Crl,
    /// The CAs of servers' certificates.
    ServerCa,
    /// The certificate that servers see.
    ServerCertificate,
    /// Its key.
    ServerKey,
}

impl Listener {
    /// Who signs clients' certificates; `None` when they are not asked for any.
    #[must_use]
    pub const fn authorities(&self) -> Option<&Authorities> {
        match &self.clients {
            Clients::Unasked => None,
            Clients::Optional(authorities) | Clients::Required(authorities) => Some(authorities),
        }
    }
}

impl Role {
    /// The key of the configuration that names the file; also the label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "tls.certificate",
            Self::Key => "tls.key",
            Self::ClientCa => "tls.client-ca",
            Self::Crl => "tls.crl",
            Self::ServerCa => "server-tls.ca",
            Self::ServerCertificate => "server-tls.certificate",
            Self::ServerKey => "server-tls.key",
        }
    }

    /// Whether nobody but its owner may read the file.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::ServerKey)
    }

    /// Whether the file holds CAs of others, not a certificate of ours.
    pub(super) const fn is_ca(self) -> bool {
        matches!(self, Self::ClientCa | Self::ServerCa)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A file, where it is named.
pub(super) type Place<'a> = (Role, &'a Path);
