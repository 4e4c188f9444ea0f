//! Certificate revocation lists, and their signatures.
//!
//! Signatures are checked on loading: rustls would notice a bad one at the first handshake, and reject every client.

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader};

use super::certificate::{CertificateInfo, Warning};
use super::error::Error;
use super::files::File;
use super::provider;

/// The signed part of a revocation list, and its signature.
struct Signed<'d> {
    /// The bytes under the signature.
    body: &'d [u8],
    /// The contents of the `AlgorithmIdentifier`.
    algorithm: Vec<u8>,
    /// The signature.
    signature: Vec<u8>,
}

/// The lists in `file`, each signed by one of `authorities`, with facts about them.
pub(super) fn lists(
    file: &File,
    authorities: &[CertificateDer<'_>],
) -> Result<
    (
        Vec<CertificateRevocationListDer<'static>>,
        Vec<CertificateInfo>,
    ),
    Error,
> {
    let lists = file.lists()?;
    let mut facts = Vec::new();
    for (index, list) in lists.iter().enumerate() {
        let said = CertificateList::from_der(list);
        let said = said.map_err(|error| file.malformed("revocation list", index, &error))?;
        let signed = Signed::read(list);
        let signed = signed.map_err(|error| file.malformed("revocation list", index, &error))?;
        check(file, &said, &signed, authorities)?;
        facts.push(CertificateInfo {
            role: file.role(),
            path: file.path().to_owned(),
            subject: said.tbs_cert_list.issuer.to_string(),
            not_before: said.tbs_cert_list.this_update.to_system_time(),
            not_after: said.tbs_cert_list.next_update.map(|at| at.to_system_time()),
        });
    }
    Ok((lists, facts))
}

/// Warnings about CAs without a list: certificates that they have signed are rejected, because they might be revoked.
pub(super) fn unlisted(
    file: &File,
    cas: &[CertificateInfo],
    lists: &[CertificateInfo],
) -> Vec<Warning> {
    let listed = |ca: &&CertificateInfo| !lists.iter().any(|list| list.subject == ca.subject);
    let warning = |ca: &CertificateInfo| Warning {
        role: file.role(),
        message: format!(
            "{} has no revocation list of {}: clients whose certificates it has signed are turned away",
            file.path().display(),
            ca.subject
        ),
        help: "add its list to the file; an empty one will do",
    };
    cas.iter().filter(listed).map(warning).collect()
}

fn check(
    file: &File,
    list: &CertificateList,
    signed: &Signed<'_>,
    authorities: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let refused = |why, help| Error::Revocation {
        role: file.role(),
        path: file.path().to_owned(),
        issuer: list.tbs_cert_list.issuer.to_string(),
        why,
        help,
    };
    let authorities = authorities
        .iter()
        .filter_map(|ca| Certificate::from_der(ca).ok());
    let mut of_its_name = authorities
        .map(|ca| ca.tbs_certificate)
        .filter(|ca| ca.subject == list.tbs_cert_list.issuer)
        .peekable();
    if of_its_name.peek().is_none() {
        return Err(refused(
            "no CA of that name is in `client-ca`",
            "add the CA there, or remove its list",
        ));
    }
    if of_its_name.any(|ca| signed.by(&ca.subject_public_key_info)) {
        return Ok(());
    }
    Err(refused(
        "the CA of that name has not signed it",
        "fetch the list anew from that CA",
    ))
}

impl<'d> Signed<'d> {
    /// Reads the three parts of a signed structure (RFC 5280, sections 4.1 and 5.1).
    fn read(list: &'d CertificateRevocationListDer<'_>) -> der::Result<Self> {
        let mut reader = SliceReader::new(list)?;
        reader.sequence(|inner| {
            let body = inner.tlv_bytes()?;
            let algorithm = contents(inner.tlv_bytes()?)?;
            let signature = der::asn1::BitStringRef::decode(inner)?;
            let signature = signature.raw_bytes().to_vec();
            Ok(Self {
                body,
                algorithm,
                signature,
            })
        })
    }

    /// Whether the owner of this key has signed it.
    fn by(&self, key: &x509_cert::spki::SubjectPublicKeyInfoOwned) -> bool {
        let Ok(kind) = key.algorithm.to_der().and_then(|der| contents(&der)) else {
            return false;
        };
        let algorithms = provider().signature_verification_algorithms;
        algorithms.all.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == kind
                && algorithm
                    .verify_signature(
                        key.subject_public_key.raw_bytes(),
                        self.body,
                        &self.signature,
                    )
                    .is_ok()
        })
    }
}

/// The value of a DER element, without tag and length.
fn contents(element: &[u8]) -> der::Result<Vec<u8>> {
    let any = der::asn1::AnyRef::from_der(element)?;
    Ok(any.value().to_vec())
}
