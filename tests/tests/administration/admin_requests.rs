//! Promise: no client of the admin sockets can block another, and requests are parsed strictly.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, keyway, stderr_of};
use keyway_tests::{Gateway, NatsServer, metrics};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

const NO_SERVER: &str = "nats://127.0.0.1:9";

/// More than any limit of admin connections.
const MANY: usize = 64;

/// Connections that have all sent these bytes and nothing more.
fn idle_connections(admin: SocketAddr, sent: &str) -> Vec<TcpStream> {
    let connect = |_index| {
        let mut socket = TcpStream::connect(admin).unwrap();
        socket.write_all(sent.as_bytes()).unwrap();
        socket
    };
    (0..MANY).map(connect).collect()
}

fn is_healthy(admin: SocketAddr) {
    assert_eq!(metrics::get(admin, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(metrics::get(admin, "/readyz").0, 503);
    assert_eq!(metrics::get(admin, "/metrics").0, 200);
}

#[test]
fn health_is_answered_however_many_connections_are_idle_or_slow() {
    let gateway = Gateway::sealing(NO_SERVER);
    let admin = gateway.admin();
    // The first client makes the gateway notice that there is no server.
    drop(
        TcpStream::connect(gateway.addr())
            .unwrap()
            .read(&mut [0; 1]),
    );
    let mut all = Vec::new();
    for sent in [
        "",
        "GET /metr",
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        all.extend(idle_connections(admin, sent));
        is_healthy(admin);
    }
    for _round in 0..8 {
        for slow in &mut all {
            // Some have been closed to make room.
            let dripped = slow.write_all(b"x");
            let ends = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(dripped.is_ok() || ends.contains(&dripped.unwrap_err().kind()));
        }
        is_healthy(admin);
    }
}

#[test]
fn slow_request_is_answered_although_many_connect_meanwhile_and_send_nothing() {
    let gateway = Gateway::sealing(NO_SERVER);
    let admin = gateway.admin();
    let mut slow = TcpStream::connect(admin).unwrap();
    let mut idle = Vec::new();
    for byte in b"GET /healthz HTTP/1.0\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
        // Once these are accepted, that byte has been read.
        idle.extend((0..4).map(|_index| TcpStream::connect(admin).unwrap()));
        is_healthy_at_least(admin);
    }
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n") && idle.len() > MANY, "{answer}");
}

fn is_healthy_at_least(admin: SocketAddr) {
    assert_eq!(metrics::get(admin, "/healthz").0, 200);
}

#[test]
fn owner_and_successor_are_heard_however_many_connections_to_their_sockets_are_idle() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let idle = |socket: &str| -> Vec<UnixStream> {
        let path = gateway.state().join(socket);
        let connect = |_index| UnixStream::connect(&path).unwrap();
        (0..MANY).map(connect).collect()
    };
    let (_owners, _successors) = (idle("admin.sock"), idle("handover.sock"));
    gateway.rotate("default");
    assert_eq!(gateway.take_over().wait().code(), Some(0));
}

/// An answer's status and body.
fn post(gateway: &Gateway, path: &str, kind: &str, body: &str) -> (u16, String) {
    let mut socket = UnixStream::connect(gateway.state().join("admin.sock")).unwrap();
    let length = body.len();
    write!(
        socket,
        "POST {path} HTTP/1.0\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    said(socket)
}

fn said(mut socket: UnixStream) -> (u16, String) {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

const JSON: &str = "Content-Type: application/json\r\n";

/// Bodies that every path refuses.
const WRONG: [&str; 17] = [
    r#"["x"]"#,
    r#"["x",null]"#,
    r#"["x",true]"#,
    r#"["x","manual"]"#,
    "[]",
    r#"{"why":"a","why":"b"}"#,
    r#"{"Why":"a"}"#,
    r#"{"WHY":"a","why":"a"}"#,
    r#"{"why":"a","more":1}"#,
    r#"{"why":"a"} x"#,
    r#"{"why":"a"}{"why":"a"}"#,
    r#"{"why":["a"]}"#,
    r#"{"why":null}"#,
    r#"[{"why":"a"}]"#,
    r#""why""#,
    "null",
    "why=a",
];

/// The enum values in request bodies, each with its path and field.
fn words_of(document: &Value) -> Vec<(String, String, String)> {
    let named = |schema: &Value| {
        let name = schema["$ref"].as_str().unwrap_or_default();
        document
            .pointer(name.trim_start_matches('#'))
            .unwrap()
            .clone()
    };
    let mut words = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let body = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        let fields = named(body)["properties"].clone();
        for (field, schema) in fields.as_object().into_iter().flatten() {
            let all = named(schema)["enum"].clone();
            let path = path.replace("{keyring}", "default");
            let path = path.replace("{version}", "1");
            let all = all.as_array().into_iter().flatten();
            words.extend(all.map(|word| {
                let word = word.as_str().unwrap().to_owned();
                (path.clone(), field.clone(), word)
            }));
        }
    }
    words
}

fn is_refused(gateway: &Gateway, path: &str, kind: &str, body: &str) {
    let (status, said) = post(gateway, path, kind, body);
    let problem: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status, 400, "{path} {body}: {said}");
    assert!(
        problem["help"].as_str().unwrap().starts_with("send "),
        "{said}"
    );
}

fn words_are_refused_in_any_other_form(gateway: &Gateway, document: &Value) {
    let words = words_of(document);
    assert_eq!(words.len(), 4);
    for (path, field, word) in words {
        for value in [
            json!({ &word: null }),
            json!({ &word: {} }),
            json!([word]),
            json!(null),
        ] {
            let body = json!({ "why": "a", &field: value });
            is_refused(gateway, &path, JSON, &body.to_string());
        }
    }
}

fn versions_are_refused_in_any_other_spelling(gateway: &Gateway, paths: &[String]) {
    for version in ["01", "+1", "%2B1", "1%20", "0x1"] {
        for path in paths.iter().filter(|path| path.contains("/versions/1/")) {
            let path = path.replace("/1/", &format!("/{version}/"));
            let (status, said) = post(gateway, &path, JSON, r#"{"why":"a"}"#);
            assert_eq!(status, 400, "{path}: {said}");
            assert!(said.contains("has no version"), "{path}: {said}");
        }
    }
}

fn questions_are_refused_in_any_other_form(gateway: &Gateway) {
    for asked in ["count=1&count=2", "cuont=1", "count=x", "count="] {
        let mut socket = UnixStream::connect(gateway.state().join("admin.sock")).unwrap();
        write!(socket, "GET /v1/audit?{asked} HTTP/1.0\r\n\r\n").unwrap();
        let (status, said) = said(socket);
        let problem: Value = serde_json::from_str(&said).unwrap();
        assert!(status == 400 && problem["help"] != "", "{asked}: {said}");
    }
}

#[test]
fn body_that_is_not_exactly_the_object_is_refused_by_every_path_and_nothing_is_done() {
    let gateway = Gateway::sealing(NO_SERVER);
    let document = include_str!("../../../docs/openapi.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let log = gateway.state().join("audit/log.jsonl");
    let before = std::fs::read(&log).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(_path, item)| item.get("post").is_some());
    let paths: Vec<String> = paths
        .map(|(path, _item)| {
            path.replace("{keyring}", "default")
                .replace("{version}", "1")
        })
        .collect();
    assert!(paths.len() > 8, "{paths:?}");
    for path in &paths {
        for body in WRONG {
            is_refused(&gateway, path, JSON, body);
        }
        is_refused(
            &gateway,
            &format!("{path}?force=true"),
            JSON,
            r#"{"why":"a"}"#,
        );
        if !path.ends_with("/reload") {
            is_refused(&gateway, path, JSON, "");
            for kind in [
                "",
                "Content-Type: text/plain\r\n",
                "Content-Type: application/json; charset=iso-8859-1\r\n",
                "Content-Type: application/json;a=b; Charset = \"utf-16\"\r\n",
                &JSON.repeat(2),
            ] {
                is_refused(&gateway, path, kind, r#"{"why":"a"}"#);
            }
        }
    }
    words_are_refused_in_any_other_form(&gateway, &document);
    assert_eq!(std::fs::read(&log).unwrap(), before);
    // Valid requests for versions that do not exist: one audit line each, and nothing else.
    versions_are_refused_in_any_other_spelling(&gateway, &paths);
    let after = std::fs::read(&log).unwrap();
    let after = std::str::from_utf8(&after[before.len()..]).unwrap();
    let lines: Vec<&str> = after.lines().collect();
    let refused = |line: &&str| line.contains("\"outcome\":\"refused\"");
    assert!(!lines.is_empty() && lines.iter().all(refused), "{after}");
    questions_are_refused_in_any_other_form(&gateway);
    // The same paths accept valid bodies.
    let (status, said) = post(
        &gateway,
        "/v1/keyrings/default/rotate",
        "Content-Type: application/json; charset=UTF-8\r\n",
        r#"{"why":"a","event":"personnel"}"#,
    );
    assert_eq!(status, 200, "{said}");
    let reloaded = keyway(&["reload", "--config", gateway.config().to_str().unwrap()]);
    assert_eq!(code(&reloaded), 0, "{}", stderr_of(&reloaded));
}
