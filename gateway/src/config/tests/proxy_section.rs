//! `[proxy]`.

use super::*;
use crate::proxy::Version;

#[test]
fn without_the_section_nobody_is_told_and_nobody_believed() {
    let checked = checked("");
    assert_eq!(checked.proxy_seed, None);
    assert_eq!(checked.dataplane.proxy.send, None);
    assert!(checked.dataplane.proxy.accept_from.is_empty());
    assert_eq!(checked.dataplane.handshake_timeout, Duration::from_secs(2));
}

#[test]
fn every_key_of_the_section_is_read() {
    let text = r#"
        [proxy]
        nkey-seed-file = "proxy.nk"
        send = "v1"
        accept-from = ["10.0.0.0/8", "::1"]
        [limits]
        handshake-timeout = "100ms"
        "#;
    let checked = checked(text);
    let seed = PathBuf::from("/etc/keyway/proxy.nk");
    assert_eq!(checked.proxy_seed, Some(seed));
    let proxy = checked.dataplane.proxy;
    assert_eq!(proxy.send, Some(Version::V1));
    let from: Vec<_> = proxy.accept_from.iter().map(ToString::to_string).collect();
    assert_eq!(from, ["10.0.0.0/8", "::1/128"]);
    let patience = checked.dataplane.handshake_timeout;
    assert_eq!(patience, Duration::from_millis(100));
}

#[test]
fn mistakes_of_the_section_say_what_would_be_right() {
    said(
        r#"[proxy]
nkey-seed-file = ""
send = "v3"
accept-from = ["10.0.0.1/8", "lb.example"]
[limits]
handshake-timeout = "2m"
"#,
        &[
            "2:18: proxy.nkey-seed-file: the path is empty or holds a zero byte\n  help: for example: nkey-seed-file = \"/run/credentials/keyway/proxy.nk\"",
            "3:8: proxy.send: `v3` is not one of the words known here\n  help: write \"off\" or \"v1\" or \"v2\"",
            "4:16: proxy.accept-from: `10.0.0.1/8` has bits set behind the first 8\n  help: write the first address of the range, or another length",
            "4:30: proxy.accept-from: `lb.example` is neither an IP address nor a range of them\n  help: for example: accept-from = [\"10.0.0.0/8\"]",
            "6:21: limits.handshake-timeout: 2m is not from 1ms to 1m\n  help: for example: handshake-timeout = \"5s\"",
        ],
    );
}
