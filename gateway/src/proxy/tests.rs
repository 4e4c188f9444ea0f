use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::fault::Faulty;
use crate::secret::memory::{find_in_memory, masked, on_deep_stack, with_fewer_cpu_features};
use crate::secret::on_wiped_thread;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn read(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
    Header::read(bytes)
}

/// The fixed part of version 2, and these bytes.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

#[test]
fn header_names_the_client_in_both_versions_and_families() {
    for (client, local) in [("1.2.3.4:5", "6.7.8.9:10"), ("[2001:db8::1]:5", "[::1]:10")] {
        for version in [Version::V1, Version::V2] {
            let mut bytes = Vec::new();
            write(version, Some((addr(client), addr(local))), &mut bytes);
            let len = bytes.len();
            bytes.extend(b"CONNECT {}\r\n");
            let client = Some(addr(client));
            assert_eq!(read(&bytes), Ok(Some(Header { client, len })));
        }
    }
}

#[test]
fn header_that_names_nobody_leaves_the_sockets_address() {
    let unix = v2(0x21, 0x31, &[0; 216]);
    let local = v2(0x20, 0x11, &[0; 12]);
    let noted = v2(0x20, 0x00, b"\x04\x00\x01a");
    for bytes in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ff:: ff:: 1 2\r\n",
        &unix,
        &local,
        &noted,
    ] {
        let len = bytes.len();
        assert_eq!(
            read(bytes),
            Ok(Some(Header { client: None, len })),
            "{bytes:?}"
        );
    }
    let mut written = Vec::new();
    write(Version::V1, None, &mut written);
    write(Version::V2, None, &mut written);
    assert_eq!(
        written,
        [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0, &[])].concat()
    );
}

#[test]
fn fields_behind_the_addresses_are_passed_over() {
    let mut rest = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10];
    rest.extend([0x04, 0, 3, b'x', b'y', b'z']);
    let bytes = v2(0x21, 0x11, &rest);
    let client = Some(addr("1.2.3.4:9"));
    let len = bytes.len();
    assert_eq!(read(&bytes), Ok(Some(Header { client, len })));
}

#[test]
fn header_of_two_families_is_written_in_ipv6() {
    let mut bytes = Vec::new();
    write(
        Version::V1,
        Some((addr("1.2.3.4:5"), addr("[::1]:10"))),
        &mut bytes,
    );
    assert_eq!(bytes, b"PROXY TCP6 ::ffff:1.2.3.4 ::1 5 10\r\n");
    let header = read(&bytes).unwrap().unwrap();
    assert_eq!(header.client, Some(addr("1.2.3.4:5")));
    bytes.clear();
    write(
        Version::V1,
        Some((addr("[::ffff:1.2.3.4]:5"), addr("[::ffff:127.0.0.1]:10"))),
        &mut bytes,
    );
    assert_eq!(bytes, b"PROXY TCP4 1.2.3.4 127.0.0.1 5 10\r\n");
}

#[test]
fn wrong_headers_are_refused_each_for_its_cause() {
    let long_line = [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat();
    let cases: Vec<(Vec<u8>, ProxyHeaderError)> = vec![
        (b"CONNECT {}\r\n".to_vec(), ProxyHeaderError::Absent),
        (b"PROXX".to_vec(), ProxyHeaderError::Absent),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), ProxyHeaderError::Absent),
        (
            b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            ProxyHeaderError::Malformed,
        ),
        (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n".to_vec(),
            ProxyHeaderError::Malformed,
        ),
        (
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            ProxyHeaderError::Malformed,
        ),
        (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n".to_vec(),
            ProxyHeaderError::Malformed,
        ),
        (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n".to_vec(),
            ProxyHeaderError::Malformed,
        ),
        (b"PROXY \r\n".to_vec(), ProxyHeaderError::Malformed),
        (long_line, ProxyHeaderError::TooLong),
        (v2(0x11, 0x11, &[0; 12]), ProxyHeaderError::Malformed),
        (v2(0x21, 0x11, &[0; 11]), ProxyHeaderError::Malformed),
        (v2(0x21, 0x12, &[0; 12]), ProxyHeaderError::Malformed),
        (v2(0x21, 0x41, &[0; 12]), ProxyHeaderError::Malformed),
        (
            v2(0x21, 0x11, &[0; 521])[..16].to_vec(),
            ProxyHeaderError::TooLong,
        ),
    ];
    for (bytes, wrong) in cases {
        assert_eq!(read(&bytes), Err(wrong), "{}", bytes.escape_ascii());
    }
}

#[test]
fn header_that_has_not_come_whole_is_waited_for() {
    let longest = v2(0x21, 0x11, &[0; 520]);
    let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n";
    for bytes in [&line[..], &longest] {
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Ok(None));
        }
        assert!(read(bytes).unwrap().is_some());
    }
}

#[test]
fn network_contains_its_addresses_and_no_other() {
    let cases = [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("0.0.0.0/0", "203.0.113.1", "::1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("::1", "::1", "::2"),
    ];
    for (network, inside, outside) in cases {
        let network: Network = network.parse().unwrap();
        assert!(
            network.contains(inside.parse().unwrap()),
            "{network} {inside}"
        );
        assert!(
            !network.contains(outside.parse().unwrap()),
            "{network} {outside}"
        );
    }
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "::/129",
        "host",
        "::ffff:10.0.0.0/104",
    ] {
        assert_eq!(
            text.parse::<Network>(),
            Err(InvalidNetwork::Shape),
            "{text}"
        );
    }
    assert_eq!(
        "10.0.0.1/8".parse::<Network>(),
        Err(InvalidNetwork::HostBits(8))
    );
}

#[test]
fn new_key_is_an_nkey_and_signs_as_nkeys_do() {
    let (key, seed) = Key::create().unwrap();
    let text = std::str::from_utf8(seed.expose()).unwrap().trim_end();
    let twin = nkeys::KeyPair::from_seed(text).unwrap();
    assert_eq!(twin.public_key(), key.public());
    assert!(text.starts_with("SN") && key.public().starts_with('N'));
    let again = Key::parse(text.as_bytes()).unwrap();
    assert_eq!(again.public(), key.public());
    let signed = data_encoding::BASE64URL_NOPAD.encode(&twin.sign(b"nonce").unwrap());
    assert_eq!(again.sign(b"nonce"), signed);
    assert!(format!("{key:?}").contains(&key.public()) && !format!("{key:?}").contains(text));
}

#[test]
fn seeds_of_every_signing_nkey_are_read_and_others_refused() {
    let makers = [
        nkeys::KeyPair::new_user,
        nkeys::KeyPair::new_account,
        nkeys::KeyPair::new_operator,
        nkeys::KeyPair::new_cluster,
        nkeys::KeyPair::new_server,
        nkeys::KeyPair::new_module,
        nkeys::KeyPair::new_service,
    ];
    for make in makers {
        let twin = make();
        let key = Key::parse(twin.seed().unwrap().as_bytes()).unwrap();
        assert_eq!(key.public(), twin.public_key());
    }
    let seed = nkeys::KeyPair::new_server().seed().unwrap();
    let curve = nkeys::KeyPair::new(nkeys::KeyPairType::Curve)
        .seed()
        .unwrap();
    let public = nkeys::KeyPair::new_server().public_key();
    let mut damaged = seed.clone().into_bytes();
    damaged[20] = if damaged[20] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let short = seed.trim_start_matches('S');
    for text in [short, &curve, &public, &damaged, "", &seed.to_lowercase()] {
        assert_eq!(
            Key::parse(text.as_bytes()).err(),
            Some(InvalidSeed),
            "{text}"
        );
    }
}

#[test]
fn key_file_that_cannot_be_used_is_named_with_its_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.nk");
    let said = Key::read(&path).unwrap_err().with_help();
    assert!(
        said.contains("; make one with `keyway proxy-key`"),
        "{said}"
    );
    std::fs::write(&path, "secret words\n").unwrap();
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, closed).unwrap();
    let said = Key::read(&path).unwrap_err().with_help();
    assert!(
        said.contains("proxy.nk") && !said.contains("secret words"),
        "{said}"
    );
    let (key, seed) = Key::create().unwrap();
    std::fs::write(&path, seed.expose()).unwrap();
    assert_eq!(Key::read(&path).unwrap().public(), key.public());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Key::read(&path), Err(KeyError::File(_))));
}

const BEGINNINGS: [&[u8]; 5] = [
    b"",
    b"PROXY ",
    b"PROXY TCP4 1.2.3.4 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
];

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_parts(
        begin in 0..BEGINNINGS.len(),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        check::header_is_read_alike_in_parts(&[BEGINNINGS[begin], &rest].concat());
    }
}

#[test]
fn proxy_key_leaves_no_copy_of_its_seed_in_memory() {
    with_fewer_cpu_features("proxy::tests::proxy_key_leaves_no_copy_of_its_seed_in_memory");
    let secrets = on_deep_stack(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let (made, seed) = Key::create().unwrap();
        crate::disk::create(&crate::disk::Real, &path, seed.expose()).unwrap();
        let read = Key::read(&path).unwrap();
        assert_eq!(made.sign(b"nonce"), read.sign(b"nonce"));
        let raw = on_wiped_thread(|| {
            let mut raw = zeroize::Zeroizing::new([0; 36]);
            let text = seed.expose().trim_ascii_end();
            let decoded = data_encoding::BASE32_NOPAD.decode_mut(text, &mut *raw);
            assert_eq!(decoded, Ok(36));
            masked(&raw[2..34])
        });
        [raw, masked(seed.expose())]
    });
    for secret in secrets {
        assert_eq!(find_in_memory(&secret), Vec::<String>::new());
    }
}
