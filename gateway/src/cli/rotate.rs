//! `keyway rotate`: a new key version now; through the running gateway, or on its state directory when none runs.

use jiff::Timestamp;

use crate::admin::api;
use crate::app::Opened;
use crate::audit::{Act, Action, Hex, IntendedUse, KeyVersion, Outcome, Through, Trigger, Who};
use crate::catalogue::{Catalogue, Version};
use crate::clock::Clock;
use crate::config::{Checked, Keyring};
use crate::policy::KeyringName;

use super::args::Rotate;
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::{log, place, runtime};

pub(super) fn run(args: &Rotate, out: &mut Output) -> Result<(), Failure> {
    if args.why.trim().is_empty() {
        let help = "say in --why what an auditor should read";
        return Err(Failure::new(Exit::Usage, "no reason is given", help));
    }
    let checked = place::configuration(&args.place)?;
    let keyring = chosen(args, &checked)?;
    let asked = runtime()?.block_on(ask(&checked, keyring, &args.why))?;
    let (switch, live) = match asked {
        Some(switch) => (switch, true),
        None => (switch(&checked, keyring, &args.why)?, false),
    };
    if args.json {
        out.json(&switch)?;
        return Ok(());
    }
    let api::Switch {
        keyring,
        from,
        to,
        kid,
    } = switch;
    let from = from.unwrap_or_else(|| "no version".to_owned());
    out.line(format_args!("{keyring}: {from} -> {to} (kid {kid})"))?;
    if !live {
        out.line(
            "no gateway runs on this state directory; the next one seals under the new version",
        )?;
    }
    Ok(())
}

/// The keyring that is meant.
fn chosen<'a>(args: &Rotate, checked: &'a Checked) -> Result<&'a Keyring, Failure> {
    let known = || {
        let names = checked.keyrings.iter().map(|keyring| keyring.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match (&args.keyring, checked.keyrings.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::new(
            Exit::Usage,
            "which keyring?",
            format!("name one of: {}", known()),
        )),
        (Some(name), keyrings) => keyrings
            .iter()
            .find(|keyring| keyring.name.as_str() == name)
            .ok_or_else(|| {
                let what = format!("the configuration has no keyring `{name}`");
                let help = format!(
                    "name one of: {}; or the file that has it with --config",
                    known()
                );
                Failure::new(Exit::Usage, what, help)
            }),
    }
}

/// Asks the gateway; `None` when none runs.
async fn ask(
    checked: &Checked,
    keyring: &Keyring,
    why: &str,
) -> Result<Option<api::Switch>, Failure> {
    let Some(client) = Client::connect(&checked.admin.socket).await? else {
        return Ok(None);
    };
    let path = format!("/v1/keyrings/{}/rotate", keyring.name);
    let why = why.to_owned();
    client.post(&path, &api::Rotate { why }).await.map(Some)
}

/// Does it here, under the lock that a gateway would hold.
fn switch(checked: &Checked, keyring: &Keyring, why: &str) -> Result<api::Switch, Failure> {
    let clock = Clock::system();
    let Opened {
        mut catalogue,
        mut audit,
    } = place::opened(checked, &clock)?;
    refuse_stranger(&catalogue, keyring)?;
    let pending = audit
        .begin(act(checked, keyring, why), now(&clock)?)
        .map_err(|error| Failure::of(&error))?;
    let switched = catalogue.rotate(&keyring.name, keyring.suite, &clock);
    let (pending, outcome) = match &switched {
        Ok(switched) => {
            let version = version(&catalogue, keyring, switched.active);
            let pending = match version.map(audited) {
                Some(version) => pending.concerns(version),
                None => pending,
            };
            (pending, Outcome::Done)
        }
        Err(error) => (pending, Outcome::Failed(error.to_string().into())),
    };
    let finished = audit.finish(pending, &outcome, now(&clock)?);
    let switched = switched.map_err(|error| Failure::of(&error))?;
    finished.map_err(|error| Failure::of(&error))?;
    let from = switched
        .predecessor
        .and_then(|number| version(&catalogue, keyring, number));
    let to = version(&catalogue, keyring, switched.active)
        .ok_or_else(|| Failure::silent(Exit::Failed))?;
    let switch = api::Switch {
        keyring: keyring.name.to_string(),
        from: from.map(|version| version.label.to_string()),
        to: to.label.to_string(),
        kid: to.kid.to_string(),
    };
    record(checked, &switch, why);
    Ok(switch)
}

fn version<'a>(catalogue: &'a Catalogue, keyring: &Keyring, number: u32) -> Option<&'a Version> {
    catalogue.record(&keyring.name)?.version(number)
}

/// What the audit log says before: one act makes the version and activates it.
fn act(checked: &Checked, keyring: &Keyring, why: &str) -> Act {
    let rules = checked.policy.keyrings();
    let rule = rules.iter().find(|rule| rule.name == keyring.name);
    let subjects = rule.map(|rule| rule.subjects.iter());
    Act {
        who: Who::Uid(rustix::process::getuid().as_raw()),
        through: Through::CommandLine,
        trigger: Some(Trigger::Manual),
        why: why.into(),
        what: Action::Activate,
        keyring: Some(keyring.name.as_str().into()),
        version: None,
        intended_use: IntendedUse::SealAndOpen,
        expiry: None,
        scope: subjects
            .into_iter()
            .flatten()
            .map(|subject| subject.to_string().into())
            .collect(),
    }
}

fn audited(version: &Version) -> KeyVersion {
    KeyVersion {
        label: version.label.as_str().into(),
        kid: Hex(version.kid.0),
        commitment: Hex(version.commitment.0),
        algorithm: version.suite.name().into(),
    }
}

fn now(clock: &Clock) -> Result<Timestamp, Failure> {
    Timestamp::try_from(clock.wall())
        .map_err(|error| Failure::new(Exit::Operator, error.to_string(), "set the system's clock"))
}

/// Another configuration than the gateway's would add a keyring that nobody asked for, and leave the one that is meant as it is.
fn refuse_stranger(catalogue: &Catalogue, keyring: &Keyring) -> Result<(), Failure> {
    let held: Vec<&str> = catalogue.keyrings().map(KeyringName::as_str).collect();
    if held.is_empty() || held.contains(&keyring.name.as_str()) {
        return Ok(());
    }
    let state = catalogue.path().display();
    let (held, asked) = (held.join(", "), &keyring.name);
    Err(Failure::new(
        Exit::Operator,
        format!("{state} holds the keyrings {held}, and no `{asked}`"),
        "pass the `--config` that the gateway runs with; a keyring that is new in it gets its first version from `keyway run`",
    ))
}

/// The line that a running gateway would have logged.
fn record(checked: &Checked, switch: &api::Switch, why: &str) {
    log::start(checked.log);
    let from = switch.from.as_deref().unwrap_or("none");
    let api::Switch {
        keyring, to, kid, ..
    } = switch;
    tracing::info!(keyring, why, from, to, kid, "rotated");
}
