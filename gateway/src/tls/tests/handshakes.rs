//! Handshakes through buffers: which certificates are trusted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray;

use super::fixtures::{Ca, Folder, Leaf, THIS_YEAR, named, shake};
use crate::tls::{Authorities, ClientAuth, Failure, ListenerTls, Peer};

fn failure((side, error): (&'static str, rustls::Error)) -> (&'static str, Failure) {
    (side, Failure::of(&io::Error::other(error)))
}

#[test]
fn handshake_is_tls_1_3_without_alpn_and_without_a_peer() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(folder.listener(&ca.leaf("gw")));
    let (server, client) = shake(acceptor.config(), folder.client(&ca, None), "gw").unwrap();
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(server.alpn_protocol(), None);
    assert_eq!(Peer::of(&server), None);
}

#[test]
fn gateway_of_another_ca_or_name_is_not_believed() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(folder.listener(&ca.leaf("gw")));
    let of = |ca: &Ca, name| shake(acceptor.config(), folder.client(ca, None), name);
    let stranger = of(&Ca::new("Another"), "gw").err().map(failure);
    assert_eq!(stranger, Some(("client", Failure::UnknownCa)));
    let misnamed = of(&ca, "other").err().map(failure);
    assert_eq!(misnamed, Some(("client", Failure::WrongName)));
}

#[test]
fn clients_certificates_are_required_optional_or_unasked() {
    let folder = Folder::new();
    let (ca, agents) = (Ca::new("CA"), Ca::new("Agents"));
    let leaf = ca.leaf("gw");
    let agent = agents.leaf("agent-7");
    let with = |clients: ClientAuth, own: Option<&Leaf>| {
        let acceptor = folder.acceptor(ListenerTls {
            clients,
            ..folder.listener(&leaf)
        });
        let both = shake(acceptor.config(), folder.client(&ca, own), "gw");
        both.map(|(server, _client)| Peer::of(&server).map(|peer| peer.subject))
            .map_err(failure)
    };
    let authorities = || folder.authorities(&agents, None);
    let seven = Ok(Some("CN=agent-7".to_owned()));
    let none = Err(("server", Failure::NoCertificate));
    let unknown = Err(("server", Failure::UnknownCa));
    let impostor = Ca::new("Agents").leaf("agent-7");
    assert_eq!(with(ClientAuth::NotRequested, Some(&agent)), Ok(None));
    assert_eq!(with(ClientAuth::Optional(authorities()), None), Ok(None));
    assert_eq!(
        with(ClientAuth::Optional(authorities()), Some(&agent)),
        seven
    );
    assert_eq!(
        with(ClientAuth::Required(authorities()), Some(&agent)),
        seven
    );
    assert_eq!(with(ClientAuth::Required(authorities()), None), none);
    for clients in [ClientAuth::Optional, ClientAuth::Required] {
        let outcome = with(clients(authorities()), Some(&impostor));
        // The impostor's CA has the trusted CA's name, so that its signature is checked.
        assert!(
            outcome == unknown || outcome == Err(("server", Failure::BadCertificate)),
            "{outcome:?}"
        );
    }
}

#[test]
fn expired_certificate_of_a_client_is_refused_by_the_crate_s_clock() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(ListenerTls {
        clients: ClientAuth::Required(folder.authorities(&ca, None)),
        ..folder.listener(&ca.leaf("gw"))
    });
    let agent = ca.leaf_of("agent-7", [2026, 2027]);
    let client = folder.client(&ca, Some(&agent));
    assert!(shake(acceptor.config(), Arc::clone(&client), "gw").is_ok());
    folder.manual_clock.advance(Duration::from_hours(24 * 40));
    let expired = shake(acceptor.config(), client, "gw").err().map(failure);
    assert_eq!(expired, Some(("server", Failure::Expired)));
}

#[test]
fn revoked_certificate_of_a_client_is_refused_and_others_are_not() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let numbered = |serial: u64| {
        let mut params = named("agent", THIS_YEAR);
        params.serial_number = Some(serial.into());
        folder.client(&ca, Some(&ca.sign(params)))
    };
    let acceptor = folder.acceptor(ListenerTls {
        clients: ClientAuth::Optional(folder.authorities(&ca, Some(&ca.list(&[7])))),
        ..folder.listener(&ca.leaf("gw"))
    });
    let revoked = shake(acceptor.config(), numbered(7), "gw").err();
    assert_eq!(revoked.map(failure), Some(("server", Failure::Revoked)));
    assert!(shake(acceptor.config(), numbered(8), "gw").is_ok());
}

#[test]
fn client_of_a_ca_without_a_list_is_refused_when_there_are_lists() {
    let folder = Folder::new();
    let (ca, unlisted) = (Ca::new("CA"), Ca::new("Unlisted"));
    let both = format!("{}{}", ca.0.pem(), unlisted.0.pem());
    let authorities = Authorities {
        ca: folder.put("both.pem", &both),
        crl: Some(folder.put("crl.pem", &ca.list(&[]))),
    };
    let acceptor = folder.acceptor(ListenerTls {
        clients: ClientAuth::Required(authorities),
        ..folder.listener(&ca.leaf("gw"))
    });
    let client = folder.client(&ca, Some(&unlisted.leaf("agent")));
    let refused = shake(acceptor.config(), client, "gw").err().map(failure);
    assert_eq!(refused, Some(("server", Failure::Revoked)));
}

#[test]
fn what_is_not_tls_is_told_so() {
    let folder = Folder::new();
    let acceptor = folder.acceptor(folder.listener(&Ca::new("CA").leaf("gw")));
    let mut server = rustls::ServerConnection::new(acceptor.config()).unwrap();
    server
        .read_tls(&mut b"CONNECT {\"verbose\":false}\r\n".as_slice())
        .unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(Failure::of(&io::Error::other(error)), Failure::NotTls);
}

#[test]
fn every_cause_has_a_word_of_its_own() {
    let mut words: Vec<_> = Failure::VARIANTS.iter().map(<&str>::from).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Failure::VARIANTS.len());
}
