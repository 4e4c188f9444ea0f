//! Names and validity of certificates and revocation lists.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::settings::Role;

/// How long before its expiry there is a warning.
const SOON: Duration = Duration::from_hours(24 * 30);

/// One certificate or revocation list in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// What the file is for.
    pub role: Role,
    /// The file.
    pub path: PathBuf,
    /// The subject as in RFC 4514; of a revocation list: its issuer.
    pub subject: String,
    /// The start of its validity.
    pub not_before: SystemTime,
    /// The end of its validity; `None` for a list without `nextUpdate`.
    pub not_after: Option<SystemTime>,
}

/// Something that works now and needs attention, or a certificate that has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What the file is for.
    pub role: Role,
    /// What is wrong.
    pub message: String,
    /// The remedy.
    pub help: &'static str,
}

/// The names in a client's verified certificate; made by a completed handshake only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The subject as in RFC 4514, the most specific part first: `CN=agent-7,OU=billing,O=Example`.
    pub subject: String,
    /// The subject alternative names.
    pub names: Names,
}

/// The subject alternative names of a certificate, by kind, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names.
    pub dns: Vec<String>,
    /// URIs, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
}

impl CertificateInfo {
    pub(super) fn of_certificate(
        role: Role,
        path: &Path,
        certificate: &CertificateDer<'_>,
    ) -> Result<Self, der::Error> {
        let said = Certificate::from_der(certificate)?.tbs_certificate;
        Ok(Self {
            role,
            path: path.to_owned(),
            subject: said.subject.to_string(),
            not_before: said.validity.not_before.to_system_time(),
            not_after: Some(said.validity.not_after.to_system_time()),
        })
    }

    /// Whether it is valid at `now`.
    pub(super) fn holds_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && self.not_after.is_none_or(|end| now <= end)
    }

    /// The warning about its validity, if there is one.
    fn warning(&self, now: SystemTime) -> Option<Warning> {
        let end = self.not_after?;
        let (what, subject, path) = (self.what(), &self.subject, self.path.display());
        let when = if now > end {
            format!("has expired on {}", date(end))
        } else if now < self.not_before {
            format!("is not valid before {}", date(self.not_before))
        } else if self.role != Role::Crl && now.checked_add(SOON).is_none_or(|soon| soon > end) {
            format!("expires on {}", date(end))
        } else {
            return None;
        };
        Some(Warning {
            role: self.role,
            message: format!("the {what} of {subject} in {path} {when}"),
            help: "replace the file; it is read again by itself",
        })
    }

    fn what(&self) -> &'static str {
        match self.role {
            Role::Crl => "revocation list",
            Role::ClientCa | Role::ServerCa => "CA certificate",
            Role::Certificate | Role::Key | Role::ServerCertificate | Role::ServerKey => {
                "certificate"
            }
        }
    }
}

/// Warnings about `facts`. A file of CAs is fine as long as one is valid: expired ones are often left in such files.
pub(super) fn warnings(facts: &[CertificateInfo], now: SystemTime) -> Vec<Warning> {
    let said = |fact: &CertificateInfo| {
        let of_a_good_file = fact.role.is_ca()
            && facts
                .iter()
                .any(|other| other.role == fact.role && other.warning(now).is_none());
        fact.warning(now).filter(|_| !of_a_good_file)
    };
    facts.iter().filter_map(said).collect()
}

/// The expiry of the file of this role: that of the first of our own certificates, or of the last CA.
pub(super) fn expiry(facts: &[CertificateInfo], role: Role) -> Option<SystemTime> {
    let ends = facts.iter().filter(|fact| fact.role == role);
    let ends = ends.filter_map(|fact| fact.not_after);
    if role.is_ca() { ends.max() } else { ends.min() }
}

impl Peer {
    /// The names in the end-entity certificate, which the handshake has verified. `None` without one, or when it cannot be read.
    #[must_use]
    pub fn of(connection: &rustls::ServerConnection) -> Option<Self> {
        if connection.is_handshaking() {
            return None;
        }
        Self::read(connection.peer_certificates()?.first()?).ok()
    }

    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, der::Error> {
        let said = Certificate::from_der(certificate)?.tbs_certificate;
        let alternatives = said.get::<SubjectAltName>()?;
        let alternatives = alternatives.map(|(_critical, SubjectAltName(names))| names);
        let mut names = Names::default();
        for name in alternatives.iter().flatten() {
            names.add(name);
        }
        let subject = said.subject.to_string();
        Ok(Self { subject, names })
    }
}

impl Names {
    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(name) => self.dns.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => self.uris.push(uri.to_string()),
            GeneralName::Rfc822Name(mail) => self.emails.push(mail.to_string()),
            GeneralName::IpAddress(bytes) => self.ips.extend(ip(bytes.as_bytes())),
            GeneralName::OtherName(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::RegisteredId(_) => {}
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let six = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(six).ok()
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}; {}", self.role, self.message, self.help)
    }
}

/// RFC 3339: `2027-01-31T12:00:00Z`.
pub(super) fn date(moment: SystemTime) -> String {
    Timestamp::try_from(moment).map_or_else(
        |_beyond_the_calendar| "a time beyond the calendar".to_owned(),
        |timestamp| timestamp.to_string(),
    )
}
