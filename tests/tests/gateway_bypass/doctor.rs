//! `keyway doctor`.

use super::*;
use async_nats::jetstream;
use keyway_tests::command::json;
use keyway_tests::identity::Identity;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// A server with JetStream and room for envelopes, whose agents must come through the gateway; the gateway's own user need not.
pub(super) const HEALTHY: &str = "max_payload: 1048640\njetstream { store_dir: \"STORE\" }\nauthorization { users: [ { user: agent, password: secret, proxy_required: true }, { user: keyway, password: 0ther } ] }\n";

/// A server and a gateway's configuration, for `keyway doctor`.
pub(super) struct Deployment {
    key: ProxyKey,
    server: NatsServer,
    pub(super) gateway: Gateway,
}

/// A file that only its owner may read.
fn secret(folder: &Path, name: &str, content: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).unwrap();
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, closed).unwrap();
    file
}

impl Deployment {
    /// With this server, and these tables beside `[proxy]` and `[control]`.
    pub(super) fn new(server: &str, tables: &str) -> Self {
        Self::trusting(ProxyKey::new(), server, tables)
    }

    fn trusting(key: ProxyKey, server: &str, tables: &str) -> Self {
        let server = NatsServer::configured(&(key.trusted() + server));
        let other = secret(key.folder.path(), "keyway-password", "0ther\n");
        let url = if tables.contains("handshake-first") {
            server.url().replace("nats://", "tls://")
        } else {
            server.url()
        };
        let gateway = Gateway::start(
            &url,
            with(&format!(
                "[proxy]\nnkey-seed-file = {:?}\n[control]\nuser = \"keyway\"\npassword-file = {other:?}\n{tables}",
                key.file()
            )),
        );
        Self {
            key,
            server,
            gateway,
        }
    }

    pub(super) fn healthy() -> Self {
        Self::new(HEALTHY, "")
    }

    pub(super) fn doctor(&self, more: &[&str]) -> Output {
        let password = secret(self.key.folder.path(), "password", "secret\n");
        let config = self.gateway.config();
        let words = ["doctor", "--config", path(&config), "--user", "agent"];
        keyway(&[&words[..], &["--password-file", path(&password)], more].concat())
    }

    /// Its findings of this severity: check and text.
    pub(super) fn found(&self, severity: &str, more: &[&str]) -> Vec<(String, String)> {
        let report = json(&self.doctor(&[&["--json"], more].concat()));
        findings(&report, severity)
    }
}

pub(super) fn findings(report: &Value, severity: &str) -> Vec<(String, String)> {
    let all = report["findings"].as_array().unwrap().iter();
    let wanted = all.filter(|finding| finding["severity"] == severity);
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    wanted
        .inspect(|finding| {
            let remedy = finding["remedy"].as_str();
            assert_eq!(remedy.is_none(), severity == "ok", "{finding}");
        })
        .map(|finding| (text(finding, "check"), text(finding, "what")))
        .collect()
}

#[test]
fn healthy_deployment_has_no_findings_and_is_left_as_it_was() {
    let deployment = Deployment::healthy();
    let before = keyway_tests::operator::contents(&deployment.gateway.state());
    let said = deployment.doctor(&[]);
    assert_eq!(code(&said), 0, "{}{}", text(&said.stdout), stderr_of(&said));
    let report = json(&deployment.doctor(&["--json"]));
    assert_eq!(report["ok"], true);
    assert_eq!(findings(&report, "problem"), []);
    assert_eq!(findings(&report, "warning"), []);
    let checks: Vec<_> = findings(&report, "ok").into_iter().map(|f| f.0).collect();
    for check in [
        "server",
        "max-payload",
        "bypass",
        "clock",
        "max-control-line",
        "streams",
        "state",
        "disk",
        "gateway",
        "custody",
        "catalogue",
        "audit",
        "listen",
        "admin",
    ] {
        assert!(checks.iter().any(|c| c == check), "{check} in {checks:?}");
    }
    assert!(text(&said.stdout).contains("0 problems, 0 warnings"));
    let after = keyway_tests::operator::contents(&deployment.gateway.state());
    assert!(before == after, "the state directory was changed");
    // Nor did it print a secret.
    let seed = std::fs::read_to_string(deployment.key.file()).unwrap();
    for hidden in [seed.trim(), "secret", "0ther"] {
        assert!(!text(&said.stdout).contains(hidden), "{hidden}");
    }
}

#[test]
fn agents_that_can_bypass_the_gateway_are_a_problem_with_each_login() {
    let key = ProxyKey::new();
    let user = nkeys::KeyPair::new_user();
    let jwt = Identity::new(-1);
    let folder = key.folder.path();
    let file = |name, content: &str| secret(folder, name, content);
    let password = file("password", "secret\n");
    let token = file("token", "secret\n");
    let nkey = file("agent.nk", &user.seed().unwrap());
    let creds = file("agent.creds", &jwt.credentials());
    let cases: [(String, Vec<&str>); 4] = [
        (
            "authorization { user: agent, password: secret }".to_owned(),
            vec!["--user", "agent", "--password-file", path(&password)],
        ),
        (
            "authorization { token: secret }".to_owned(),
            vec!["--token-file", path(&token)],
        ),
        (
            format!(
                "authorization {{ users: [ {{ nkey: {} }} ] }}",
                user.public_key()
            ),
            vec!["--nkey-seed-file", path(&nkey)],
        ),
        (jwt.server(), vec!["--creds", path(&creds)]),
    ];
    for (users, login) in cases {
        let server = NatsServer::configured(&users);
        let gateway = Gateway::sealing(&server.url());
        let config = gateway.config();
        let words = [&["doctor", "--json", "--config", path(&config)], &login[..]].concat();
        let said = keyway(&words);
        assert_eq!(code(&said), 4, "{users}: {}", stderr_of(&said));
        let problems = findings(&json(&said), "problem");
        let [(check, what)] = &problems[..] else {
            panic!("{users}: {problems:?}");
        };
        assert_eq!(check, "bypass");
        assert!(
            what.contains("lets the agent in past the gateway"),
            "{what}"
        );
    }
}

#[test]
fn server_that_lets_anybody_in_is_a_problem() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let said = keyway(&["doctor", "--json", "--config", path(&gateway.config())]);
    assert_eq!(code(&said), 4);
    let problems = findings(&json(&said), "problem");
    assert!(problems[0].1.contains("lets in anybody"), "{problems:?}");
    let warnings = findings(&json(&said), "warning");
    let checks: Vec<_> = warnings.iter().map(|warning| warning.0.as_str()).collect();
    assert_eq!(checks, ["max-payload", "bypass", "streams"]);
}

#[test]
fn key_that_the_server_does_not_trust_is_a_problem() {
    let trusted = ProxyKey::new();
    let other = ProxyKey::new();
    let server = NatsServer::configured(&(trusted.trusted() + HEALTHY));
    let gateway = other.gateway(&server);
    let password = secret(other.folder.path(), "password", "secret\n");
    let config = gateway.config();
    let said = keyway(&[
        "doctor",
        "--json",
        "--config",
        path(&config),
        "--user",
        "agent",
        "--password-file",
        path(&password),
    ]);
    assert_eq!(code(&said), 4);
    let problems = findings(&json(&said), "problem");
    let [(check, what)] = &problems[..] else {
        panic!("{problems:?}");
    };
    // No login is accepted without the key.
    assert_eq!(check, "login");
    assert!(
        what.contains("turns away the agent that comes through") && what.contains("does not say"),
        "{what}"
    );
}

#[test]
fn wrong_password_is_not_blamed_on_the_key_nor_a_wrong_key_on_the_password() {
    let deployment = Deployment::healthy();
    let wrong = secret(deployment.key.folder.path(), "wrong", "wrong\n");
    let config = deployment.gateway.config();
    let words = ["doctor", "--json", "--config", path(&config), "--user"];
    let said = keyway(&[&words[..], &["agent", "--password-file", path(&wrong)]].concat());
    let problems = findings(&json(&said), "problem");
    let [(check, what)] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(check, "login", "{what}");
    assert!(what.contains("takes the gateway's signature"), "{what}");
    let other = ProxyKey::new();
    std::fs::copy(other.file(), deployment.key.file()).unwrap();
    let problems = deployment.found("problem", &[]);
    let [(check, what)] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(check, "proxy-key", "{what}");
}

#[test]
fn server_without_trusted_proxies_is_a_problem_for_a_key() {
    let key = ProxyKey::new();
    let server = NatsServer::configured("authorization { user: agent, password: secret }");
    let gateway = key.gateway(&server);
    let said = keyway(&["doctor", "--json", "--config", path(&gateway.config())]);
    let problems = findings(&json(&said), "problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].1.contains("takes no proxy's signature"),
        "{problems:?}"
    );
}

#[test]
fn header_that_the_server_does_not_read_is_a_problem() {
    let mut deployment = Deployment::healthy();
    assert!(
        deployment
            .found("ok", &[])
            .iter()
            .all(|f| f.0 != "proxy-header")
    );
    let config = deployment.gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let sends = text.replace("[proxy]\n", "[proxy]\nsend = \"v2\"\n");
    std::fs::write(&config, &sends).unwrap();
    let problems = deployment.found("problem", &[]);
    assert!(
        problems.iter().any(|f| f.0 == "proxy-header"),
        "{problems:?}"
    );
    let reads = format!("proxy_protocol: true\n{HEALTHY}");
    let tables = "";
    deployment = Deployment::new(&reads, tables);
    let config = deployment.gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("[proxy]\n", "[proxy]\nsend = \"v1\"\n"),
    )
    .unwrap();
    assert_eq!(deployment.found("problem", &[]), []);
    assert!(
        deployment
            .found("ok", &[])
            .iter()
            .any(|f| f.0 == "proxy-header")
    );
}

#[test]
fn server_that_is_away_is_a_problem() {
    let mut deployment = Deployment::healthy();
    deployment.server.kill();
    let problems = deployment.found("problem", &[]);
    assert!(problems.iter().any(|f| f.0 == "server"), "{problems:?}");
}

#[test]
fn little_room_for_the_envelope_is_a_warning_with_the_number() {
    let deployment = Deployment::new(&HEALTHY.replace("1048640", "1048576"), "");
    let said = deployment.doctor(&[]);
    assert_eq!(code(&said), 0, "{}", text(&said.stdout));
    let said = text(&said.stdout);
    assert!(said.contains("max_payload: 1048640"), "{said}");
    assert!(said.contains("0 problems, 1 warning"), "{said}");
}

#[tokio::test]
async fn stream_that_renames_needs_an_alias_and_gets_its_words() {
    let keyring = "[[keyring]]\nname = \"orders\"\nsubjects = [\"orders.*\", \"eu.orders.*\"]\n";
    let deployment = Deployment::new(HEALTHY, keyring);
    let options =
        async_nats::ConnectOptions::with_user_and_password("keyway".into(), "0ther".into());
    let client = Box::pin(options.connect(deployment.server.url()))
        .await
        .unwrap();
    let context = jetstream::new(client);
    let config = jetstream::stream::Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["orders.*".to_owned()],
        subject_transform: Some(jetstream::stream::SubjectTransform {
            source: "orders.*".to_owned(),
            destination: "eu.orders.{{wildcard(1)}}".to_owned(),
        }),
        ..Default::default()
    };
    drop(Box::pin(context.create_stream(config)).await.unwrap());
    let said = deployment.doctor(&[]);
    let shown = text(&said.stdout).to_owned();
    assert_eq!(code(&said), 4, "{shown}");
    let alias = "aliases = [{ from = \"orders.*\", to = \"eu.orders.*\" }]";
    assert!(shown.contains(alias), "{shown}");
    let file = deployment.gateway.config();
    let told = std::fs::read_to_string(&file).unwrap() + alias + "\n";
    std::fs::write(&file, told).unwrap();
    assert_eq!(deployment.found("problem", &[]), []);
}

#[tokio::test]
async fn chain_of_sources_is_followed_to_where_it_was_published() {
    let keyring = "[[keyring]]\nname = \"k\"\nsubjects = [\"a.>\", \"b.>\", \"c.>\"]\n";
    let deployment = Deployment::new(HEALTHY, keyring);
    let mut asker = RawClient::handshake(
        deployment.server.addr(),
        "\"user\":\"keyway\",\"pass\":\"0ther\"",
    );
    asker.subscribe("_INBOX.>");
    let source = |name: &str, src: &str, dest: &str| {
        format!(
            "[{{\"name\":\"{name}\",\"subject_transforms\":[{{\"src\":\"{src}\",\"dest\":\"{dest}\"}}]}}]"
        )
    };
    for (name, more) in [
        ("A", "\"subjects\":[\"a.>\"]".to_owned()),
        ("B", format!("\"sources\":{}", source("A", "a.>", "b.>"))),
        ("C", format!("\"sources\":{}", source("B", "b.>", "c.>"))),
    ] {
        let reply = format!("_INBOX.{name}");
        let body = format!("{{\"name\":\"{name}\",{more}}}");
        asker.request(
            &format!("$JS.API.STREAM.CREATE.{name}"),
            &reply,
            body.as_bytes(),
        );
        let made = asker.message(&reply);
        assert!(!text(made.payload()).contains("\"error\""), "{made:?}");
    }
    let said = deployment.doctor(&[]);
    let shown = text(&said.stdout).to_owned();
    assert_eq!(code(&said), 4, "{shown}");
    assert!(
        shown.contains("stream C (copied from A, then B) renames `a.>` to `c.>`"),
        "{shown}"
    );
    let aliases = ["b", "c"].map(|to| format!("{{ from = \"a.>\", to = \"{to}.>\" }}"));
    for alias in &aliases {
        assert!(shown.contains(alias), "{shown}");
    }
    let file = deployment.gateway.config();
    let told = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{told}aliases = [{}]\n", aliases.join(", "))).unwrap();
    assert_eq!(deployment.found("problem", &[]), []);
}

#[test]
fn streams_whose_messages_leave_their_keyring_come_into_one_are_scheduled_or_come_from_elsewhere_are_named()
 {
    let keyrings = "[[keyring]]\nname = \"own\"\nsubjects = \"own.>\"\nbind = \"keyring\"\n[[keyring]]\nname = \"k\"\nsubjects = [\"at.>\", \"jobs.>\"]\n";
    let deployment = Deployment::new(HEALTHY, keyrings);
    let mut asker = RawClient::handshake(
        deployment.server.addr(),
        "\"user\":\"keyway\",\"pass\":\"0ther\"",
    );
    asker.subscribe("_INBOX.>");
    for (name, more) in [
        (
            "OWN",
            r#""subjects":["own.>"],"republish":{"src":"own.>","dest":"copy.>"}"#,
        ),
        (
            "PLAIN",
            r#""subjects":["plain.>"],"republish":{"src":"plain.>","dest":"at.plain.>"}"#,
        ),
        (
            "JOBS",
            r#""subjects":["at.x","jobs.x"],"allow_msg_schedules":true,"allow_msg_ttl":true"#,
        ),
        (
            "HUB",
            r#""sources":[{"name":"A","external":{"api":"$JS.hub.API","deliver":""}},{"name":"B","external":{"api":"JS.acme.API","deliver":""}}]"#,
        ),
    ] {
        let reply = format!("_INBOX.{name}");
        let body = format!("{{\"name\":\"{name}\",{more}}}");
        let subject = format!("$JS.API.STREAM.CREATE.{name}");
        asker.request(&subject, &reply, body.as_bytes());
        let made = asker.message(&reply);
        assert!(!text(made.payload()).contains("\"error\""), "{made:?}");
    }
    let said = deployment.doctor(&[]);
    let shown = text(&said.stdout).to_owned();
    assert_eq!(code(&said), 4, "{shown}");
    for words in [
        "stream OWN renames `own.>` to `copy.>`, which keyring `own` does not cover",
        "stream PLAIN renames `plain.>`, which no keyring covers, to `at.plain.>`",
        "aliases = [{ from = \"plain.>\", to = \"at.plain.>\" }]",
        "stream JOBS takes schedules, and keyring `k` has no alias",
        "stream HUB copies A through `$JS.hub.API`",
        "domains = [\"hub\"]",
        "stream HUB copies B through `JS.acme.API`",
        "api-prefixes = [\"JS.acme.API\"]",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(deployment.found("problem", &[]).len(), 2);
    assert_eq!(deployment.found("warning", &[]).len(), 3);
}

#[test]
fn probe_finds_what_the_account_maps_and_publishes_nothing_unasked() {
    let mapped = format!("{HEALTHY}mappings: {{ \"orders.*\": \"eu.orders.$1\" }}\n");
    let keyrings =
        "[[keyring]]\nname = \"orders\"\nsubjects = [\"orders.*\", \"tasks.>\", \"one\"]\n";
    let deployment = Deployment::new(&mapped, keyrings);
    let mut tap = RawClient::handshake(
        deployment.server.addr(),
        "\"user\":\"keyway\",\"pass\":\"0ther\"",
    );
    tap.send(b"SUB orders.> 1\r\nSUB eu.> 2\r\n");
    tap.flush();
    assert_eq!(deployment.found("problem", &[]), []);
    assert!(tap.flush().iter().all(|frame| frame.verb() != "MSG"));
    let problems = deployment.found("problem", &["--probe"]);
    let [(check, what)] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(check, "mappings");
    assert!(what.contains("arrives as `eu.orders."), "{what}");
    let ok = deployment.found("ok", &["--probe"]);
    assert!(
        ok.iter().any(|f| f.1 == "`tasks.>` is not mapped"),
        "{ok:?}"
    );
    let warnings = deployment.found("warning", &["--probe"]);
    assert!(
        warnings.iter().any(|f| f.1.contains("`one` names one")),
        "{warnings:?}"
    );
}

#[test]
fn state_directory_that_does_not_hold_is_a_problem() {
    let deployment = Deployment::healthy();
    let state = deployment.gateway.state();
    let elsewhere = path(&state).to_owned() + "-none";
    let problem = |args: &[&str]| deployment.found("problem", args);
    let missing = problem(&["--state", &elsewhere]);
    assert!(missing.iter().any(|f| f.0 == "state"), "{missing:?}");
    let copy = deployment.key.folder.path().join("copy");
    gateway::copy(&state, &copy);
    let copied = path(&copy);
    assert_eq!(problem(&["--state", copied]), []);
    let kek = std::fs::read(copy.join("kek")).unwrap();
    std::fs::write(copy.join("kek"), b"nothing").unwrap();
    let checks = |found: Vec<(String, String)>| found.into_iter().map(|f| f.0).collect::<Vec<_>>();
    assert_eq!(checks(problem(&["--state", copied])), ["custody"]);
    std::fs::write(copy.join("kek"), kek).unwrap();
    let log = copy.join("audit/log.jsonl");
    let altered = std::fs::read_to_string(&log)
        .unwrap()
        .replacen("generate", "generato", 1);
    std::fs::write(&log, altered).unwrap();
    assert_eq!(checks(problem(&["--state", copied])), ["audit"]);
}

#[test]
fn listeners_that_others_reach_are_warnings() {
    let deployment = Deployment::healthy();
    let config = deployment.gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let open = text
        .replacen("listen = \"127.0.0.1:", "listen = \"0.0.0.0:", 1)
        .replace(
            "[admin]\nlisten = \"127.0.0.1:0\"",
            "[admin]\nlisten = \"0.0.0.0:0\"",
        );
    std::fs::write(&config, open).unwrap();
    let warnings = deployment.found("warning", &[]);
    let words: Vec<_> = warnings.iter().map(|f| f.1.as_str()).collect();
    assert!(
        words
            .iter()
            .any(|w| w.contains("listen: ") && w.contains("without TLS")),
        "{words:?}"
    );
    assert!(warnings.iter().any(|f| f.0 == "admin"), "{words:?}");
}

#[test]
fn configuration_with_a_mistake_ends_with_3() {
    let deployment = Deployment::healthy();
    std::fs::write(deployment.gateway.config(), "lisen = 1\n").unwrap();
    assert_eq!(code(&deployment.doctor(&[])), 3);
}
