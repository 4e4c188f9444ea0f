//! TLS settings: paths and modes, no contents.

use std::path::{Path, PathBuf};
use std::time::Duration;

use strum::{Display, IntoStaticStr};

/// TLS with clients: section `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The gateway's certificate and its key.
    pub own: Pair,
    /// Whether clients have to show a certificate.
    pub clients: ClientAuth,
    /// Whether clients without TLS are served too.
    pub demand: TlsPolicy,
    /// Whether the handshake comes before or after INFO.
    pub handshake: HandshakeOrder,
}

/// PEM files of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, then the intermediate ones.
    pub certificate: PathBuf,
    /// The key, which only its owner may read.
    pub key: PathBuf,
}

/// Whether clients have to show a certificate. One that is shown is always verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It is not requested.
    NotRequested,
    /// It is requested; a client may have none.
    Optional(Authorities),
    /// A client without one is rejected.
    Required(Authorities),
}

/// The CAs of clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// The CAs.
    pub ca: PathBuf,
    /// Revocation lists, one for each CA; `None`: revocation is not checked.
    pub crl: Option<PathBuf>,
}

/// Whether a client has to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Yes.
    Required,
    /// No; the first byte that it sends decides (nats-server's `allow_non_tls`).
    Optional,
}

/// Whether the handshake comes before or after INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeOrder {
    /// INFO in the clear, then the handshake.
    AfterInfo,
    /// The handshake, then INFO (nats-server's `handshake_first`).
    First,
    /// The handshake first if the client begins it within this time, otherwise INFO.
    Automatic(Duration),
}

/// TLS with servers: section `[server-tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// The CAs of servers' certificates; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's client certificate, for servers that request one.
    pub own: Option<Pair>,
    /// The expected name in servers' certificates; `None`: the dialled host.
    pub server_name: Option<String>,
    /// The handshake comes before the server's INFO.
    pub handshake_first: bool,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
pub enum Role {
    /// The gateway's certificate for clients.
    #[strum(serialize = "tls.certificate")]
    Certificate,
    /// Its key.
    #[strum(serialize = "tls.key")]
    Key,
    /// The CAs of clients' certificates.
    #[strum(serialize = "tls.client-ca")]
    ClientCa,
    /// Their revocation lists.
    #[strum(serialize = "tls.crl")]
    Crl,
    /// The CAs of servers' certificates.
    #[strum(serialize = "server-tls.ca")]
    ServerCa,
    /// The gateway's client certificate for servers.
    #[strum(serialize = "server-tls.certificate")]
    ServerCertificate,
    /// Its key.
    #[strum(serialize = "server-tls.key")]
    ServerKey,
}

impl ListenerTls {
    /// The CAs of clients' certificates; `None` when none are requested.
    #[must_use]
    pub const fn authorities(&self) -> Option<&Authorities> {
        match &self.clients {
            ClientAuth::NotRequested => None,
            ClientAuth::Optional(authorities) | ClientAuth::Required(authorities) => {
                Some(authorities)
            }
        }
    }
}

impl Role {
    /// Whether only the owner may read the file.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::ServerKey)
    }

    /// Whether the file holds CAs, not a certificate of ours.
    pub(super) const fn is_ca(self) -> bool {
        matches!(self, Self::ClientCa | Self::ServerCa)
    }
}

/// A file's role and path.
pub(super) type RoleFile<'a> = (Role, &'a Path);
