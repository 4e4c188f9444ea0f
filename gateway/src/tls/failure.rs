//! Why a handshake failed, in few words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a handshake failed: the label of the metric, and a word for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer speaks something else.
    NotTls,
    /// No version, cipher or signature in common.
    Incompatible,
    /// The peer showed no certificate, and needs one.
    NoCertificate,
    /// The peer's certificate is out of date.
    Expired,
    /// It was revoked, or may have been: there is no list of its CA.
    Revoked,
    /// No CA that is believed has signed it.
    UnknownCa,
    /// It is for another name.
    WrongName,
    /// Something else is wrong with it.
    BadCertificate,
    /// The peer ended the handshake, which mostly means that it does not believe our certificate.
    Declined,
    /// The peer has gone.
    Closed,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Other,
}

impl Failure {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::NotTls,
        Self::Incompatible,
        Self::NoCertificate,
        Self::Expired,
        Self::Revoked,
        Self::UnknownCa,
        Self::WrongName,
        Self::BadCertificate,
        Self::Declined,
        Self::Closed,
        Self::TimedOut,
        Self::Other,
    ];

    /// The label value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotTls => "not-tls",
            Self::Incompatible => "incompatible",
            Self::NoCertificate => "no-certificate",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UnknownCa => "unknown-ca",
            Self::WrongName => "wrong-name",
            Self::BadCertificate => "bad-certificate",
            Self::Declined => "declined",
            Self::Closed => "closed",
            Self::TimedOut => "timed-out",
            Self::Other => "other",
        }
    }

    /// What a socket's error comes from; TLS wraps its own in them.
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
