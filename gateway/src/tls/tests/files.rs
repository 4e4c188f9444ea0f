//! Errors of unusable files.

use super::fixtures::{Ca, Folder, Leaf, THIS_YEAR, named, open_up};
use crate::disk;
use crate::fault::{Faulty, Who};
use crate::tls::{Acceptor, ClientAuth, Dialer, Error, ListenerTls, Role, ServerTls};

#[test]
fn absent_files_are_named_with_the_key_that_names_them() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").leaf("gw");
    let listener = folder.listener(&leaf);
    std::fs::remove_file(&listener.own.key).unwrap();
    assert_eq!(
        folder.said(listener.clone()),
        "`tls.key`: gw.key does not exist; put it there, or correct the path"
    );
    std::fs::remove_file(&listener.own.certificate).unwrap();
    assert_eq!(
        folder.said(listener),
        "`tls.certificate`: gw.pem does not exist; put it there, or correct the path"
    );
}

#[test]
fn key_that_others_may_read_is_refused_and_a_certificate_is_not() {
    let folder = Folder::new();
    let listener = folder.listener(&Ca::new("CA").leaf("gw"));
    open_up(&listener.own.certificate);
    assert!(Acceptor::load(listener.clone(), &folder.clock).is_ok());
    open_up(&listener.own.key);
    let error = Acceptor::load(listener.clone(), &folder.clock)
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::Unreadable { role: Role::Key, source: disk::Error::TooOpen { path, .. } } if *path == listener.own.key),
        "{error}"
    );
    assert_eq!(error.fault().who, Who::Operator);
    assert!(error.fault().help().starts_with("chmod 0600"), "{error}");
}

#[test]
fn key_of_another_certificate_is_refused() {
    let folder = Folder::new();
    let ca = Ca::new("CA");
    let mixed = Leaf {
        certificate: ca.leaf("gw").certificate,
        key: ca.leaf("gw").key,
    };
    assert_eq!(
        folder.said(folder.listener(&mixed)),
        "`tls.key`: the key in gw.key does not belong to the first certificate in gw.pem; name the key that the certificate was made for, and put that certificate first in its file"
    );
}

#[test]
fn file_of_another_kind_is_told_by_what_is_in_it() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").leaf("gw");
    let said = |certificate: &str, key: &str| {
        folder.said(folder.listener(&Leaf {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }))
    };
    assert_eq!(
        said(&leaf.key, &leaf.key),
        "`tls.certificate`: gw.pem holds no certificate, only PRIVATE KEY; name the PEM file that holds it"
    );
    assert_eq!(
        said(&leaf.certificate, &leaf.certificate),
        "`tls.key`: gw.key holds no private key, only CERTIFICATE; name the PEM file that holds it"
    );
    assert_eq!(
        said("", &leaf.key),
        "`tls.certificate`: gw.pem holds no certificate; name the PEM file that holds it"
    );
    let encrypted = leaf.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(
        said(&leaf.certificate, &encrypted),
        "`tls.key`: the key in gw.key cannot be used: it is encrypted with a passphrase; use an ECDSA (P-256, P-384, P-521), Ed25519 or RSA key (2048 bits or more) without a passphrase"
    );
}

#[test]
fn der_is_told_from_pem() {
    let folder = Folder::new();
    let listener = folder.listener(&Ca::new("CA").leaf("gw"));
    std::fs::write(&listener.own.certificate, [0x30, 0x82, 1, 0, 0x30, 0x81]).unwrap();
    assert_eq!(
        folder.said(listener),
        "`tls.certificate`: gw.pem is not a PEM file: it is DER, as it seems; convert it, for example with `openssl x509 -inform der` or `openssl pkey -inform der`"
    );
}

#[test]
fn broken_key_is_not_repeated() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").leaf("gw");
    let secret = leaf.key.lines().nth(1).unwrap().to_owned();
    let broken = [
        leaf.key.replace("-----END PRIVATE KEY-----", ""),
        leaf.key.replace(&secret, &format!("{secret}!")),
        leaf.key
            .replace("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN "),
        leaf.key.replace(&secret, "AAAA"),
    ];
    for key in broken {
        let said = folder.said(folder.listener(&Leaf {
            certificate: leaf.certificate.clone(),
            key,
        }));
        assert!(said.starts_with("`tls.key`: "), "{said}");
        assert!(said.contains("gw.key") && said.contains("; "), "{said}");
        assert!(!said.contains(secret.get(..16).unwrap()), "{said}");
    }
}

#[test]
fn certificate_that_is_none_is_told_by_its_number() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").leaf("gw");
    let broken = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let chain = Leaf {
        certificate: format!("{}{broken}", leaf.certificate),
        key: leaf.key,
    };
    let said = folder.said(folder.listener(&chain));
    assert!(
        said.starts_with("`tls.certificate`: the certificate number 2 in gw.pem cannot be read: "),
        "{said}"
    );
}

#[test]
fn lists_must_be_signed_by_the_ca_that_they_name() {
    let folder = Folder::new();
    let (ca, other) = (Ca::new("Agents"), Ca::new("Others"));
    let said = |crl: &str| folder.said(asking(&folder, &ca, crl));
    assert_eq!(
        said(&other.list(&[])),
        "`tls.crl`: the revocation list of CN=Others in crl.pem is not to be believed: no CA of that name is in `client-ca`; add the CA there, or remove its list"
    );
    assert_eq!(
        said(&Ca::new("Agents").list(&[])),
        "`tls.crl`: the revocation list of CN=Agents in crl.pem is not to be believed: the CA of that name has not signed it; fetch the list anew from that CA"
    );
    assert_eq!(
        said(&ca.0.pem()),
        "`tls.crl`: crl.pem holds no revocation list, only CERTIFICATE; name the PEM file that holds it"
    );
    let listener = asking(&folder, &ca, &ca.list(&[1]));
    assert!(Acceptor::load(listener, &folder.clock).is_ok());
}

#[test]
fn ca_of_servers_is_read_and_named() {
    let folder = Folder::new();
    let settings = ServerTls {
        ca: Some(folder.put("ca.pem", "nothing")),
        ..ServerTls::default()
    };
    let error = Dialer::load(settings, &folder.clock).err().unwrap();
    assert_eq!(
        folder.bare(&error.with_help()),
        "`server-tls.ca`: ca.pem holds no certificate; name the PEM file that holds it"
    );
}

#[test]
fn settings_and_errors_show_no_key() {
    let folder = Folder::new();
    let leaf = Ca::new("CA").sign(named("gw", THIS_YEAR));
    let listener = folder.listener(&leaf);
    let shown = format!("{listener:?}");
    let secret = leaf.key.lines().nth(1).unwrap();
    assert!(!shown.contains(secret));
}

/// A listener that requires certificates of `ca`.
fn asking(folder: &Folder, ca: &Ca, crl: &str) -> ListenerTls {
    ListenerTls {
        clients: ClientAuth::Required(folder.authorities(ca, Some(crl))),
        ..folder.listener(&ca.leaf("gw"))
    }
}
