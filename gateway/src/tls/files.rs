//! The contents of TLS files, and the PEM sections in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::{Zeroize, Zeroizing};

use crate::disk::{self, AllowedOwner};
use crate::secret::on_wiped_thread;

use super::certificate::CertificateInfo;
use super::error::Error;
use super::private_key;
use super::settings::{Pair, Role, RoleFile};

/// SHA-256 of a file's contents.
pub(super) type Digest = [u8; 32];

/// The contents of one side's files; wiped on drop, since keys are among them.
pub struct Contents(Vec<File>);

pub(super) struct File {
    role: Role,
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Contents {
    /// Reads all of them.
    pub(super) fn read(places: &[RoleFile<'_>]) -> Result<Self, Error> {
        let read = |(role, path): &RoleFile<'_>| File::read(*role, path);
        places.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// In the order of the files.
    pub(super) fn digests(&self) -> Vec<(Role, Digest)> {
        let of = |file: &File| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(digest(&SHA256, &file.bytes).as_ref());
            (file.role, bytes)
        };
        self.0.iter().map(of).collect()
    }

    /// The file of this role.
    ///
    /// # Errors
    /// [`Error::Setup`] when it was not read, which is a defect.
    pub(super) fn file(&self, role: Role) -> Result<&File, Error> {
        let found = self.0.iter().find(|file| file.role == role);
        found.ok_or_else(|| Error::Setup(format!("`{role}` was not read")))
    }

    /// The certificate chain and its matching key, with facts about the certificates.
    pub(super) fn pair(
        &self,
        certificate: Role,
        key: Role,
    ) -> Result<(CertifiedKey, Vec<CertificateInfo>), Error> {
        let (certificate, key) = (self.file(certificate)?, self.file(key)?);
        let chain = certificate.certificates()?;
        let facts = certificate.facts(&chain)?;
        let signing = key.signing()?;
        let pair = CertifiedKey::new(chain, signing);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok((pair, facts))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(Error::Mismatch {
                role: key.role,
                key: key.path.clone(),
                certificate: certificate.path.clone(),
            }),
            Err(error) => Err(certificate.malformed("certificate", 0, &error)),
        }
    }

    /// CAs, with facts about them.
    pub(super) fn roots(&self, role: Role) -> Result<(RootCertStore, Vec<CertificateInfo>), Error> {
        let file = self.file(role)?;
        let certificates = file.certificates()?;
        let facts = file.facts(&certificates)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.into_iter().enumerate() {
            let added = roots.add(certificate);
            added.map_err(|error| file.malformed("certificate", index, &error))?;
        }
        Ok((roots, facts))
    }
}

impl File {
    fn read(role: Role, path: &Path) -> Result<Self, Error> {
        let bytes = if role.is_secret() {
            disk::read_secret_file(path, AllowedOwner::UsOrRoot)
        } else {
            disk::read_public_file(path).map(Zeroizing::new)
        };
        let bytes = bytes.map_err(|source| Error::Unreadable { role, source })?;
        let path = path.to_owned();
        Ok(Self { role, path, bytes })
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All certificates in it, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.all("certificate", CertificateDer::pem_slice_iter(&self.bytes))
    }

    /// All revocation lists in it, at least one.
    pub(super) fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        let lists = CertificateRevocationListDer::pem_slice_iter(&self.bytes);
        self.all("revocation list", lists)
    }

    fn all<T>(
        &self,
        wanted: &'static str,
        items: impl Iterator<Item = Result<T, pem::Error>>,
    ) -> Result<Vec<T>, Error> {
        let all: Result<Vec<T>, _> = items.collect();
        let all = all.map_err(|error| self.not_pem(&error))?;
        if all.is_empty() {
            return Err(self.absent(wanted));
        }
        Ok(all)
    }

    /// The key in it; afterwards only the provider holds a copy.
    fn signing(&self) -> Result<Arc<dyn SigningKey>, Error> {
        on_wiped_thread(|| {
            let mut key = self.key()?;
            let signing = any_supported_type(&key);
            key.zeroize();
            let signing = signing.map_err(|error| self.unusable(&error))?;
            Ok(private_key::wiped(signing))
        })
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        match private_key::from_pem(&self.bytes) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) if self.holds("ENCRYPTED PRIVATE KEY") => {
                Err(self.unusable(&"it is encrypted with a passphrase"))
            }
            Err(pem::Error::NoItemsFound) => Err(self.absent("private key")),
            Err(error) => Err(self.not_pem(&error)),
        }
    }

    /// In the order of the certificates.
    fn facts(&self, certificates: &[CertificateDer<'_>]) -> Result<Vec<CertificateInfo>, Error> {
        let numbered = certificates.iter().enumerate();
        let fact = |(index, certificate): (usize, &CertificateDer<'_>)| {
            let fact = CertificateInfo::of_certificate(self.role, &self.path, certificate);
            fact.map_err(|error| self.malformed("certificate", index, &error))
        };
        numbered.map(fact).collect()
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Key {
            role: self.role,
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    /// `index` counts from 0.
    pub(super) fn malformed(
        &self,
        what: &'static str,
        index: usize,
        why: &dyn std::fmt::Display,
    ) -> Error {
        Error::Malformed {
            role: self.role,
            path: self.path.clone(),
            what,
            number: index.saturating_add(1),
            why: why.to_string(),
        }
    }

    /// The library's message is not used: it quotes the line, which may be one of a key.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enum is not exhaustive"
    )]
    fn not_pem(&self, error: &pem::Error) -> Error {
        let why = match error {
            pem::Error::MissingSectionEnd { .. } => "a section begins and does not end",
            pem::Error::IllegalSectionStart { .. } => "a line that begins a section is broken",
            pem::Error::Base64Decode(_) => "a section is not base64",
            _ => "it is damaged",
        };
        Error::NotPem {
            role: self.role,
            path: self.path.clone(),
            why,
            help: "copy it anew: parts of it are lost",
        }
    }

    fn absent(&self, wanted: &'static str) -> Error {
        let (role, path) = (self.role, self.path.clone());
        // DER: a SEQUENCE with a length of two bytes.
        if self.bytes.starts_with(&[0x30, 0x82]) {
            return Error::NotPem {
                role,
                path,
                why: "it is DER, as it seems",
                help: "convert it, for example with `openssl x509 -inform der` or `openssl pkey -inform der`",
            };
        }
        let labels = self.labels();
        let found = match labels.as_slice() {
            [] => String::new(),
            some => format!(", only {}", some.join(", ")),
        };
        Error::Absent {
            role,
            path,
            wanted,
            found,
        }
    }

    fn holds(&self, label: &str) -> bool {
        self.labels().iter().any(|found| found == label)
    }

    /// The labels of its PEM sections, each once.
    fn labels(&self) -> Vec<String> {
        let mut labels = Vec::new();
        for line in self.bytes.split(|byte| *byte == b'\n') {
            let line = str::from_utf8(line).unwrap_or_default().trim_end();
            let label = line.strip_prefix("-----BEGIN ");
            let label = label.and_then(|rest| rest.strip_suffix("-----"));
            let known = |label: &&str| {
                label.len() <= 32 && label.bytes().all(|b| b.is_ascii_uppercase() || b == b' ')
            };
            if let Some(label) = label.filter(known)
                && !labels.iter().any(|found| found == label)
            {
                labels.push(label.to_owned());
            }
        }
        labels
    }
}

impl Pair {
    /// Its two files.
    pub(super) fn files(&self, certificate: Role, key: Role) -> [RoleFile<'_>; 2] {
        [(certificate, &self.certificate), (key, &self.key)]
    }
}
