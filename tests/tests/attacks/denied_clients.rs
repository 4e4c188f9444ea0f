//! A client that a keyring denies in both directions.

use super::{SAID, answers, api, arrived, errors, inbox, stream, withheld};
use keyway_tests::{Gateway, NatsServer, RawClient, gateway, wait};

const USERS: &str = "authorization { users: [ {user: planner, password: p}, {user: guest, password: g} ] }\njetstream { store_dir: \"STORE\" }\n";

pub(super) const PLANNER: &str =
    r#""user":"planner","pass":"p","headers":true,"no_responders":true"#;
pub(super) const GUEST: &str = r#""user":"guest","pass":"g","headers":true,"no_responders":true"#;

/// A keyring for the planner alone, and one for everybody; `lines` for the first.
pub(super) fn gateway(lines: &str) -> (NatsServer, Gateway) {
    let server = NatsServer::configured(USERS);
    let tables = format!(
        "[[keyring]]\nname = \"plans\"\nsubjects = \"plans.>\"\npublish-by = \"user:planner\"\ndeliver-to = \"user:planner\"\n{lines}\
         [[keyring]]\nname = \"open\"\nsubjects = \"open.>\"\n"
    );
    let settings = gateway::Settings {
        tables,
        ..Default::default()
    };
    let gateway = Gateway::start(&server.url(), settings);
    (server, gateway)
}

/// A migration of the planner's keyring: a stream `S` of these subjects, which holds a plaintext on `plans.old`, and the planner.
fn migration(subjects: &str) -> (NatsServer, Gateway, RawClient) {
    let (server, gateway) = gateway("plaintext = \"accept\"\nuntil = 2099-01-01\n");
    let mut planner = RawClient::handshake(gateway.addr(), PLANNER);
    planner.subscribe("_INBOX.test.*");
    stream(&mut planner, "S", subjects);
    // Stored before the gateway was there.
    RawClient::handshake(server.addr(), PLANNER).publish("plans.old", SAID);
    (server, gateway, planner)
}

#[test]
fn request_of_a_guest_does_not_redirect_the_answer_to_another() {
    let (server, gateway) = gateway("");
    let [mut asks, mut service] = [(); 2].map(|()| RawClient::handshake(gateway.addr(), PLANNER));
    service.subscribe("plans.svc");
    service.subscribe("open.svc");
    asks.subscribe("_INBOX.a.*");
    asks.request("plans.svc", "_INBOX.a.1", b"what?");
    service.message("plans.svc");
    service.take();
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.a.1");
    guest.request("open.svc", "_INBOX.a.1", b"and me?");
    let mut keyless = RawClient::handshake(server.addr(), GUEST);
    keyless.request("open.svc", "_INBOX.a.1", b"");
    keyless.request("elsewhere", "_INBOX.a.1", b"in the clear");
    assert_eq!(arrived(&mut service), []);
    assert_eq!(withheld(&gateway, "reply"), 2.0);
    service.publish("_INBOX.a.1", SAID);
    assert_eq!(asks.message("_INBOX.a.1").payload(), SAID);
    assert!(arrived(&mut guest).iter().all(|(_, said)| said != SAID));
}

#[test]
fn guest_reads_no_old_plaintext_by_any_direct_get_during_a_migration() {
    let (_server, gateway, mut planner) = migration(r#""plans.>","open.>""#);
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.test.*");
    let get = "$JS.API.DIRECT.GET.S";
    let requests = [
        ("$JS.API.DIRECT.GET.S.plans.old", ""),
        (get, r#"{"seq":1}"#),
        (get, r#"{"seq":1,"no_hdr":true}"#),
        (get, r#"{"last_by_subj":"plans.old","no_hdr":true}"#),
        (get, r#"{"next_by_subj":"plans.>","no_hdr":true}"#),
        (get, r#"{"seq":1,"batch":1,"no_hdr":true}"#),
        (get, r#"{"multi_last":["plans.>"],"no_hdr":true}"#),
    ];
    for (subject, body) in requests {
        for (agent, may) in [(&mut planner, true), (&mut guest, false)] {
            let got = answers(agent, &gateway, subject, body);
            assert_eq!(got.iter().any(|said| said == SAID), may, "{subject} {body}");
        }
    }
    let got = api(&mut planner, "STREAM.MSG.GET.S", r#"{"seq":1}"#);
    assert!(got.get("error").is_none(), "{got}");
    let got = api(&mut guest, "STREAM.MSG.GET.S", r#"{"seq":1}"#);
    assert!(got.get("message").is_none(), "{got}");
    assert!(errors(&mut guest).is_empty());
}

/// Every subscriber of a reply subject receives the answer with a stored message, and streams store it.
#[test]
fn guest_reads_no_old_plaintext_out_of_an_answer_that_goes_elsewhere() {
    let (_server, gateway, _planner) = migration(r#""plans.>""#);
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.test.*");
    stream(&mut guest, "G", r#""free.*","_INBOX.kept""#);
    let mut other = RawClient::handshake(gateway.addr(), GUEST);
    let places = ["_INBOX.other", "_INBOX.open", "free.a", "_INBOX.kept"];
    for place in places {
        other.subscribe(place);
    }
    // Every form of the request.
    other.request("free.z", "_INBOX.open", b"");
    other.flush();
    let gets = [
        ("$JS.API.DIRECT.GET.S.plans.old", ""),
        ("$JS.API.DIRECT.GET.S", r#"{"seq":1}"#),
        ("$JS.API.DIRECT.GET.S", r#"{"seq":1,"no_hdr":true}"#),
        ("$JS.API.STREAM.MSG.GET.S", r#"{"seq":1}"#),
    ];
    // Nor where this connection has an open request itself.
    guest.subscribe("_INBOX.any");
    guest.request("free.z", "_INBOX.any", b"");
    for (subject, body) in gets {
        for place in places.into_iter().chain(["_INBOX.any"]) {
            let before = withheld(&gateway, "identity");
            guest.request(subject, place, body.as_bytes());
            wait::until(&format!("{subject} {body} to {place} is withheld"), || {
                (withheld(&gateway, "identity") > before).then_some(())
            });
        }
    }
    let said = |said: &[u8]| said == SAID || data_of(said).is_some_and(|data| data == SAID);
    assert!(arrived(&mut other).iter().all(|(_, heard)| !said(heard)));
    // Nor out of the stream that has stored the answers.
    for sequence in 1..=9 {
        let body = format!(r#"{{"seq":{sequence}}}"#);
        for get in ["$JS.API.DIRECT.GET.G", "$JS.API.STREAM.MSG.GET.G"] {
            guest.request(get, &inbox(), body.as_bytes());
        }
    }
    let heard = arrived(&mut guest);
    // The request fails at once instead of timing out.
    let failed = heard
        .iter()
        .filter(|(_, said)| String::from_utf8_lossy(said).contains("withheld: identity"));
    assert!(failed.count() >= 4, "{heard:?}");
    let read = heard.iter().find(|(_, heard)| said(heard));
    assert!(
        read.is_none(),
        "{:?}",
        read.map(|(on, said)| (on, String::from_utf8_lossy(said)))
    );
}

/// For a client without headers the server omits them, so that nothing identifies the message of an answer.
#[test]
fn guest_that_reads_no_headers_gets_no_plaintext() {
    let (_server, gateway, mut planner) = migration(r#""plans.>""#);
    let bare = r#""user":"guest","pass":"g""#;
    let mut guest = RawClient::handshake(gateway.addr(), bare);
    guest.subscribe(">");
    let got = answers(&mut planner, &gateway, "$JS.API.DIRECT.GET.S.plans.old", "");
    assert_eq!(got, [SAID]);
    planner.publish("open.a", b"sealed for everybody");
    assert_eq!(guest.message("open.a").payload(), b"sealed for everybody");
    assert!(arrived(&mut guest).iter().all(|(_, said)| said != SAID));
}

#[test]
fn headers_that_only_end_like_the_servers_keep_nothing_from_a_guest() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("free.a");
    guest.flush();
    let mut planner = RawClient::handshake(gateway.addr(), PLANNER);
    planner.publish_with("free.a", "NATS/1.0\r\nNats-Subject: plans.a\r\n\r\n", SAID);
    planner.publish_with(
        "free.a",
        "NATS/1.0\r\nX-Nats-Subject: plans.a\r\n\r\n",
        b"y",
    );
    planner.flush();
    assert_eq!(guest.message("free.a").payload(), b"y");
}

/// Requests of the server itself to another domain are not the client's.
#[test]
fn guest_mirrors_its_own_bucket_through_a_domain() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    let config = r#"{"name":"M","mirror":{"name":"KV_own","external":{"api":"$JS.hub.API"}}}"#;
    guest.request(
        "$JS.API.STREAM.CREATE.M",
        "_INBOX.test.1",
        config.as_bytes(),
    );
    assert_eq!(errors(&mut guest), [""; 0]);
}

/// The payload in an answer to `STREAM.MSG.GET`, as it is written.
fn data_of(answer: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(answer);
    let data = text.split("\"data\":\"").nth(1)?.split('"').next()?;
    data_encoding::BASE64.decode(data.as_bytes()).ok()
}

/// The server carries out a request to its API, whoever made another client publish it.
#[test]
fn guest_has_nobody_ask_jetstream_in_his_place() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.test.*");
    stream(&mut guest, "X", r#""free.>""#);
    let ask = "$JS.API.STREAM.CREATE.EV";
    for reply in [ask, "$JS.hub.API.STREAM.CREATE.EV"] {
        guest.request("$JS.API.DIRECT.GET.X.free.evil", reply, b"");
        guest.request("free.echo", reply, b"{}");
        let told = errors(&mut guest);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|told| told.contains(reply)), "{told:?}");
    }
    for to in [
        ask,
        "$JS.API.>",
        "$JS.>",
        "$JS.{{wildcard(1)}}.API.STREAM.CREATE.EV",
        "{{wildcard(1)}}.API.STREAM.CREATE.EV",
    ] {
        let bodies = [
            (
                "STREAM.CREATE.R",
                format!(
                    r#"{{"name":"R","subjects":["free2.*"],"republish":{{"src":"free2.*","dest":"{to}"}}}}"#
                ),
            ),
            (
                "STREAM.CREATE.R",
                format!(
                    r#"{{"name":"R","subjects":["free2.*"],"subject_transform":{{"src":"free2.*","dest":"{to}"}}}}"#
                ),
            ),
            (
                "CONSUMER.CREATE.X.C",
                format!(
                    r#"{{"stream_name":"X","config":{{"name":"C","deliver_subject":"{to}"}}}}"#
                ),
            ),
        ];
        for (request, body) in bodies {
            guest.request(
                &format!("$JS.API.{request}"),
                "_INBOX.test.1",
                body.as_bytes(),
            );
            let told = errors(&mut guest);
            assert!(
                told.len() == 1 && told[0].contains(request),
                "{body} {told:?}"
            );
        }
    }
}

/// A client may republish its own streams.
#[test]
fn guest_republishes_all_that_its_own_stream_holds() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.test.*");
    for (name, republish) in [
        ("A", r#"{"src":">","dest":"own.>"}"#),
        ("B", r#"{"dest":"own.>"}"#),
    ] {
        let config =
            format!(r#"{{"name":"{name}","subjects":["free.{name}"],"republish":{republish}}}"#);
        let made = api(&mut guest, &format!("STREAM.CREATE.{name}"), &config);
        assert!(made.get("error").is_none(), "{made}");
    }
    let config = r#"{"name":"C","sources":[{"name":"P"}],"republish":{"src":">","dest":"own.>"}}"#;
    guest.request(
        "$JS.API.STREAM.CREATE.C",
        "_INBOX.test.1",
        config.as_bytes(),
    );
    assert_eq!(errors(&mut guest).len(), 1);
}

/// With `Nats-Schedule-Next: purge` the server deletes the schedule that it names.
#[test]
fn guest_deletes_no_schedule_of_a_protected_subject() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    let headers = "NATS/1.0\r\nNats-Scheduler: plans.sch\r\nNats-Schedule-Next: purge\r\n\r\n";
    guest.publish_with("mix.a", headers, b"x");
    let told = errors(&mut guest);
    assert!(told.len() == 1 && told[0].contains("mix.a"), "{told:?}");
}
