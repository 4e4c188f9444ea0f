//! What is exposed by a key version, without revoking it.

use crate::admin::ApiError;
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
    if let Some(version) = version
        && let path = format!("/v1/keyrings/{name}/versions/{version}/exposure")
        && let Some(exposure) = target.ask(&path)?
    {
        return Ok(exposure);
    }
    of_record(
        target,
        (name, selected.version.as_deref()),
        |offline, number| offline.exposure(number),
    )
}

/// The label of the version that seals in the running gateway; `None` when none runs.
fn active(target: &Target, keyring: &str) -> Result<Option<String>, Failure> {
    let Some(keyring) = target.ask::<KeyringStatus>(&format!("/v1/keyrings/{keyring}"))? else {
        return Ok(None);
    };
    let Some(active) = keyring.active() else {
        let help = "name the one that is meant";
        return Err(Failure::new(Exit::Refused, "no version is active", help));
    };
    Ok(Some(active.label.clone()))
}

/// What the record says of a version, when no gateway runs.
pub(super) fn of_record<T>(
    target: &Target,
    (keyring, version): (&str, Option<&str>),
    what: impl FnOnce(&OfflineKeyring<'_>, u32) -> Result<T, OrderError>,
) -> Result<T, Failure> {
    let checked = target.checked()?;
    let view = load::view(checked)?;
    let offline = load::offline(&view, checked, keyring)?;
    let number = report::number(&[offline.status()], keyring, version);
    let told = number.and_then(|number| what(&offline, number));
    told.map_err(|error| refused(ApiError::of(&error).into_problem()))
}
