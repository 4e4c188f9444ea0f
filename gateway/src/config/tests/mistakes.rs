//! The exact text of every error outside keyrings.

use super::*;

#[test]
fn text_that_is_not_toml_is_refused() {
    said(
        r#"listen = 
servers = 1 2
state = true
"#,
        &[
            "1:10: not TOML: string values must be quoted, expected literal string\n  help: see https://toml.io for how values are written",
            "2:11: not TOML: string values must be quoted, expected literal string\n  help: see https://toml.io for how values are written",
            "3:9: state: expected text in quotes, found a truth value\n  help: for example: state = \"/var/lib/keyway\"",
        ],
    );
}

#[test]
fn broken_header_silences_what_follows_it() {
    said(
        r#"[[keyring
name = "a"
"#,
        &[
            "1:10: not TOML: unclosed array table, expected `]]`\n  help: see https://toml.io for how values are written",
        ],
    );
}

#[test]
fn unknown_key_is_refused_with_a_suggestion() {
    said(
        r#"lisen = 1
relay_only = true
level = "info"
qqq = 1
[log]
listen = 1
levle = 1
[[keyring]]
name = "a"
subjects = "a"
rotate = { afer = "1h", messages = 5 }
subject = "x"
"#,
        &[
            "1:1: lisen: no such key\n  help: did you mean `listen`?",
            "2:1: relay_only: no such key\n  help: did you mean `relay-only`?",
            "3:1: level: no such key\n  help: `level` belongs in `log`",
            "4:1: qqq: no such key\n  help: known here: admin, advertise, control, custody, inbox-prefixes, jetstream, keyring, limits, listen, lock-memory, log, proxy, relay-only, server-tls, servers, servers-verify, shutdown, state, tls",
            "6:1: log.listen: no such key\n  help: `listen` stands at the top of the file, before the first section",
            "7:1: log.levle: no such key\n  help: did you mean `level`?",
            "11:12: keyring.rotate.afer: no such key\n  help: did you mean `after`?",
            "12:1: keyring.subject: no such key\n  help: did you mean `subjects`?",
        ],
    );
}

#[test]
fn value_of_the_wrong_kind_is_refused() {
    said(
        r#"listen = true
servers = true
state = 1.5
relay-only = "yes"
advertise = {}
admin = 1
log = { level = 2027-01-01 }
limits = { workers = "1", miss-wait = 2, max-control-line = true }
keyring = { name = 1 }
"#,
        &[
            "1:10: listen: expected text in quotes, found a truth value\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "2:11: servers: expected text in quotes, found a truth value\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "3:9: state: expected text in quotes, found a decimal number\n  help: for example: state = \"/var/lib/keyway\"",
            "4:14: relay-only: expected `true` or `false`, found text\n  help: for example: relay-only = true",
            "5:13: advertise: expected text in quotes, found a table\n  help: for example: advertise = [\"gw1.example:4223\", \"gw2.example:4223\"]",
            "6:9: admin: expected a table, found an integer\n  help: write a section `[admin]`",
            "7:17: log.level: expected text in quotes, found a date or time\n  help: for example: level = \"warn\"",
            "8:22: limits.workers: expected an integer, found text\n  help: for example: workers = 4",
            "8:39: limits.miss-wait: expected a duration such as \"24h\", found an integer\n  help: for example: miss-wait = \"2s\"",
            "8:61: limits.max-control-line: expected a size such as \"1 TiB\", found a truth value\n  help: for example: max-control-line = \"64 KiB\"",
            "9:11: keyring: expected a list of tables, found a table\n  help: write one section `[[keyring]]` for each, or a list of tables",
        ],
    );
}

#[test]
fn list_with_something_else_inside_is_refused() {
    said(
        r#"keyring = [1]
listen = ["127.0.0.1:1", true, []]
"#,
        &[
            "1:12: keyring: expected a table, found an integer\n  help: write one section `[[keyring]]` for each, or a list of tables",
            "2:26: listen: expected text in quotes, found a truth value\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "2:32: listen: expected text in quotes, found a list\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
        ],
    );
}

#[test]
fn empty_list_is_refused() {
    said(
        r#"listen = []
servers = []
[[keyring]]
name = "a"
subjects = []
"#,
        &[
            "1:10: listen: the list is empty\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "2:11: servers: the list is empty\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "5:12: keyring.subjects: the list is empty\n  help: for example: subjects = [\"agents.>\", \"tools.*.call\"]",
        ],
    );
}

#[test]
fn listener_that_is_no_address_is_refused() {
    said(
        r#"listen = ["a/b:4223", "unix:", "127.0.0.1", "127.0.0.1:99999", "127.0.0.256:1", "::1:4223", "[fe80::1%]:1", 65536, ""]
"#,
        &[
            "1:11: listen: `a/b:4223` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:23: listen: the path is empty or holds a zero byte\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:32: listen: `127.0.0.1` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:45: listen: `127.0.0.1:99999` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:64: listen: `127.0.0.256:1` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:81: listen: `::1:4223` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:93: listen: `[fe80::1%]:1` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:109: listen: 65536 is not from 0 to 65535\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:116: listen: `` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
        ],
    );
}

#[test]
fn listener_twice_is_refused() {
    said(
        r#"listen = ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:0"]
"#,
        &["1:26: listen: 127.0.0.1:1 is in the list twice\n  help: remove one of the two"],
    );
}

#[test]
fn listener_of_the_admin_port_is_refused() {
    said(
        r#"listen = "127.0.0.1:4290"
"#,
        &[
            "1:1: admin.listen: 127.0.0.1:4290 is an address of the gateway's `listen` too\n  help: give it a port of its own",
        ],
    );
}

#[test]
fn admin_port_at_every_address_or_beneath_one_is_refused() {
    for (listen, admin, shown) in [
        ("4290", "\"127.0.0.1:4290\"", "127.0.0.1:4290"),
        ("\"localhost:4290\"", "\"localhost:4290\"", "127.0.0.1:4290"),
        ("\"[::1]:9\"", "9", "0.0.0.0:9"),
    ] {
        let help = "give it a port of its own";
        let text = format!("admin.listen = {admin}\nlisten = {listen}\n");
        let expected = format!(
            "1:16: admin.listen: {shown} is an address of the gateway's `listen` too\n  help: {help}"
        );
        said(&text, &[&expected]);
    }
}

#[test]
fn admin_listener_of_a_name_is_refused() {
    said(
        "admin.listen = \"gw.example:4290\"\n",
        &[
            "1:16: admin.listen: a host's name other than `localhost` cannot stand here\n  help: for example: listen = \"off\"",
        ],
    );
}

#[test]
fn gateway_that_listens_where_its_server_is_is_refused() {
    for (listen, server) in [
        ("4222", "localhost"),
        ("\":4222\"", "127.0.0.1"),
        ("\"[::]:4222\"", "[::1]:4222"),
        ("\"localhost:4222\"", "nats://localhost:4222/"),
        ("\"localhost:4222\"", "127.0.0.1"),
        ("\"gw.example:4222\"", "gw.example"),
    ] {
        let text = format!("servers = \"{server}\"\nlisten = {listen}\n");
        let errors = read(&text).unwrap_err().to_string();
        assert!(errors.contains("connect to itself"), "{text}{errors}");
    }
    for (listen, server) in [("4222", "n1.example"), ("\"127.0.0.1:4222\"", "[::1]")] {
        let text = format!("servers = \"{server}\"\nlisten = {listen}\n");
        assert!(read(&text).is_ok(), "{text}");
    }
}

#[test]
fn gateway_as_its_own_server_is_refused() {
    said(
        r#"listen = "127.0.0.1:4222"
"#,
        &[
            "1:1: servers: the gateway would connect to itself: a server has an address of `listen`\n  help: give the server and the gateway different ports",
        ],
    );
}

#[test]
fn server_that_cannot_be_dialled_is_refused() {
    said(
        r#"servers = ["wss://a:1", "ws://a", "http://a", "nats://a:0", "nats://a:x", "nats://", "nats://a/b", "nats://[::1", "a b"]
"#,
        &[
            "1:12: servers: `wss://a:1`: `wss://` to the server is not supported yet\n  help: write `tls://`, or `nats://` where the way to the server is private",
            "1:25: servers: `ws://a`: `ws://` to the server is not supported yet\n  help: write `tls://`, or `nats://` where the way to the server is private",
            "1:35: servers: `http://a` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:47: servers: `nats://a:0` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:61: servers: `nats://a:x` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:75: servers: `nats://` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:86: servers: `nats://a/b` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:100: servers: `nats://[::1` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "1:115: servers: `a b` is not a server's URL\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
        ],
    );
}

#[test]
fn server_with_credentials_is_refused_without_repeating_them() {
    said(
        r#"servers = "nats://user:hunter2@host:4222"
"#,
        &[
            "1:11: servers: a server's URL holds credentials, but the gateway has none: each client brings its own\n  help: remove what stands before `@`, `@` too",
        ],
    );
}

#[test]
fn advertised_address_without_port_is_refused() {
    said(
        r#"advertise = ["gw1", "nats://gw1:4223", "gw1:0", "gw_1:1:1"]
"#,
        &[
            "1:14: advertise: `gw1` is not a host with a port\n  help: for example: advertise = [\"gw1.example:4223\", \"gw2.example:4223\"]",
            "1:21: advertise: expected a host and a port alone, found a URL\n  help: for example: advertise = [\"gw1.example:4223\", \"gw2.example:4223\"]",
            "1:40: advertise: `gw1:0` is not a host with a port\n  help: for example: advertise = [\"gw1.example:4223\", \"gw2.example:4223\"]",
            "1:49: advertise: `gw_1:1:1` is not a host with a port\n  help: for example: advertise = [\"gw1.example:4223\", \"gw2.example:4223\"]",
        ],
    );
}

#[test]
fn path_with_a_shorthand_is_refused() {
    said(
        r#"state = "~/keyway"
admin.socket = "$HOME/x"
custody = { kind = "passphrase", passphrase-file = "" }
"#,
        &[
            "1:9: state: `~/keyway` would be taken as it stands: `~` and `$` mean nothing here\n  help: write the path in full",
            "2:16: admin.socket: `$HOME/x` would be taken as it stands: `~` and `$` mean nothing here\n  help: write the path in full",
            "3:52: custody.passphrase-file: the path is empty or holds a zero byte\n  help: for example: passphrase-file = \"/run/credentials/keyway/passphrase\"",
        ],
    );
}

#[test]
fn socket_path_that_does_not_fit_is_refused() {
    said(
        r#"state = "/ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
"#,
        &[
            "1:1: admin.socket: the path has 112 bytes, at most 107 fit a socket's address\n  help: for example: socket = \"/run/keyway/admin.sock\"",
        ],
    );
}

#[test]
fn number_out_of_range_is_refused() {
    said(
        r#"[limits]
max-control-line = 1
miss-wait = "2m"
dial-timeout = "0s"
workers = 0
[shutdown]
drain = "2h"
"#,
        &[
            "2:20: limits.max-control-line: 1 is not from 4.0 KiB to 1.0 MiB\n  help: for example: max-control-line = \"64 KiB\"",
            "3:13: limits.miss-wait: 2m is not from 0s to 1m\n  help: for example: miss-wait = \"2s\"",
            "4:16: limits.dial-timeout: 0s is not from 1ms to 1m\n  help: for example: dial-timeout = \"2s\"",
            "5:11: limits.workers: 0 is not from 1 to 1024\n  help: for example: workers = 4",
            "7:9: shutdown.drain: 2h is not from 0s to 1h\n  help: for example: drain = \"5s\"",
        ],
    );
}

#[test]
fn key_that_has_moved_says_where_it_is_now() {
    said(
        "[limits]\ndrain = \"10s\"\n",
        &["2:1: limits.drain: no such key\n  help: `drain` belongs in `shutdown`"],
    );
}

#[test]
fn number_with_a_bad_unit_is_refused() {
    said(
        r#"[limits]
max-control-line = "64 KiX"
miss-wait = "2"
[shutdown]
drain = "ten"
"#,
        &[
            "2:20: limits.max-control-line: `64 KiX` is not a size\n  help: write a number and a unit: B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
            "3:13: limits.miss-wait: `2` is not a duration\n  help: write numbers with units: ms, s, m, h, d, for example \"90d\" or \"1h 30m\"",
            "5:9: shutdown.drain: `ten` is not a duration\n  help: write numbers with units: ms, s, m, h, d, for example \"90d\" or \"1h 30m\"",
        ],
    );
}

#[test]
fn word_that_is_not_known_is_refused() {
    said(
        r#"[log]
format = "xml"
level = "INFO"
[custody]
kind = "vault"
[[keyring]]
name = "a"
subjects = "a"
suite = "aes-128-gcm"
retain = "keep"
bind = "none"
plaintext = "allow"
"#,
        &[
            "2:10: log.format: `xml` is not one of the words known here\n  help: write \"text\" or \"json\"",
            "3:9: log.level: `INFO` is not one of the words known here\n  help: write \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"",
            "5:8: custody.kind: `vault` is not one of the words known here\n  help: write \"file\" or \"passphrase\"",
            "9:9: keyring.suite: `aes-128-gcm` is not one of the words known here\n  help: write \"aes-256-gcm\" or \"aes-256-gcm-siv\"",
            "10:10: keyring.retain: `keep` is not one of the words known here\n  help: write \"destroy\" or \"archive\" or \"shred\"",
            "11:8: keyring.bind: `none` is not one of the words known here\n  help: write \"subject\" or \"keyring\"",
            "12:13: keyring.plaintext: `allow` is not one of the words known here\n  help: write \"reject\" or \"accept\"",
        ],
    );
}

#[test]
fn passphrase_without_its_kind_is_refused() {
    said(
        r#"custody = { passphrase-fd = 3 }
"#,
        &[
            "1:29: custody.passphrase-fd: a passphrase is given, but the key is kept in a file\n  help: write `kind = \"passphrase\"`, or remove this line",
        ],
    );
}

#[test]
fn passphrase_from_nowhere_is_refused() {
    said(
        r#"custody.kind = "passphrase"
"#,
        &[
            "1:16: custody.kind: nothing says where the passphrase is read from\n  help: add `passphrase-file` or `passphrase-fd`, or give one on each command line",
        ],
    );
}

#[test]
fn passphrase_of_the_command_line_is_one() {
    let mut environment = environment();
    let source = PassphraseSource::Descriptor(3);
    environment.passphrase = Some(source.clone());
    let text = "custody.kind = \"passphrase\"\n";
    let (checked, _) = check_text("gw.toml", text, Path::new(""), &environment).unwrap();
    assert_eq!(checked.custody, Custody::Passphrase(source));
}

#[test]
fn passphrase_from_two_places_is_refused() {
    said(
        r#"custody = { kind = "passphrase", passphrase-fd = 3, passphrase-file = "p" }
"#,
        &[
            "1:50: custody.passphrase-fd: the passphrase is given twice\n  help: keep `passphrase-file` or `passphrase-fd`",
        ],
    );
}

#[test]
fn passphrase_from_an_output_is_refused() {
    said(
        r#"custody = { kind = "passphrase", passphrase-fd = 2 }
"#,
        &[
            "1:50: custody.passphrase-fd: 2 is where the gateway writes: the passphrase cannot be read from it\n  help: for example: passphrase-fd = 3",
        ],
    );
}

#[test]
fn file_that_cannot_be_read_is_refused() {
    let errors = check(Path::new("/does/not/exist.toml"), &environment()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/does/not/exist.toml: cannot read the file: No such file or directory (os error 2)\n  help: name a readable file; `configs/quickstart.toml` is one to start from"
    );
}

#[test]
fn file_that_is_not_utf8_is_refused() {
    let errors = check_bytes(
        "gw.toml",
        b"a = 1\n\xc3\xa9\xff",
        Path::new(""),
        &environment(),
    );
    assert_eq!(
        errors.unwrap_err().to_string(),
        "gw.toml:2:2: not UTF-8\n  help: TOML files are UTF-8: save it so"
    );
}

#[test]
fn state_directory_that_nothing_names_is_refused() {
    let mut environment = environment();
    environment.state = None;
    assert_eq!(
        defaults(&environment).unwrap_err().to_string(),
        "(defaults):1:1: state: no state directory: neither `state` nor $KEYWAY_STATE_DIR, $XDG_STATE_HOME or $HOME is set\n  help: for example: state = \"/var/lib/keyway\""
    );
}

#[test]
fn mistakes_are_written_as_json_too() {
    let errors = read("lisen = 1").unwrap_err();
    assert_eq!(
        serde_json::to_string(&errors).unwrap(),
        r#"[{"file":"gw.toml","line":1,"column":1,"key":"lisen","message":"no such key","help":"did you mean `listen`?"}]"#
    );
}

#[test]
fn zone_of_an_address_that_takes_none_is_refused_wherever_an_address_stands() {
    said(
        r#"listen = ["[::1%lo]:4223"]
servers = ["nats://[2001:db8::1%eth0]:4222"]
[admin]
listen = "[::1%lo]:4224"
"#,
        &[
            "1:11: listen: `[::1%lo]`: only a link-local address (fe80::/10) takes a zone\n  help: leave out `%lo`",
            "2:12: servers: `[2001:db8::1%eth0]`: only a link-local address (fe80::/10) takes a zone\n  help: leave out `%eth0`",
            "4:10: admin.listen: `[::1%lo]`: only a link-local address (fe80::/10) takes a zone\n  help: leave out `%lo`",
        ],
    );
}

#[test]
fn memory_that_a_few_large_messages_use_up_is_warned_of() {
    let said = warnings("[limits]\npending = \"259 MiB\"\n");
    assert_eq!(
        said,
        [
            "gw.toml:2:11: limits.pending: 259.0 MiB is less than four times `limits.max-message` (65.0 MiB): one or two messages on their way may use it up, and the slowest connections are disconnected\n  help: give more, or lower `limits.max-message` to the server's `max_payload` and 64 KiB"
        ]
    );
    for enough in [
        "[limits]\npending = \"260 MiB\"\n",
        "[limits]\npending = \"16 MiB\"\nmax-message = \"4 MiB\"\n",
    ] {
        assert!(warnings(enough).is_empty(), "{enough}");
    }
}

#[test]
fn column_counts_characters() {
    said(
        "listen = [\"\u{e9}\u{e9}\", true]",
        &[
            "1:11: listen: `\u{e9}\u{e9}` is not an address with a port\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
            "1:17: listen: expected text in quotes, found a truth value\n  help: for example: listen = [\"127.0.0.1:4223\", \"unix:/run/keyway/nats.sock\"]",
        ],
    );
}
