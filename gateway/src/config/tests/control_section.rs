//! `[control]`: the gateway's own connection.

use super::*;
use crate::retention::Login;

fn control(text: &str) -> crate::retention::Config {
    checked(text).control.unwrap()
}

#[test]
fn without_the_section_there_is_no_connection() {
    assert_eq!(checked("").control, None);
}

#[test]
fn an_empty_section_takes_the_servers_and_no_credentials() {
    let config = control("servers = [\"n1.example\", \"nats://[::1]:5\"]\n[control]");
    assert_eq!(config.servers, ["n1.example:4222", "[::1]:5"]);
    assert_eq!(config.login, None);
    assert!(config.domains.is_empty());
    assert_eq!(config.deadline, Duration::from_secs(30));
}

#[test]
fn every_key_of_the_section_is_read() {
    let text = r#"
        [control]
        servers = "10.0.0.1"
        user = "keyway"
        password-file = "secret"
        domains = ["hub", "edge"]
        deadline = "2m"
        "#;
    let config = control(text);
    assert_eq!(config.servers, ["10.0.0.1:4222"]);
    let (user, file) = ("keyway".to_owned(), PathBuf::from("/etc/keyway/secret"));
    assert_eq!(config.login, Some(Login::Password { user, file }));
    assert_eq!(config.domains, ["hub", "edge"]);
    assert_eq!(config.deadline, Duration::from_mins(2));
}

#[test]
fn each_kind_of_credentials_is_a_file() {
    let of = |key: &str| control(&format!("[control]\n{key} = \"f\"")).login.unwrap();
    let file = PathBuf::from("/etc/keyway/f");
    assert_eq!(of("token-file"), Login::Token(file.clone()));
    assert_eq!(of("credentials"), Login::Credentials(file.clone()));
    assert_eq!(of("nkey-seed-file"), Login::NkeySeed(file));
}

#[test]
fn mistakes_of_the_section_have_their_place_and_remedy() {
    said(
        "[control]\nuser = \"a\"\ntoken-file = \"t\"\npassword-file = \"p\"",
        &[
            "3:14: control.token-file: the gateway is named twice: by `user` and by `token-file`\n  help: keep one of the two",
        ],
    );
    said(
        "[control]\nuser = \"a\"\ndomains = [\"a.b\"]\ndeadline = \"1h\"",
        &[
            "2:8: control.user: `user` is given, but no `password-file`\n  help: add `password-file`, the file that holds the user's password",
            "3:12: control.domains: `a.b` is not a JetStream domain: one word, without dots or wildcards\n  help: for example: domains = [\"hub\", \"edge\"]",
            "4:12: control.deadline: 1h is not from 1s to 10m\n  help: for example: deadline = \"2m\"",
        ],
    );
    said(
        "[control]\npassword-file = \"p\"",
        &[
            "2:17: control.password-file: `password-file` is given, but no `user`\n  help: add `user`, or remove this line",
        ],
    );
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    said(
        "[control]\nservers = \"nats://me:hunter2@n1.example\"",
        &[
            "2:11: control.servers: a server's URL holds credentials, which belong in files\n  help: remove what stands before `@`, `@` too, and name `user` and `password-file`, or `token-file`",
        ],
    );
}

#[test]
fn the_gateway_never_asks_through_itself() {
    said(
        "listen = \"127.0.0.1:4223\"\n[control]\nservers = \"localhost:4223\"",
        &[
            "3:11: control.servers: the gateway would ask itself: a server has an address of `listen`\n  help: name the NATS servers, never a gateway",
        ],
    );
}

#[test]
fn the_section_is_read_whatever_is_wrong_elsewhere() {
    said(
        "servers = []\n[control]\ndeadline = 3",
        &[
            "1:11: servers: the list is empty\n  help: for example: servers = [\"nats://n1.example:4222\", \"tls://n2.example:4222\"]",
            "3:12: control.deadline: expected a duration such as \"24h\", found an integer\n  help: for example: deadline = \"2m\"",
        ],
    );
}
