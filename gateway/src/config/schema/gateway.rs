//! The keys outside keyrings.

use strum::VariantNames;

use super::key::Default::{Described, Required, Value};
use super::key::Kind::{
    Boolean, Count, Duration, Integer, Size, Table, Tables, Text, Texts, WordList, Words,
};
use super::key::TakesEffect::{AtReload, AtRestart, ByKey};
use super::key::{HOUR, Key, MILLISECOND, MINUTE, SECOND, TEN_MINUTES, ZERO, keys};
use crate::config::words::LogFormat;
use crate::dataplane::Credential;

keys! {
    "listen": Texts("address and TCP port as nats-server takes them, or `unix:` and a path of at most 107 bytes"), Value(r#""127.0.0.1:4223""#), AtRestart;
        r#"listen = ["127.0.0.1:4223", "unix:/run/keyway/nats.sock"]"#;
        r#"Where clients connect. A port alone (`4223`, `":4223"`), `0.0.0.0` and `[::]` mean every address of the host, IPv6 and IPv4, as they do to nats-server; IPv4 alone where the host has no IPv6. A name (`localhost:4223`) means each address that it has when the gateway starts, those left out that the host does not have; `[fe80::1%eth0]:4223` has a zone. Port 0 lets the system choose. Who may write to a unix socket may connect: the umask and the mode of its folder decide. A relative path starts at the directory of the file that names it."#
    "servers": Texts("URL; the port is 4222 unless given"), Value(r#""nats://127.0.0.1:4222""#), AtRestart;
        r#"servers = ["nats://n1.example:4222", "tls://n2.example:4222"]"#;
        "The NATS servers of one cluster, tried in this order. No user or password: clients bring their own. `tls://`: TLS must be spoken to it, by `server-tls`; `nats://`: it is when the server asks for it and there is a section `server-tls`."
    "servers-verify": WordList(Credential::VARIANTS), Value("[]"), AtRestart;
        r#"servers-verify = ["user", "jwt"]"#;
        "Your word for what the servers check of clients. `user`: who comes with a user and a password and nothing else is let in by these or not at all. `nkey`: the same of an nkey of the servers' own list. `jwt`: the same of a user's JWT. Only what stands here proves a `user:` or an `nkey:` to `publish-by` and `deliver-to`, or an account's signing key: servers do not say what they have looked at. The [page on identity](identity.md) says when each is true."
    "state": Text("path of a directory"), Described("`$KEYWAY_STATE_DIR`, else `$XDG_STATE_HOME/keyway`, else `$HOME/.local/state/keyway`"), AtRestart;
        r#"state = "/var/lib/keyway""#;
        "Where key versions are kept. A relative path starts at the directory of the file that names it."
    "lock-memory": Boolean, Described("locked where the limit of locked memory (`ulimit -l`) is infinite"), AtRestart;
        "lock-memory = true";
        "Keep memory, and so keys, from being swapped out. `true`: the gateway does not start where that cannot be done. Core dumps are off in any case."
    "relay-only": Boolean, Value("false"), AtRestart;
        "relay-only = true";
        "Touch no payload: nothing is sealed or opened. For comparison and for emergencies."
    "advertise": Texts("host and TCP port"), Value("[]"), AtRestart;
        r#"advertise = ["gw1.example:4223", "gw2.example:4223"]"#;
        "Gateways that clients may reconnect to; replaces the servers' own addresses in what clients are told. Empty: clients know only the address they were given."
    "admin": Table, Described("every default"), ByKey;
        "[admin]";
        "Where operators ask the running gateway."
    "admin.listen": Text("address and TCP port as for `listen`, but no name other than `localhost`, which is `127.0.0.1` here; or `off`"), Value(r#""127.0.0.1:4290""#), AtRestart;
        r#"listen = "off""#;
        "Metrics and health over HTTP. There is no access control to these: keep it on an address that only operators reach."
    "admin.socket": Text("path"), Described("`admin.sock` in the state directory"), AtRestart;
        r#"socket = "/run/keyway/admin.sock""#;
        "The unix socket over which the command line speaks to the gateway, mode 0600. At most 107 bytes."
    "admin.tokens": Tables, Described("none: over TCP there are metrics and health alone"), AtRestart;
        r#"tokens = [{ name = "ci", file = "/run/credentials/keyway/ci" }]"#;
        "Whoever bears one of these tokens may do over TCP (`Authorization: Bearer`) what the owner of the unix socket may. There is no TLS: keep `listen` on a loopback address."
    "admin.tokens[].name": Text("1 to 63 of a-z, 0-9, `-`, `_`"), Required, AtRestart;
        r#"name = "ci""#;
        "Whose token it is. The audit log names whoever bears it so."
    "admin.tokens[].file": Text("path"), Required, AtRestart;
        r#"file = "/run/credentials/keyway/ci""#;
        "The file that holds the token, at least 32 visible ASCII characters; nobody but its owner may read it."
    "log": Table, Described("every default"), ByKey;
        "[log]";
        "What is logged, and how."
    "log.format": Words(LogFormat::VARIANTS), Value(r#""text""#), AtRestart;
        r#"format = "json""#;
        "Lines for people, or one JSON object for each."
    "log.level": Words(&["error", "warn", "info", "debug", "trace"]), Value(r#""info""#), AtReload;
        r#"level = "warn""#;
        "The least important level that is logged."
    "limits": Table, Described("every default"), ByKey;
        "[limits]";
        "How much, and how long."
    "limits.max-control-line": Size(4096, 1 << 20), Value(r#""64 KiB""#), AtRestart;
        r#"max-control-line = "64 KiB""#;
        "The longest argument part of a protocol line. Give at least the server's `max_control_line`; the server enforces its own."
    "limits.max-message": Size(1 << 10, 1 << 30), Value(r#""65 MiB""#), AtRestart;
        r#"max-message = "16 MiB""#;
        "The largest message, headers and payload, that is held for a connection; give at least the server's `max_payload` and 64 KiB. A larger publish ends its connection with `Maximum Payload Violation`, a larger delivery without a word."
    "limits.pending": Size(16 << 20, 1 << 40), Value(r#""1 GiB""#), AtRestart;
        r#"pending = "4 GiB""#;
        "What all connections together may hold of messages on their way, in equal shares for the workers. Counted is, in each direction, a read and what is made of it, and what has come of a message that is not whole (above 64 KiB twice, as it comes and as it goes); not counted are the first 4 KiB of an operation while the rest is waited for. So the most is `limits.connections` × 2 × 4 KiB + `limits.pending`; beside it each worker keeps up to 8 MiB of buffers that are not in use, and one message that is larger than a sixteenth of its share may go beyond that. When it is used up, nothing more is read but what is small, as a greeting is. Connections for which others have waited a second must then move 64 KiB in a second, as much again for each 512 KiB that they hold, and all of that again for each 2 s that others have waited; those that move less are disconnected, the slowest first, and as many as it takes; the log says so. While nobody waits, anybody may be as slow as it likes. Give many times the server's `max_payload`; less than four times `limits.max-message` is warned of."
    "limits.connections": Count("connections", 1, 10_000_000), Value("65536"), AtRestart;
        "connections = 10_000";
        "Client connections at a time; each takes two file descriptors. One more is told `maximum connections exceeded`."
    "limits.connections-per-address": Count("connections", 1, 10_000_000), Described("any number"), AtRestart;
        "connections-per-address = 100";
        "The same, from one IP address. Unix sockets have none."
    "limits.connections-per-second": Count("connections", 1, 10_000_000), Described("any number"), AtRestart;
        "connections-per-second = 500";
        "New client connections in a second; as many may come at once. One more is told `Connection throttling is active`."
    "limits.auth-timeout": Duration(SECOND, HOUR), Value(r#""30s""#), AtRestart;
        r#"auth-timeout = "5s""#;
        "How long a client may take until it has said something whole, which is mostly its `CONNECT`. It is told `Authentication Timeout` then. The server has a time-out of its own."
    "limits.miss-wait": Duration(ZERO, MINUTE), Value(r#""2s""#), AtRestart;
        r#"miss-wait = "2s""#;
        "How long a connection waits for a key version that is not loaded, before the message counts as undecryptable."
    "limits.dial-timeout": Duration(MILLISECOND, MINUTE), Value(r#""2s""#), AtRestart;
        r#"dial-timeout = "2s""#;
        "How long connecting to one server may take before the next is tried, and how long it may take then to greet. Who listens and does not greet as a NATS server is passed over, also for the client that has found it so, which is served by the next; the log names it, and `/readyz` says 503 where no other is left."
    "limits.handshake-timeout": Duration(MILLISECOND, MINUTE), Value(r#""2s""#), AtRestart;
        r#"handshake-timeout = "5s""#;
        "How long a client may take for the PROXY header of a load balancer, and how long a TLS handshake may take, with a client and with a server. Where `timeout` in nats-server's `tls` block was raised for slow clients, raise this, too: the gateway ends their handshakes at this one."
    "limits.workers": Count("threads", 1, 1024), Described("one for each core"), AtRestart;
        "workers = 4";
        "Threads that carry connections."
    "shutdown": Table, Described("every default"), ByKey;
        "[shutdown]";
        "How connections end once the gateway is asked to stop. The three spans together are the longest that a stop takes; keep them below what the service manager waits before it kills (Kubernetes: 30 s, `docker stop`: 10 s)."
    "shutdown.grace": Duration(ZERO, HOUR), Value(r#""10s""#), AtRestart;
        r#"grace = "10s""#;
        "How long clients, once they have been told (lame duck mode), may stay before the first of them is closed. A gateway without connections does not wait."
    "shutdown.spread": Duration(ZERO, HOUR), Value(r#""5s""#), AtRestart;
        r#"spread = "1m""#;
        "Over how long connections are closed, one after the other, so that clients do not all reconnect at once."
    "shutdown.drain": Duration(ZERO, HOUR), Value(r#""5s""#), AtRestart;
        r#"drain = "5s""#;
        "How long the last connections may take to end once they are being closed; what has not ended by then is cut off."
    "proxy": Table, Described("every default"), ByKey;
        "[proxy]";
        "What the server is told of clients, and whose word about them is believed: see docs/deployment.md."
    "proxy.nkey-seed-file": Text("path"), Described("none: the gateway is no trusted proxy"), AtRestart;
        r#"nkey-seed-file = "/run/credentials/keyway/proxy.nk""#;
        "The file that holds the seed of an nkey; nobody but its owner may read it. With it the gateway signs the server's nonce for every client, and users with `proxy_required` can connect through the gateway and in no other way. `keyway proxy-key` makes it, and prints what the server needs."
    "proxy.send": Words(&["off", "v1", "v2"]), Value(r#""off""#), AtRestart;
        r#"send = "v2""#;
        "The header of the PROXY protocol in front of every connection to the server, which then sees the client's address in place of the gateway's. The server must have `proxy_protocol: true`: any other takes it for a malformed operation."
    "proxy.accept-from": Texts("IP address, or a range of them"), Value("[]"), AtRestart;
        r#"accept-from = ["10.0.0.0/8"]"#;
        "Load balancers. Each of their connections must begin with a PROXY header (version 1 or 2), within `limits.handshake-timeout`, and its address counts as the client's; without one it is closed. From everybody else such a header is an error of the protocol."
    "inbox-prefixes": Texts("subject without wildcards"), Value("[]"), AtReload;
        r#"inbox-prefixes = ["_INBOX_alice", "acme.inbox"]"#;
        "Where clients with an inbox prefix of their own wait for answers, beside `_INBOX`. A reply subject under a prefix that is not named here is a subject like any other: where a keyring covers it by name, a request with it is work that is passed on, and what a stream stores of such a publish opens for nobody."
    "jetstream": Table, Described("every default"), ByKey;
        "[jetstream]";
        "Where JetStream's API is found."
    "jetstream.api-prefixes": Texts("subject without wildcards"), Value("[]"), AtReload;
        r#"api-prefixes = ["JS.acme.API"]"#;
        "Subjects under which this account imports another account's JetStream API, beside `$JS.API` and `$JS.<domain>.API`, which need no mention. A prefix left out breaks requests under it, or leaves what is put into stores unsealed: see above."
    "custody": Table, Described("every default"), ByKey;
        "[custody]";
        "Who guards the key-encryption key."
    "custody.kind": Words(&["file", "passphrase"]), Value(r#""file""#), AtRestart;
        r#"kind = "passphrase""#;
        "A key in a file of the state directory, mode 0600; or one derived from a passphrase (Argon2id)."
    "custody.passphrase-file": Text("path"), Described("none"), AtRestart;
        r#"passphrase-file = "/run/credentials/keyway/passphrase""#;
        r#"The file that holds the passphrase; nobody but its owner may read it. Only with `kind = "passphrase"`, which needs this or `passphrase-fd`."#
    "custody.passphrase-fd": Integer("file descriptor, 0 or from 3 up"), Described("none"), AtRestart;
        "passphrase-fd = 3";
        r#"The open file descriptor from which the passphrase is read. Only with `kind = "passphrase"`."#
    "control": Table, Described(r#"no connection; a version is then destroyed only by force, or by `retain = "shred"`"#), AtRestart;
        "[control]";
        "The gateway's own connection to NATS, on which it asks JetStream what is still stored under a key version before it is destroyed: see docs/keys.md. An empty section connects without credentials."
    "control.servers": Texts("URL; the port is 4222 unless given"), Described("the top-level `servers`"), AtRestart;
        r#"servers = ["nats://n1.example:4222"]"#;
        "The servers to connect to, tried in this order."
    "control.user": Text(""), Described("none"), AtRestart;
        r#"user = "keyway""#;
        "The user. It must be one of the account whose streams the agents use; with `password-file`."
    "control.password-file": Text("path"), Described("none"), AtRestart;
        r#"password-file = "/run/credentials/keyway/nats-password""#;
        "The file that holds the password; nobody but its owner may read it. With `user`."
    "control.token-file": Text("path"), Described("none"), AtRestart;
        r#"token-file = "/run/credentials/keyway/nats-token""#;
        "The file that holds a token, instead of a user; nobody but its owner may read it."
    "control.credentials": Text("path"), Described("none"), AtRestart;
        r#"credentials = "/run/credentials/keyway/nats.creds""#;
        "A `.creds` file (JWT and seed), instead of a user; nobody but its owner may read it."
    "control.nkey-seed-file": Text("path"), Described("none"), AtRestart;
        r#"nkey-seed-file = "/run/credentials/keyway/nats.nk""#;
        "The file that holds an nkey's seed, instead of a user; nobody but its owner may read it."
    "control.domains": Texts("JetStream domain"), Value("[]"), AtRestart;
        r#"domains = ["hub", "edge"]"#;
        "JetStream domains whose streams the agents use, beside the server's own. `jetstream.api-prefixes` are asked too, and need no mention here."
    "control.deadline": Duration(SECOND, TEN_MINUTES), Value(r#""30s""#), AtRestart;
        r#"deadline = "2m""#;
        "How long asking for one key version may take. What is not proven by then counts as unknown, and the version is kept."
}
