//! Every way in which a client can name a subject where the server or another agent will publish: decided like a publish of that
//! client there.

use super::denied_clients::{GUEST, PLANNER, gateway};
use super::{SAID, api, arrived, errors, inbox, refused, stream, withheld};
use keyway_tests::RawClient;

/// A publish that names `plans.x` as a destination.
struct DestinationCase {
    what: &'static str,
    subject: &'static str,
    reply: Option<&'static str>,
    headers: &'static str,
    body: &'static str,
}

const fn destination(
    what: &'static str,
    subject: &'static str,
    body: &'static str,
) -> DestinationCase {
    DestinationCase {
        what,
        subject,
        reply: None,
        headers: "",
        body,
    }
}

const DESTINATIONS: [DestinationCase; 22] = [
    DestinationCase {
        reply: Some("plans.x"),
        ..destination("reply subject of a request", "open.echo", "FORGED")
    },
    DestinationCase {
        reply: Some("plans.x"),
        ..destination("reply subject of an empty request", "open.echo", "")
    },
    DestinationCase {
        reply: Some("plans.x"),
        ..destination("reply subject of a publish to a stream", "open.t", "x")
    },
    DestinationCase {
        reply: Some("plans.x"),
        ..destination(
            "reply subject of a direct get",
            "$JS.API.DIRECT.GET.S.plans.x",
            "",
        )
    },
    DestinationCase {
        reply: Some("plans.x"),
        ..destination(
            "reply subject of a pull",
            "$JS.API.CONSUMER.MSG.NEXT.S.C",
            "1",
        )
    },
    DestinationCase {
        reply: Some("plans.x"),
        ..destination("reply subject of service discovery", "$SRV.PING", "")
    },
    DestinationCase {
        headers: "NATS/1.0\r\nNats-Trace-Dest: plans.x\r\n\r\n",
        ..destination("destination of a trace", "open.t", "x")
    },
    DestinationCase {
        headers: "NATS/1.0\r\nNats-Trace-Dest: _INBOX.g\r\nNats-Trace-Dest: plans.x\r\n\r\n",
        ..destination("second destination of a trace", "open.t", "x")
    },
    DestinationCase {
        headers: "NATS/1.0\r\nNats-Schedule: @at 2099-01-01T00:00:00Z\r\nNats-Schedule-Target: plans.x\r\n\r\n",
        ..destination("target of a schedule", "open.t", "x")
    },
    DestinationCase {
        headers: "NATS/1.0\r\nNats-Schedule: @at 2099-01-01T00:00:00Z\r\nNats-Schedule-Target: open.y\r\nNats-Schedule-Source: plans.x\r\n\r\n",
        ..destination("source of a schedule", "open.t", "x")
    },
    destination(
        "deliver subject of a consumer",
        "$JS.API.CONSUMER.CREATE.S",
        r#"{"stream_name":"S","config":{"deliver_subject":"plans.x","ack_policy":"none"}}"#,
    ),
    destination(
        "deliver subject of a durable consumer",
        "$JS.API.CONSUMER.DURABLE.CREATE.S.D",
        r#"{"stream_name":"S","config":{"durable_name":"D","deliver_subject":"plans.x","ack_policy":"none"}}"#,
    ),
    destination(
        "deliver subject of a backup",
        "$JS.API.STREAM.SNAPSHOT.S",
        r#"{"deliver_subject":"plans.x"}"#,
    ),
    destination(
        "republish destination",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","subjects":["r.>"],"storage":"memory","republish":{"src":"r.>","dest":"plans.>"}}"#,
    ),
    destination(
        "subject transform",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","subjects":["r.>"],"storage":"memory","subject_transform":{"src":"r.*","dest":"plans.{{wildcard(1)}}"}}"#,
    ),
    destination(
        "republish of everything",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","sources":[{"name":"S"}],"storage":"memory","republish":{"dest":"free.>"}}"#,
    ),
    destination(
        "subject transform of everything",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","sources":[{"name":"S"}],"storage":"memory","subject_transform":{"src":"","dest":"free.>"}}"#,
    ),
    destination(
        "transform of all of a mirror",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","storage":"memory","mirror":{"name":"S","subject_transforms":[{"src":null,"dest":"free.>"}]}}"#,
    ),
    destination(
        "republish of all of a source",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","storage":"memory","sources":[{"name":"S"}],"republish":{"dest":"free.>"}}"#,
    ),
    destination(
        "transform of a source",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","storage":"memory","sources":[{"name":"S","subject_transforms":[{"src":"open.*","dest":"plans.$1"}]}]}"#,
    ),
    destination(
        "filter of a mirror",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","storage":"memory","mirror":{"name":"S","filter_subject":"plans.>"}}"#,
    ),
    destination(
        "delivery of an external mirror",
        "$JS.API.STREAM.CREATE.R",
        r#"{"name":"R","storage":"memory","mirror":{"name":"S","external":{"api":"$JS.hub.API","deliver":"plans"}}}"#,
    ),
];

/// Those by which messages would come out under a keyring that did not seal them.
const LOST: [&str; 4] = [
    "target of a schedule",
    "source of a schedule",
    "republish destination",
    "subject transform",
];

/// Publishes it, and returns the errors that the client receives.
fn say(agent: &mut RawClient, destination: &DestinationCase) -> Vec<String> {
    let own = || inbox().replace("test", "named");
    let reply = destination.reply.map_or_else(own, str::to_owned);
    let total = destination
        .headers
        .len()
        .saturating_add(destination.body.len());
    let line = if destination.headers.is_empty() {
        format!("PUB {} {reply} {total}\r\n", destination.subject)
    } else {
        let header = destination.headers.len();
        format!("HPUB {} {reply} {header} {total}\r\n", destination.subject)
    };
    let text = [&line, destination.headers, destination.body, "\r\n"].concat();
    agent.send(text.as_bytes());
    errors(agent)
}

#[test]
fn whatever_a_guest_names_as_a_destination_is_judged_as_its_publish_there() {
    let (_server, gateway) = gateway("");
    let mut planner = RawClient::handshake(gateway.addr(), PLANNER);
    planner.subscribe("_INBOX.test.*");
    stream(&mut planner, "S", r#""plans.>","open.t""#);
    planner.subscribe("plans.>");
    planner.subscribe("open.>");
    planner.take();
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    for (number, destination) in DESTINATIONS.iter().enumerate() {
        let told = say(&mut guest, destination);
        let of = match destination.reply {
            Some(reply) => format!("Publish with Reply of \"{reply}\""),
            None => format!("Publish to \"{}\"", destination.subject),
        };
        let expected = format!("-ERR 'Permissions Violation for {of}'");
        assert_eq!(told, [expected], "{}", destination.what);
        let count = f64::from(u32::try_from(number).unwrap()) + 1.0;
        assert_eq!(refused(&gateway, "identity"), count, "{}", destination.what);
    }
    assert_eq!(arrived(&mut planner), []);
    let streams = api(&mut planner, "STREAM.NAMES", "");
    assert_eq!(streams["streams"], serde_json::json!(["S"]));
}

#[test]
fn who_may_publish_there_may_name_every_destination() {
    let (_server, gateway) = gateway("");
    let mut planner = RawClient::handshake(gateway.addr(), PLANNER);
    planner.subscribe("_INBOX.test.*");
    stream(&mut planner, "S", r#""plans.>","open.t""#);
    // What comes out under a keyring that did not seal it is refused to everybody, with that cause.
    let mut lost = Vec::new();
    for destination in &DESTINATIONS {
        let told = say(&mut planner, destination);
        let before = f64::from(u32::try_from(lost.len()).unwrap());
        if refused(&gateway, "destination") > before {
            lost.push(destination.what);
        } else {
            assert_eq!(told, Vec::<String>::new(), "{}", destination.what);
        }
    }
    assert_eq!(lost, LOST);
    assert_eq!(refused(&gateway, "identity"), 0.0);
}

#[test]
fn guest_makes_streams_that_copy_without_a_transform() {
    let (_server, gateway) = gateway("");
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.test.*");
    stream(&mut guest, "S", r#""open.t""#);
    for config in [
        r#"{"name":"M","storage":"memory","mirror":{"name":"S"}}"#,
        r#"{"name":"C","storage":"memory","subject_transform":null,"sources":[{"name":"S","subject_transforms":[]}]}"#,
        r#"{"name":"R","storage":"memory","subjects":["r.>"],"republish":{"src":"r.>","dest":"free.>"}}"#,
    ] {
        let name = config.get(9..10).unwrap();
        let made = api(&mut guest, &format!("STREAM.CREATE.{name}"), config);
        assert_eq!(made["config"]["name"], name, "{made}");
    }
    assert_eq!(refused(&gateway, "identity"), 0.0);
}

#[test]
fn request_has_its_answer_published_under_another_keyring_only_if_it_was_sealed_for_that() {
    let (server, gateway) = gateway("");
    let [mut planner, mut service] =
        [(); 2].map(|()| RawClient::handshake(gateway.addr(), PLANNER));
    service.subscribe("open.echo");
    service.subscribe("elsewhere");
    planner.subscribe("plans.>");
    planner.request("open.echo", "plans.order", b"plan it");
    assert_eq!(service.message("open.echo").payload(), b"plan it");
    service.publish("plans.order", SAID);
    assert_eq!(planner.message("plans.order").payload(), SAID);
    service.take();
    // The same envelope with another reply subject; an empty request; one in plaintext.
    let mut keyless = RawClient::handshake(server.addr(), PLANNER);
    keyless.subscribe("open.echo");
    planner.request("open.echo", "_INBOX.planner.1", b"plan it");
    service.take_arrived();
    let captured = keyless.message("open.echo").payload().to_vec();
    keyless.request("open.echo", "plans.order", &captured);
    keyless.request("open.echo", "plans.order", b"");
    keyless.request("elsewhere", "plans.order", b"in the clear");
    assert_eq!(arrived(&mut service), []);
    assert_eq!(withheld(&gateway, "reply"), 3.0);
}
