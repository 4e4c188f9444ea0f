//! `keyway revoke`: a key version never seals again; reports what is exposed.

use std::path::Path;

use crate::admin::api;
use crate::catalogue::View;
use crate::config::GatewayConfig;
use crate::rotation::{OfflineKeyring, report};

use super::admin_client::AdminClient;
use super::args::Revoke;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::order::{self, ExecutedBy, SelectedVersion};
use super::output::Output;
use super::runtime::block_on;
use super::target::Target;

pub(super) fn run(args: &Revoke, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.common.options)?;
    let selected = order::select_version(&args.which, &target)?;
    if args.dry_run {
        let exposure = exposure(&target, &selected)?;
        if args.common.json {
            return Ok(out.json(&exposure)?);
        }
        print_exposure(&exposure, out)?;
        out.line("nothing is revoked: this was a dry run")?;
        return Ok(());
    }
    let why = args.why.clone().unwrap_or_default();
    order::require_reason(&why)?;
    let name = selected.keyring;
    let asked = api::Revoke {
        why,
        version: selected.version.clone(),
    };
    let (revoked, by) = order::execute(
        (&target, Some(name)),
        (&format!("/v1/keyrings/{name}/revoke"), &asked),
        async |key_service| key_service.revoke(name, asked.clone()).await,
    )?;
    if args.common.json {
        out.json(&revoked)?;
    } else {
        print_result(&revoked, by, out)?;
    }
    match revoked.failure {
        None => Ok(()),
        Some(failure) => Err(Failure::new(
            Exit::Operator,
            format!(
                "{} is revoked, but it has no successor: {failure}",
                revoked.exposure.label
            ),
            "publishes wait meanwhile; it is tried again, `keyway status` shows how far it is",
        )),
    }
}

fn print_result(revoked: &api::Revoked, by: ExecutedBy, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!(
        "{} is revoked: it never seals again",
        revoked.exposure.label
    ))?;
    match (&revoked.sealing, by) {
        (Some(label), ExecutedBy::Gateway) => out.line(format_args!("{label} seals now"))?,
        (Some(label), ExecutedBy::Command) => {
            out.line(format_args!("{label} seals as soon as a gateway runs"))?;
        }
        (None, _) => {}
    }
    out.line("")?;
    print_exposure(&revoked.exposure, out)
}

/// Prints what is exposed to whoever has the secret.
fn print_exposure(exposure: &api::Exposure, out: &mut Output) -> Result<(), Failure> {
    let api::Exposure {
        keyring,
        label,
        kid,
        state,
        subjects,
        from,
        until,
        halted,
        sealed,
        exact,
        lanes,
        opens,
    } = exposure;
    let most = if *exact { "" } else { "at most " };
    let never = || "never".to_owned();
    let lines = [
        ("version", format!("{label} ({state}), kid {kid}")),
        ("keyring", keyring.clone()),
        ("subjects", subjects.join(", ")),
        (
            "sealed",
            match until {
                _ if from.is_none() => never(),
                Some(until) => {
                    format!("from {} until {until}", from.clone().unwrap_or_else(never))
                }
                None => format!(
                    "since {}, and {}",
                    from.clone().unwrap_or_else(never),
                    if *halted {
                        "no more: it is revoked or suspended, which could not be written down yet"
                    } else {
                        "still"
                    }
                ),
            },
        ),
        ("messages", format!("{most}{}", sealed.messages)),
        ("bytes", format!("{most}{} of payload", sealed.bytes)),
        ("lanes", format!("{lanes}")),
        (
            "opens here",
            if *opens {
                "yes: whoever has the secret can also seal what opens here"
            } else {
                "no: what was sealed under it and is still stored is withheld"
            }
            .to_owned(),
        ),
    ];
    out.line("exposed to whoever has its secret:")?;
    for (what, value) in lines {
        out.line(format_args!("  {what:<11} {value}"))?;
    }
    Ok(())
}

/// The exposure, from the running gateway or else from the record.
fn exposure(target: &Target, selected: &SelectedVersion<'_>) -> Result<api::Exposure, Failure> {
    let name = selected.keyring;
    let asked = block_on(async {
        let Some(client) = AdminClient::connect(&target.socket).await? else {
            return Ok(None);
        };
        let version = match &selected.version {
            Some(version) => version.clone(),
            None => active(&target.socket, name).await?,
        };
        let path = format!("/v1/keyrings/{name}/versions/{version}/exposure");
        client.get(&path).await.map(Some)
    })?;
    match asked {
        Some(exposure) => Ok(exposure),
        None => {
            let checked = target.checked()?;
            offline(&load::view(checked)?, (checked, selected))
        }
    }
}

/// The label of the version that seals.
async fn active(socket: &Path, keyring: &str) -> Result<String, Failure> {
    let client = AdminClient::required(socket, "it may just have ended").await?;
    let keyring: api::Keyring = client.get(&format!("/v1/keyrings/{keyring}")).await?;
    let active = keyring.active().map(|version| version.label.clone());
    active.ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            "no version is active",
            "name the one that is meant",
        )
    })
}

fn offline(
    view: &View,
    (checked, selected): (&GatewayConfig, &SelectedVersion<'_>),
) -> Result<api::Exposure, Failure> {
    let refused =
        |error| super::admin_client::refused(crate::admin::ApiError::of(&error).into_problem());
    let offline = load::offline(view, checked, selected.keyring)?;
    let number = number(&offline, selected.version.as_deref()).map_err(refused)?;
    offline.exposure(number).map(Into::into).map_err(refused)
}

/// The number of the selected version, from the record.
pub(super) fn number(
    offline: &OfflineKeyring<'_>,
    named: Option<&str>,
) -> Result<u32, crate::rotation::OrderError> {
    let name = offline.rule.name.as_str();
    report::number(&[offline.status()], name, named)
}
