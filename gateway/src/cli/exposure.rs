//! What is exposed by a key version, without revoking it.

use crate::admin::ApiError;
use crate::catalogue::View;
use crate::config::GatewayConfig;
use crate::rotation::{Exposure, KeyringStatus, OfflineKeyring, OrderError, report};

use super::admin_client::refused;
use super::args::CommonOptions;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::Output;
use super::report::print_exposure;
use super::target::{SelectedVersion, Target};

/// `keyway revoke --dry-run`
pub(super) fn show(
    (target, selected): (&Target, &SelectedVersion<'_>),
    common: &CommonOptions,
    out: &mut Output,
) -> Result<(), Failure> {
    let exposure = exposure(target, selected)?;
    if common.json {
        return Ok(out.json(&exposure)?);
    }
    print_exposure(&exposure, out)?;
    Ok(out.line("nothing is revoked: this was a dry run")?)
}

/// The exposure, from the running gateway or else from the record.
fn exposure(target: &Target, selected: &SelectedVersion<'_>) -> Result<Exposure, Failure> {
    let name = selected.keyring;
    let version = match &selected.version {
        Some(version) => Some(version.clone()),
        None => active(target, name)?,
    };
    let asked = match version {
        Some(version) => target.ask(&format!("/v1/keyrings/{name}/versions/{version}/exposure"))?,
        None => None,
    };
    match asked {
        Some(exposure) => Ok(exposure),
        None => {
            let checked = target.checked()?;
            offline(&load::view(checked)?, (checked, selected))
        }
    }
}

/// The label of the version that seals in the running gateway; `None` when none runs.
fn active(target: &Target, keyring: &str) -> Result<Option<String>, Failure> {
    let Some(keyring) = target.ask::<KeyringStatus>(&format!("/v1/keyrings/{keyring}"))? else {
        return Ok(None);
    };
    let active = keyring.active().map(|version| version.label.clone());
    let help = "name the one that is meant";
    let none = || Failure::new(Exit::Refused, "no version is active", help);
    active.ok_or_else(none).map(Some)
}

fn offline(
    view: &View,
    (checked, selected): (&GatewayConfig, &SelectedVersion<'_>),
) -> Result<Exposure, Failure> {
    let refused = |error| refused(ApiError::of(&error).into_problem());
    let offline = load::offline(view, checked, selected.keyring)?;
    let number = number(&offline, selected.version.as_deref()).map_err(refused)?;
    offline.exposure(number).map_err(refused)
}

/// The number of the selected version, from the record.
pub(super) fn number(offline: &OfflineKeyring<'_>, named: Option<&str>) -> Result<u32, OrderError> {
    let name = offline.rule.name.as_str();
    report::number(&[offline.status()], name, named)
}
