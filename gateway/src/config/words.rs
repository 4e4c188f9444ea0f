//! Words of the configuration that no other module has.

use strum::{EnumString, VariantNames};

/// `tls.clients`: whether clients must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum ClientCertificates {
    None,
    Optional,
    Required,
}

/// `tls.handshake`: whether the server's INFO or the client's handshake comes first.
#[derive(Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
pub(super) enum FirstSpeaker {
    #[strum(serialize = "after-info")]
    Gateway,
    #[strum(serialize = "first")]
    Client,
    #[strum(serialize = "automatic")]
    Either,
}
