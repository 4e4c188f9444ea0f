//! Files that change while the gateway runs.

use std::io::{Read, Write};
use std::sync::Arc;

use super::fixtures::{Ca, Folder, Leaf, THIS_YEAR, named, shake};
use crate::fault::Faulty;
use crate::tls::{Acceptor, Changed, ClientAuth, Error, ListenerTls, Role};

/// Which certificate a new handshake shows: the serial number of the one that the client saw.
fn shown(acceptor: &Acceptor, folder: &Folder, ca: &Ca) -> Vec<u8> {
    let both = shake(acceptor.config(), folder.client(ca, None), "gw");
    let (_server, client) = both.unwrap();
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn files_as_they_were_change_nothing() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").leaf("gw");
    let acceptor = folder.acceptor(folder.listener(&leaf));
    let before = acceptor.config();
    folder.pair("gw", &leaf);
    assert_eq!(acceptor.reload().unwrap(), Changed::Nothing);
    assert!(Arc::ptr_eq(&before, &acceptor.config()));
}

#[test]
fn new_handshakes_get_the_new_certificate_and_old_connections_go_on() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(folder.listener(&ca.leaf("gw")));
    let old = shown(&acceptor, &folder, &ca);
    let (mut server, mut client) =
        shake(acceptor.config(), folder.client(&ca, None), "gw").unwrap();
    folder.pair("gw", &ca.leaf("gw"));
    let changed = acceptor.reload().unwrap();
    assert_eq!(changed, Changed::Files(vec![Role::Certificate, Role::Key]));
    assert_ne!(shown(&acceptor, &folder, &ca), old);
    let mut wire = Vec::new();
    client.writer().write_all(b"PING\r\n").unwrap();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets().unwrap();
    let mut heard = [0; 6];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"PING\r\n");
}

#[test]
fn broken_replacement_keeps_the_old_one_until_it_is_whole() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(folder.listener(&ca.leaf("gw")));
    let old = shown(&acceptor, &folder, &ca);
    let new = ca.leaf("gw");
    folder.put("gw.pem", &new.certificate);
    // The certificate is there, its key is not yet.
    assert!(matches!(acceptor.reload(), Err(Error::Mismatch { .. })));
    folder.put("gw.pem", "half a certif");
    let error = acceptor.reload().unwrap_err();
    assert_eq!(error.role(), Some(Role::Certificate));
    assert!(error.to_string().contains("gw.pem"), "{error}");
    std::fs::remove_file(folder.path("gw.key")).unwrap();
    assert_eq!(acceptor.reload().unwrap_err().role(), Some(Role::Key));
    assert_eq!(shown(&acceptor, &folder, &ca), old);
    folder.pair("gw", &new);
    assert!(matches!(acceptor.reload(), Ok(Changed::Files(_))));
    assert_ne!(shown(&acceptor, &folder, &ca), old);
}

#[test]
fn replacement_that_is_not_valid_now_keeps_the_old_one_until_it_is() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let acceptor = folder.acceptor(folder.listener(&ca.leaf("gw")));
    let old = shown(&acceptor, &folder, &ca);
    folder.pair("gw", &ca.leaf_of("gw", [2025, 2026]));
    let error = acceptor.reload().unwrap_err().with_help();
    assert_eq!(
        folder.bare(&error),
        "`tls.certificate`: the new certificate of CN=gw in gw.pem is not valid now: it is valid from 2025-01-01T00:00:00Z to 2026-01-01T00:00:00Z; the old one stays in use, put a valid one there"
    );
    folder.pair("gw", &ca.leaf_of("gw", [2027, 2028]));
    assert!(matches!(acceptor.reload(), Err(Error::OutOfDate { .. })));
    assert_eq!(shown(&acceptor, &folder, &ca), old);
    folder
        .manual_clock
        .advance(std::time::Duration::from_hours(24 * 40));
    assert!(matches!(acceptor.reload(), Ok(Changed::Files(_))));
    assert_ne!(shown(&acceptor, &folder, &ca), old);
}

#[test]
fn revocation_works_from_the_next_handshake_on() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let mut params = named("agent", THIS_YEAR);
    params.serial_number = Some(7_u64.into());
    let agent: Leaf = ca.sign(params);
    let acceptor = folder.acceptor(ListenerTls {
        clients: ClientAuth::Required(folder.authorities(&ca, Some(&ca.list(&[])))),
        ..folder.listener(&ca.leaf("gw"))
    });
    let client = folder.client(&ca, Some(&agent));
    assert!(shake(acceptor.config(), Arc::clone(&client), "gw").is_ok());
    folder.put("crl.pem", &ca.list(&[7]));
    assert_eq!(acceptor.reload().unwrap(), Changed::Files(vec![Role::Crl]));
    assert!(shake(acceptor.config(), client, "gw").is_err());
}
