//! Names and validity of certificates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{CustomExtension, DnType, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::fixtures::{Ca, Folder, Leaf, THIS_YEAR, named};
use crate::tls::{Acceptor, ClientAuth, ListenerTls, Peer, Role};

fn peer(leaf: &Leaf) -> Option<Peer> {
    let der = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    Peer::read(&der).ok()
}

#[test]
fn subject_is_written_as_rfc_4514_says() {
    let mut params = named("agent 7", THIS_YEAR);
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "Example, Inc. \"+\"");
    name.push(DnType::CountryName, "DE");
    let peer = peer(&Ca::new("CA").sign(params)).unwrap();
    assert_eq!(
        peer.subject,
        "C=DE,O=Example\\, Inc. \\\"\\+\\\",CN=agent 7"
    );
}

#[test]
fn control_characters_in_a_subject_are_escaped() {
    let mut params = named("gw", THIS_YEAR);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "a\nb");
    let subject = peer(&Ca::new("CA").sign(params)).unwrap().subject;
    assert_eq!(subject, "O=a\\0ab,CN=gw");
}

#[test]
fn alternative_names_are_sorted_by_kind() {
    let mut params = named("gw", THIS_YEAR);
    let ips: [IpAddr; 2] = ["10.0.0.7".parse().unwrap(), "::1".parse().unwrap()];
    params.subject_alt_names = vec![
        SanType::DnsName("one.example".try_into().unwrap()),
        SanType::URI("spiffe://example/agent/7".try_into().unwrap()),
        SanType::Rfc822Name("seven@example.org".try_into().unwrap()),
        SanType::IpAddress(ips[0]),
        SanType::IpAddress(ips[1]),
        SanType::DnsName("two.example".try_into().unwrap()),
    ];
    let names = peer(&Ca::new("CA").sign(params)).unwrap().names;
    assert_eq!(names.dns, ["one.example", "two.example"]);
    assert_eq!(names.uris, ["spiffe://example/agent/7"]);
    assert_eq!(names.emails, ["seven@example.org"]);
    assert_eq!(names.ips, ips);
}

#[test]
fn alternative_names_that_cannot_be_read_identify_nobody() {
    let mut params = named("gw", THIS_YEAR);
    params.subject_alt_names.clear();
    let broken = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 5, 1]);
    params.custom_extensions.push(broken);
    assert_eq!(peer(&Ca::new("CA").sign(params)), None);
}

#[test]
fn certificates_out_of_date_are_used_and_spoken_of() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let warnings = |years| {
        let listener = folder.listener(&ca.leaf_of("gw", years));
        let warnings = folder.acceptor(listener).warnings();
        let warnings = warnings.iter().map(|doubt| folder.bare(&doubt.to_string()));
        warnings.collect::<Vec<_>>()
    };
    let help = "replace the file; it is read again by itself";
    assert_eq!(
        warnings([2025, 2026]),
        [format!(
            "`tls.certificate`: the certificate of CN=gw in gw.pem has expired on 2026-01-01T00:00:00Z; {help}"
        )]
    );
    assert_eq!(
        warnings([2027, 2028]),
        [format!(
            "`tls.certificate`: the certificate of CN=gw in gw.pem is not valid before 2027-01-01T00:00:00Z; {help}"
        )]
    );
    assert!(warnings([2026, 2027]).is_empty());
    folder.manual_clock.advance(Duration::from_hours(24 * 10));
    assert_eq!(
        warnings([2026, 2027]),
        [format!(
            "`tls.certificate`: the certificate of CN=gw in gw.pem expires on 2027-01-01T00:00:00Z; {help}"
        )]
    );
}

#[test]
fn old_ca_beside_a_good_one_is_no_matter_and_an_old_list_is() {
    let folder = Folder::new();
    let (ca, old) = (Ca::new("Agents"), Ca::new("Agents of old"));
    let leaf = ca.leaf("gw");
    let authorities = |crl: &str| ClientAuth::Optional(folder.authorities(&ca, Some(crl)));
    let clients = authorities(&ca.list_until(&[], 2027));
    let acceptor = folder.acceptor(ListenerTls {
        clients: clients.clone(),
        ..folder.listener(&leaf)
    });
    assert!(acceptor.warnings().is_empty());
    folder.manual_clock.advance(Duration::from_hours(24 * 60));
    let said: Vec<_> = acceptor
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("`tls.crl`: the revocation list of CN=Agents in "),
        "{said:?}"
    );
    let both = format!("{}{}", old.0.pem(), ca.0.pem());
    let ClientAuth::Optional(at) = &clients else {
        panic!("optional")
    };
    std::fs::write(&at.ca, both).unwrap();
    let warnings = Acceptor::load(acceptor.settings().clone(), &folder.clock)
        .unwrap()
        .warnings();
    assert!(
        warnings.iter().any(|doubt| doubt
            .message
            .contains("no revocation list of CN=Agents of old")),
        "{warnings:?}"
    );
}

#[test]
fn file_expires_with_its_first_certificate_and_cas_with_their_last() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let mut leaf = ca.leaf_of("gw", [2026, 2027]);
    leaf.certificate.push_str(&ca.0.pem());
    let listener = ListenerTls {
        clients: ClientAuth::Optional(folder.authorities(&ca, None)),
        ..folder.listener(&leaf)
    };
    let year = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * days);
    let expected = [
        (Role::Certificate, year(20_819)),
        (Role::ClientCa, year(21_184)),
    ];
    assert_eq!(folder.acceptor(listener).expiries(), expected);
}
