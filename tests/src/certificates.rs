//! A CA and certificates for tests, in files of a temporary folder.

use crate::scratch;
use async_nats::ConnectOptions;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A CA, and the folder in which the files of its certificates are.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// TLS options of an official client.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// The file of the CA that it trusts.
    pub ca: PathBuf,
    /// The client certificate, if any.
    pub own: Option<CertificateFiles>,
    /// Whether the handshake comes before INFO.
    pub first: bool,
}

impl ClientTls {
    /// As command line arguments of the drivers in `tests/clients`.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec!["--tls-ca".to_owned(), shown(&self.ca)];
        if let Some(CertificateFiles { certificate, key }) = &self.own {
            args.extend(["--tls-certificate".to_owned(), shown(certificate)]);
            args.extend(["--tls-key".to_owned(), shown(key)]);
        }
        if self.first {
            args.extend(["--tls-first".to_owned(), "yes".to_owned()]);
        }
        args
    }

    /// As options of async-nats.
    pub fn of(&self, options: ConnectOptions) -> ConnectOptions {
        let options = options
            .require_tls(true)
            .add_root_certificates(self.ca.clone());
        let options = match &self.own {
            Some(CertificateFiles { certificate, key }) => {
                options.add_client_certificate(certificate.clone(), key.clone())
            }
            None => options,
        };
        if self.first {
            options.tls_first()
        } else {
            options
        }
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Authority {
    /// A new CA of this name; its certificate is in `ca.pem`.
    pub fn new(name: &str) -> Self {
        let mut params = params(name, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = scratch::folder("certificates");
        put(&folder.path().join("ca.pem"), &issuer.pem());
        Self { folder, issuer }
    }

    /// The file with its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate of this name for 127.0.0.1 and `localhost`, and puts it into files of that name, which it replaces.
    pub fn sign(&self, name: &str, serial: u64) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, serial).signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        let pair = CertificateFiles {
            certificate: file("pem"),
            key: file("key"),
        };
        put(&pair.certificate, &certificate.pem());
        put(&pair.key, &key.serialize_pem());
        pair
    }

    /// Writes the certificate revocation list `crl.pem` with these serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap().pem().unwrap();
        let path = self.folder.path().join("crl.pem");
        put(&path, &list);
        path
    }

    /// A client configuration that trusts this CA, with this client certificate, if any.
    pub fn client(&self, own: Option<&CertificateFiles>) -> Arc<ClientConfig> {
        self.client_with_versions(own, rustls::DEFAULT_VERSIONS)
    }

    /// The same, restricted to these TLS versions.
    pub fn client_with_versions(
        &self,
        own: Option<&CertificateFiles>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let certificate = CertificateDer::from_pem_file(&pair.certificate).unwrap();
                let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        })
    }
}

impl CertificateFiles {
    /// A server configuration with this certificate that asks for no client certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
    }

    /// Writes certificate and key into one PEM file, as HAProxy reads them.
    pub fn joined_pem(&self) -> PathBuf {
        let file = self.certificate.with_extension("both");
        let halves = [&self.certificate, &self.key].map(|half| fs::read_to_string(half).unwrap());
        put(&file, &halves.concat());
        file
    }
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![
        SanType::IpAddress([127, 0, 0, 1].into()),
        SanType::DnsName("localhost".try_into().unwrap()),
    ];
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

/// Replaces a file atomically, readable by its owner alone.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}
