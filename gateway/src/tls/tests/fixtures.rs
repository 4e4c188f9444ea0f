//! Test certificates in a temporary directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::clock::{Clock, ManualClock};
use crate::fault::Faulty;
use crate::tls::{
    Acceptor, Authorities, ClientAuth, HandshakeOrder, ListenerTls, Pair, ServerTls, TlsPolicy,
};

/// 2026-11-23T12:00:00Z, within the validity of the certificates.
const NOON: Duration = Duration::from_secs(1_795_435_200);

/// A folder with files, and a clock.
pub(super) struct Folder {
    dir: tempfile::TempDir,
    pub(super) clock: Clock,
    pub(super) manual_clock: ManualClock,
}

/// A CA.
pub(super) struct Ca(pub(super) CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
pub(super) struct Leaf {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Validity from one New Year's Day to another.
pub(super) const THIS_YEAR: [i32; 2] = [2026, 2028];

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = named(name, THIS_YEAR);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn leaf(&self, name: &str) -> Leaf {
        self.sign(named(name, THIS_YEAR))
    }

    pub(super) fn leaf_of(&self, name: &str, years: [i32; 2]) -> Leaf {
        self.sign(named(name, years))
    }

    pub(super) fn sign(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Its revocation list, by serial numbers.
    pub(super) fn list(&self, revoked: &[u64]) -> String {
        self.list_until(revoked, 2028)
    }

    pub(super) fn list_until(&self, revoked: &[u64], year: i32) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A certificate of `name`, also as a host.
pub(super) fn named(name: &str, [from, to]: [i32; 2]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let host = name.to_ascii_lowercase().replace(' ', "-");
    params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

impl Folder {
    pub(super) fn new() -> Self {
        let (clock, manual_clock) =
            Clock::manual(SystemTime::UNIX_EPOCH.checked_add(NOON).unwrap());
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock,
            manual_clock,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner may read.
    pub(super) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(super) fn pair(&self, name: &str, leaf: &Leaf) -> Pair {
        Pair {
            certificate: self.put(&format!("{name}.pem"), &leaf.certificate),
            key: self.put(&format!("{name}.key"), &leaf.key),
        }
    }

    /// A listener with this certificate that asks clients for none.
    pub(super) fn listener(&self, leaf: &Leaf) -> ListenerTls {
        ListenerTls {
            own: self.pair("gw", leaf),
            clients: ClientAuth::NotRequested,
            demand: TlsPolicy::Required,
            handshake: HandshakeOrder::AfterInfo,
        }
    }

    /// CAs of clients, and their lists.
    pub(super) fn authorities(&self, ca: &Ca, crl: Option<&str>) -> Authorities {
        Authorities {
            ca: self.put("client-ca.pem", &ca.0.pem()),
            crl: crl.map(|crl| self.put("crl.pem", crl)),
        }
    }

    pub(super) fn acceptor(&self, listener: ListenerTls) -> Acceptor {
        Acceptor::load(listener, &self.clock).unwrap()
    }

    /// The error for the files of `listener`, without the directory.
    pub(super) fn said(&self, listener: ListenerTls) -> String {
        let error = Acceptor::load(listener, &self.clock)
            .err()
            .expect("a mistake");
        self.bare(&error.with_help())
    }

    pub(super) fn bare(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }

    /// A client that trusts `ca` and may show a certificate.
    pub(super) fn client(&self, ca: &Ca, own: Option<&Leaf>) -> Arc<ClientConfig> {
        let settings = ServerTls {
            ca: Some(self.put("ca.pem", &ca.0.pem())),
            own: own.map(|leaf| self.pair("client", leaf)),
            ..ServerTls::default()
        };
        crate::tls::Dialer::load(settings, &self.clock)
            .unwrap()
            .config()
    }
}

/// Both ends after a handshake through buffers; or the first error, and the side that it occurred on.
pub(super) fn shake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), (&'static str, rustls::Error)> {
    let mut server = ServerConnection::new(server).unwrap();
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut wire = Vec::new();
    // Enough for every flight of either version.
    for _flight in 0..8 {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server
            .process_new_packets()
            .map_err(|error| ("server", error))?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client
            .process_new_packets()
            .map_err(|error| ("client", error))?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

/// A key that others may read.
pub(super) fn open_up(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}
