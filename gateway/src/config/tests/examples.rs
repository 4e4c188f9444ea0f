//! The files of `configs/`.

use std::fs;

use super::*;
use crate::policy::{Answers, Bind, Empty, Rule};

/// The top of the repository.
pub(super) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example(name: &str) -> (GatewayConfig, Vec<Finding>) {
    let path = repository().join("configs").join(name);
    match check(&path, &environment()) {
        Ok(checked) => checked,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn every_example_is_valid() {
    let files = fs::read_dir(repository().join("configs")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    let names = names.iter().map(|name| name.to_str().unwrap());
    let names: Vec<_> = names.filter(|name| name.ends_with(".toml")).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        example(name);
    }
    example("docker/keyway.toml");
}

/// What stands behind `keyway.toml: |` in a manifest, without its indentation.
fn embedded_in(manifest: &str) -> String {
    let path = repository().join("configs/kubernetes").join(manifest);
    let text = fs::read_to_string(path).unwrap();
    let (_, behind) = text.split_once("  keyway.toml: |\n").unwrap();
    let lines = behind
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let lines: Vec<_> = lines.map(str::trim_start).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    lines.join("\n")
}

#[test]
fn every_manifest_holds_a_valid_configuration() {
    for manifest in ["gateway.yaml", "sidecar.yaml"] {
        let text = embedded_in(manifest);
        let checked = check_text(manifest, &text, Path::new("/etc/keyway"), &environment());
        let (checked, _warnings) = checked.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(checked.state, Path::new("/var/lib/keyway/state"));
        assert_eq!(
            checked.admin.listen.map(|addr| addr.port()),
            Some(4290),
            "probes ask there"
        );
    }
}

#[test]
fn quickstart_says_the_defaults() {
    let (mut quickstart, warnings) = example("quickstart.toml");
    let defaults = checked("");
    quickstart.state = defaults.state.clone();
    quickstart.admin.socket = defaults.admin.socket.clone();
    assert_eq!(format!("{quickstart:?}"), format!("{defaults:?}"));
    assert!(warnings.is_empty());
}

#[test]
fn several_keyrings_share_the_subjects() {
    let (checked, _) = example("several-keyrings.toml");
    assert!(checked.keyrings.len() >= 3);
    let keyring = |subject: &str| match checked.policy.route(subject.as_bytes()) {
        Route::Keyring(id) => checked.keyrings[id.index()].name.to_string(),
        Route::Pass => "Pass".to_owned(),
        Route::Reply(_) => "Reply".to_owned(),
    };
    assert_eq!(keyring("agents.seven.task"), "agents");
    assert_eq!(keyring("agents.payroll.run"), "payroll");
    assert_eq!(keyring("$KV.agent-memory.seven"), "memory");
    assert_eq!(keyring("weather.today"), "Pass");
}

#[test]
fn migration_accepts_plaintext_and_warns_of_it() {
    let (checked, warnings) = example("migration.toml");
    let accepts = |rule: &Rule| matches!(rule.plaintext, Plaintext::Accept { .. });
    assert!(checked.policy.keyrings().iter().any(accepts));
    assert!(warnings.iter().any(|w| w.key == "keyring.plaintext"));
}

#[test]
fn cluster_has_servers_and_advertises_the_one_gateway() {
    let (checked, _) = example("cluster.toml");
    assert!(checked.dataplane.servers.len() >= 3);
    // A second gateway has other keys.
    assert_eq!(checked.dataplane.advertise.len(), 1);
    let control = checked.control.unwrap();
    assert_eq!(control.servers.len(), checked.dataplane.servers.len());
    assert!(checked.policy.api_prefixes().eq(["JS.acme.API."]));
}

#[test]
fn strict_believes_little_and_warns_of_nothing() {
    let (checked, warnings) = example("strict.toml");
    assert!(warnings.is_empty(), "{warnings:?}");
    let rules = checked.policy.keyrings();
    let any = |holds: fn(&Rule) -> bool| rules.iter().any(holds);
    assert!(any(
        |rule| (rule.answers, rule.empty) == (Answers::Sealed, Empty::Seal)
    ));
    assert!(any(|rule| rule.answers == Answers::PubAck));
    assert!(any(|rule| rule.undecryptable.limit.is_some()));
    assert!(any(
        |rule| matches!(&rule.bind, Bind::Subject { aliases } if aliases.len() >= 4)
    ));
    assert!(rules.iter().all(|rule| rule.plaintext == Plaintext::Reject));
}

#[test]
fn identity_names_clients_by_direction() {
    let (checked, warnings) = example("identity.toml");
    assert!(warnings.is_empty());
    let rules = checked.policy.keyrings();
    let listed = |rule: &Rule| (rule.publish_by.listed(), rule.deliver_to.listed());
    let sizes = rules.iter().map(|rule| {
        let (publish, deliver) = listed(rule);
        (
            publish.map(|list| list.len()),
            deliver.map(|list| list.len()),
        )
    });
    let sizes: Vec<_> = sizes.collect();
    let [one, two, none] = [Some(1), Some(2), Some(0)];
    assert_eq!(sizes, [(one, two), (one, two), (none, none), (None, None)]);
}
