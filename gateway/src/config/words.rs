//! Words of the configuration that no other module has.

use strum::{EnumString, VariantNames};

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object.
    Json,
}

/// `tls.clients`: whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum ClientCertificates {
    None,
    Optional,
    Required,
}

/// `tls.handshake`: whether the server's INFO or the client's handshake comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
pub(super) enum FirstSpeaker {
    #[strum(serialize = "after-info")]
    Gateway,
    #[strum(serialize = "first")]
    Client,
    #[strum(serialize = "automatic")]
    Either,
}
