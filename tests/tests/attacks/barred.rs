//! A guest that a keyring admits in neither direction.

use super::{SAID, answers, api, arrived, errors, stream, withheld};
use keyway_tests::{Gateway, NatsServer, Raw, gateway};

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

#[test]
fn request_of_a_guest_does_not_redirect_the_answer_to_another() {
    let (server, gateway) = gateway("");
    let [mut asks, mut service] = [(); 2].map(|()| Raw::greeted(gateway.addr(), PLANNER));
    service.subscribe("plans.svc");
    service.subscribe("open.svc");
    asks.subscribe("_INBOX.a.*");
    asks.request("plans.svc", "_INBOX.a.1", b"what?");
    service.message("plans.svc");
    service.take();
    let mut guest = Raw::greeted(gateway.addr(), GUEST);
    guest.subscribe("_INBOX.a.1");
    guest.request("open.svc", "_INBOX.a.1", b"and me?");
    let mut keyless = Raw::greeted(server.addr(), GUEST);
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
    let until = "plaintext = \"accept\"\nuntil = 2099-01-01\n";
    let (server, gateway) = gateway(until);
    let mut planner = Raw::greeted(gateway.addr(), PLANNER);
    planner.subscribe("_INBOX.test.*");
    stream(&mut planner, "S", r#""plans.>","open.>""#);
    // Before there was a gateway.
    Raw::greeted(server.addr(), PLANNER).publish("plans.old", SAID);
    let mut guest = Raw::greeted(gateway.addr(), GUEST);
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
