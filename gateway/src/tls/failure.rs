//! Causes of failed handshakes.

#![expect(
    clippy::too_many_arguments,
    reason = "a table's constructor takes a value for each variant"
)]

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use strum::{EnumTable, IntoStaticStr, VariantArray};

/// Why a handshake failed, for metrics and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Failure {
    /// The peer does not speak TLS.
    NotTls,
    /// No common version, cipher suite or signature scheme.
    Incompatible,
    /// The peer sent no certificate, which is required.
    NoCertificate,
    /// The peer's certificate is not valid now.
    Expired,
    /// It was revoked, or there is no revocation list of its CA.
    Revoked,
    /// No trusted CA has signed it.
    UnknownCa,
    /// It is for another name.
    WrongName,
    /// Something else is wrong with it.
    BadCertificate,
    /// The peer sent an alert, mostly because it does not trust our certificate.
    Declined,
    /// The peer closed.
    Closed,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Other,
}

impl Failure {
    /// The cause of a socket's error, which may wrap one of rustls.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the system's enum has forty variants and grows"
    )]
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(error) = inner {
            return Self::of_tls(error);
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enums are not exhaustive"
    )]
    fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoCertificatesPresented => Self::NoCertificate,
            // RFC 8446, section 6.2: these two say nothing of a certificate.
            Error::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
            ) => Self::Incompatible,
            Error::AlertReceived(_) => Self::Declined,
            Error::InvalidCertificate(error) => match error {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::Revoked | CertificateError::UnknownRevocationStatus => {
                    Self::Revoked
                }
                CertificateError::UnknownIssuer => Self::UnknownCa,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                _ => Self::BadCertificate,
            },
            _ => Self::Other,
        }
    }
}
