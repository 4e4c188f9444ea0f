//! `keyway doctor` with TLS, and with records of the future.

use super::doctor::{Deployment, HEALTHY};
use super::*;
use keyway_tests::certificates::Authority;
use keyway_tests::clock::WallClock;
use keyway_tests::command::json;

/// The TLS configuration of a server, and of a gateway.
fn tls(ca: &Authority, clients: &str) -> (String, String) {
    let server = ca.sign("server", 1);
    let (certificate, key, ca) = (server.certificate, server.key, ca.ca());
    (
        format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, timeout: 2 {clients} }}\n"),
        format!("[server-tls]\nca = {ca:?}\n"),
    )
}

#[test]
fn healthy_deployment_behind_tls_is_seen_as_well() {
    let ca = Authority::new("CA");
    for (clients, more) in [
        ("", ""),
        (", handshake_first: true", "handshake-first = true\n"),
    ] {
        let (server, gateway) = tls(&ca, clients);
        let deployment = Deployment::new(&(HEALTHY.to_owned() + &server), &(gateway + more));
        assert_eq!(deployment.found("problem", &[]), []);
        assert_eq!(deployment.found("warning", &[]), []);
        let ok = deployment.found("ok", &[]);
        for words in [
            "speaks TLS, and its certificate is believed",
            "turns away whoever has no credentials",
            "turns the agent away, and takes it through the gateway",
            "has the same time",
        ] {
            assert!(ok.iter().any(|f| f.1.contains(words)), "{words}: {ok:?}");
        }
    }
}

#[test]
fn agents_that_can_bypass_the_gateway_are_a_problem_behind_tls_too() {
    let ca = Authority::new("CA");
    let (server, gateway) = tls(&ca, "");
    let open = HEALTHY.replace(", proxy_required: true", "");
    let deployment = Deployment::new(&(open + &server), &gateway);
    let problems = deployment.found("problem", &[]);
    let [(check, what)] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert_eq!(check, "bypass");
    assert!(
        what.contains("lets the agent in past the gateway"),
        "{what}"
    );
}

#[test]
fn certificate_that_the_server_demands_keeps_agents_out_and_lets_the_gateway_in() {
    let ca = Authority::new("CA");
    let own = ca.sign("own", 2);
    for (first, more) in [
        ("", ""),
        (", handshake_first: true", "handshake-first = true\n"),
    ] {
        let demands = format!(", ca_file: {:?}, verify: true{first}", ca.ca());
        let (server, gateway) = tls(&ca, &demands);
        let shows = format!(
            "{gateway}certificate = {:?}\nkey = {:?}\n{more}",
            own.certificate, own.key
        );
        // Only the certificate forces agents through the gateway.
        let open = HEALTHY.replace(", proxy_required: true", "");
        let deployment = Deployment::new(&(open + &server), &shows);
        assert_eq!(deployment.found("problem", &[]), []);
        let ok = deployment.found("ok", &[]);
        let words =
            "turns the agent away (without a certificate), and takes it through the gateway";
        assert!(ok.iter().any(|f| f.1.contains(words)), "{ok:?}");
    }
}

#[test]
fn tls_that_fails_is_a_problem_with_its_remedy() {
    let (ca, stranger) = (Authority::new("CA"), Authority::new("Another"));
    let (server, gateway) = tls(&ca, "");
    let deployment = Deployment::new(&(HEALTHY.to_owned() + &server), &gateway);
    let config = deployment.gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let problem = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let report = json(&deployment.doctor(&["--json"]));
        let all = report["findings"].as_array().unwrap().iter();
        let found: Vec<_> = all
            .filter(|finding| finding["severity"] == "problem")
            .map(|finding| format!("{}: {}", finding["check"], finding["remedy"]))
            .collect();
        found.join("\n")
    };
    let wrong = text.replace(path(&ca.ca()), path(&stranger.ca()));
    let said = problem(&wrong);
    assert!(
        said.contains("\"server\"") && said.contains("has signed the server's certificate"),
        "{said}"
    );
    let missing = text.replace(path(&ca.ca()), "/nowhere/ca.pem");
    assert!(problem(&missing).contains("\"server-tls\""));
    let without = text.split("[server-tls]").next().unwrap();
    let said = problem(without);
    assert!(
        said.contains("\"server-tls\"") && said.contains("add a section [server-tls]"),
        "{said}"
    );
}

#[test]
fn times_in_the_future_are_warnings_once_the_clock_is_right() {
    let mut deployment = Deployment::healthy();
    let clock = WallClock::new();
    clock.restart_gateway(&mut deployment.gateway);
    deployment.gateway.rotate("default");
    assert_eq!(deployment.found("warning", &[]), []);
    clock.shift(2 * 3600);
    deployment.gateway.rotate("default");
    let warnings = deployment.found("warning", &[]);
    let [(first, record), (second, log)] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert_eq!((first.as_str(), second.as_str()), ("clock", "clock"));
    assert!(record.contains("the record of default-"), "{record}");
    assert!(
        record.contains("1h 59m") || record.contains("2h"),
        "{record}"
    );
    assert!(log.contains("the audit log"), "{log}");
}
