//! `keyway rotate`: a new key version now; through the running gateway, or on its state directory when none runs.

use rustix::process::getuid;

use crate::admin::api;
use crate::app;
use crate::audit::{Through, Trigger, Who};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::{Checked, Keyring};
use crate::policy::KeyringName;
use crate::rotation::{Because, Rotation};

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
    client
        .post(
            &path,
            &api::Rotate {
                why,
                event: api::Event::default(),
            },
        )
        .await
        .map(Some)
}

/// Does it here, under the lock that a gateway would hold.
fn switch(checked: &Checked, keyring: &Keyring, why: &str) -> Result<api::Switch, Failure> {
    let opened = place::opened(checked, &Clock::system())?;
    refuse_stranger(&opened.catalogue, keyring)?;
    let because = Because {
        trigger: Trigger::Manual,
        who: Who::Uid(getuid().as_raw()),
        through: Through::CommandLine,
        why: why.into(),
    };
    let name = keyring.name.as_str().to_owned();
    let order = async move |rotation: Rotation| rotation.rotate(&name, because).await;
    let rotated = runtime()?.block_on(app::offline(checked, opened, order));
    let rotated = rotated.map_err(|error| Failure::of(&error))?;
    let switch = api::Switch::from(rotated.map_err(|error| Failure::of(&error))?);
    record(checked, &switch, why);
    Ok(switch)
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
    drop(log::start(checked.log));
    let from = switch.from.as_deref().unwrap_or("none");
    let api::Switch {
        keyring, to, kid, ..
    } = switch;
    tracing::info!(keyring, why, from, to, kid, "rotated");
}
