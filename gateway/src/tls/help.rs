//! Remedies for failed handshakes, with the file or configuration key to look at.

use super::failure::Failure;
use super::settings::{ListenerTls, ServerTls};

const NO_VERSION: &str = "needs TLS 1.2 or 1.3, with a cipher of forward secrecy (ECDHE)";

impl ListenerTls {
    /// The remedy after a failed handshake with a client; may be empty.
    #[must_use]
    pub fn help(&self, failure: Failure) -> String {
        let own = self.own.certificate.display();
        let authorities = self.authorities();
        let ca = || authorities.map(|all| all.ca.display().to_string());
        let crl = || {
            authorities
                .and_then(|all| all.crl.as_ref())
                .map(|crl| crl.display().to_string())
        };
        match failure {
            Failure::NotTls => {
                "the client speaks no TLS; give it a `tls://` URL, or set `plaintext` in [tls]"
                    .to_owned()
            }
            Failure::Declined => {
                format!(
                    "the client does not accept the certificate in {own}; give the client its CA"
                )
            }
            Failure::NoCertificate => "give the client a certificate".to_owned(),
            Failure::UnknownCa => {
                format!(
                    "no CA in {} has signed the client's certificate",
                    ca().unwrap_or_default()
                )
            }
            Failure::Revoked => format!(
                "{} has revoked the client's certificate, or has no list of its CA",
                crl().unwrap_or_default()
            ),
            Failure::Expired => "give the client a certificate that is valid now".to_owned(),
            Failure::Incompatible => format!("the client {NO_VERSION}"),
            Failure::WrongName
            | Failure::BadCertificate
            | Failure::Closed
            | Failure::TimedOut
            | Failure::Other => String::new(),
        }
    }
}

impl ServerTls {
    /// The remedy after a failed handshake with a server; may be empty.
    #[must_use]
    pub fn help(&self, failure: Failure) -> String {
        match failure {
        Failure::UnknownCa => match &self.ca {
            Some(ca) => format!("no CA in {} has signed the server's certificate", ca.display()),
            None => "no CA that the system trusts has signed the server's certificate; set `ca` in [server-tls]".to_owned(),
        },
        Failure::WrongName => "the server's certificate is for another name; set `server-name` in [server-tls]".to_owned(),
        Failure::Declined | Failure::Closed => match &self.own {
            Some(own) => format!("the server may not accept the certificate in {}", own.certificate.display()),
            None => "the server may want a certificate; set `certificate` and `key` in [server-tls]".to_owned(),
        },
        Failure::NotTls => "the server speaks no TLS there; set `handshake-first` in [server-tls] as the server does".to_owned(),
        Failure::TimedOut => "set `handshake-first` in [server-tls] as the server does, or raise `limits.handshake-timeout`".to_owned(),
        Failure::Expired => "the server needs a certificate that is valid now".to_owned(),
        Failure::BadCertificate => "the server needs a certificate for servers, which a CA has signed, not that of a CA itself".to_owned(),
        Failure::Incompatible => format!("the server {NO_VERSION}"),
        Failure::NoCertificate | Failure::Revoked | Failure::Other => String::new(),
    }
    }
}
