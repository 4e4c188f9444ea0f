//! Key operations: sent to the running gateway, or done on its state directory when none runs.

use rustix::process::getuid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::{ApiError, Caller, KeyService};
use crate::app;
use crate::audit::{Actor, Channel};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::policy::KeyringName;

use super::admin_client::{AdminClient, refused};
use super::args::VersionSelector;
use super::exit::Exit;
use super::failure::Failure;
use super::runtime::block_on;
use super::target::Target;
use super::{load, log};

/// Who has carried out the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExecutedBy {
    /// The running gateway.
    Gateway,
    /// This process.
    Command,
}

/// The keyring and version that the arguments select.
pub(super) struct SelectedVersion<'t> {
    pub(super) keyring: &'t str,
    pub(super) version: Option<String>,
}

/// Posts `body` to `path` of the running gateway; when none runs, calls `here` under the lock of the state directory.
pub(super) fn execute<T: DeserializeOwned>(
    (target, keyring): (&Target, Option<&str>),
    (path, body): (&str, &impl Serialize),
    here: impl AsyncFnOnce(KeyService) -> Result<T, ApiError>,
) -> Result<(T, ExecutedBy), Failure> {
    let asked = block_on(async {
        match AdminClient::connect(&target.socket).await? {
            Some(client) => client.post(path, body).await.map(Some),
            None => Ok(None),
        }
    })?;
    if let Some(answer) = asked {
        return Ok((answer, ExecutedBy::Gateway));
    }
    let (checked, clock) = (target.checked()?, Clock::system());
    let opened = load::opened(checked, &clock)?;
    if let Some(keyring) = keyring {
        refuse_unknown_keyring(&opened.catalogue, keyring)?;
    }
    drop(log::start(checked.log));
    let caller = Caller {
        who: Actor::Uid(getuid().as_raw()),
        through: Channel::CommandLine,
    };
    let order = async move |rotation| {
        here(KeyService {
            rotation,
            caller,
            clock,
        })
        .await
    };
    let done = block_on(async {
        let done = app::offline(checked, opened, order).await;
        done.map_err(|error| Failure::of(&error))
    })?;
    let done = done.map_err(|refusal| refused(refusal.into_problem()))?;
    Ok((done, ExecutedBy::Command))
}

/// Refuses an empty reason.
pub(super) fn require_reason(why: &str) -> Result<(), Failure> {
    if why.trim().is_empty() {
        let help = "say in --why what an auditor should read";
        return Err(Failure::new(Exit::Usage, "no reason is given", help));
    }
    Ok(())
}

/// The named keyring, or without a name the only one.
pub(super) fn keyring<'t>(name: Option<&str>, target: &'t Target) -> Result<&'t str, Failure> {
    let known = || target.keyrings.join(", ");
    match (name, target.keyrings.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::new(
            Exit::Usage,
            "which keyring?",
            format!("name one of: {}", known()),
        )),
        (Some(name), _) => find(name, target).ok_or_else(|| {
            let what = format!("{} has no keyring `{name}`", target.keyrings_source());
            let help = format!(
                "name one of: {}; or the file that has it with --config",
                known()
            );
            Failure::new(Exit::Usage, what, help)
        }),
    }
}

/// Resolves `[KEYRING] [VERSION]`: one word alone is a keyring if there is one of that name, else a version.
pub(super) fn select_version<'t>(
    which: &VersionSelector,
    target: &'t Target,
) -> Result<SelectedVersion<'t>, Failure> {
    let (named, version) = match (&which.first, &which.second) {
        (Some(word), None) if find(word, target).is_none() => (None, Some(word.clone())),
        (first, second) => (first.as_deref(), second.clone()),
    };
    let by_label = || {
        let label = version.as_deref()?;
        let owners = target.keyrings.iter().filter(|keyring| {
            let rest = label.strip_prefix(keyring.as_str());
            rest.is_some_and(|rest| rest.starts_with('-'))
        });
        owners.max_by_key(|keyring| keyring.len())
    };
    let keyring = match (named, by_label()) {
        (None, Some(owner)) => owner.as_str(),
        (named, _) => keyring(named, target)?,
    };
    Ok(SelectedVersion { keyring, version })
}

impl SelectedVersion<'_> {
    /// The version; an error where none is given.
    pub(super) fn version(&self) -> Result<&str, Failure> {
        self.version.as_deref().ok_or_else(|| {
            let help = "name it by number or label: `keyway keys` lists them";
            Failure::new(Exit::Usage, "which version?", help)
        })
    }
}

fn find<'t>(name: &str, target: &'t Target) -> Option<&'t str> {
    let mut keyrings = target.keyrings.iter().map(String::as_str);
    keyrings.find(|keyring| *keyring == name)
}

/// Refuses a keyring that the catalogue does not have: with a configuration other than the gateway's, the operation would create
/// it.
fn refuse_unknown_keyring(catalogue: &Catalogue, asked: &str) -> Result<(), Failure> {
    let held: Vec<&str> = catalogue.keyrings().map(KeyringName::as_str).collect();
    if held.is_empty() || held.contains(&asked) {
        return Ok(());
    }
    let state = catalogue.path().display();
    let held = held.join(", ");
    Err(Failure::new(
        Exit::Operator,
        format!("{state} holds the keyrings {held}, and no `{asked}`"),
        "pass the `--config` that the gateway runs with; a keyring that is new in it gets its first version from `keyway run`",
    ))
}
