//! Key operations: sent to the running gateway, or done on its state directory when none runs.

use rustix::process::getuid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::{Asker, Desk, Refusal};
use crate::app;
use crate::audit::{Through, Who};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::policy::KeyringName;

use super::args::Which;
use super::client::{Client, refused};
use super::exit::Exit;
use super::failure::Failure;
use super::target::Target;
use super::{log, place, runtime};

/// Who has carried out the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The running gateway.
    Gateway,
    /// This process.
    Command,
}

/// The keyring and version that the arguments select.
pub(super) struct Meant<'t> {
    pub(super) keyring: &'t str,
    pub(super) version: Option<String>,
}

/// Posts `body` to `path` of the running gateway; when none runs, calls `here` under the lock of the state directory.
pub(super) fn carry<T: DeserializeOwned>(
    (target, keyring): (&Target, Option<&str>),
    (path, body): (&str, &impl Serialize),
    here: impl AsyncFnOnce(Desk) -> Result<T, Refusal>,
) -> Result<(T, By), Failure> {
    let asked = runtime()?.block_on(async {
        match Client::connect(&target.socket).await? {
            Some(client) => client.post(path, body).await.map(Some),
            None => Ok(None),
        }
    })?;
    if let Some(answer) = asked {
        return Ok((answer, By::Gateway));
    }
    let (checked, clock) = (target.checked()?, Clock::system());
    let opened = place::opened(checked, &clock)?;
    if let Some(keyring) = keyring {
        refuse_stranger(&opened.catalogue, keyring)?;
    }
    drop(log::start(checked.log));
    let asker = Asker {
        who: Who::Uid(getuid().as_raw()),
        through: Through::CommandLine,
    };
    let order = async move |rotation| {
        here(Desk {
            rotation,
            asker,
            clock,
        })
        .await
    };
    let done = runtime()?.block_on(app::offline(checked, opened, order));
    let done = done.map_err(|error| Failure::of(&error))?;
    let done = done.map_err(|refusal| refused(refusal.into_problem()))?;
    Ok((done, By::Command))
}

/// Refuses an empty reason.
pub(super) fn reasoned(why: &str) -> Result<(), Failure> {
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
            let what = format!("{} has no keyring `{name}`", target.whose());
            let help = format!(
                "name one of: {}; or the file that has it with --config",
                known()
            );
            Failure::new(Exit::Usage, what, help)
        }),
    }
}

/// Resolves `[KEYRING] [VERSION]`: one word alone is a keyring if there is one of that name, else a version.
pub(super) fn meant<'t>(which: &Which, target: &'t Target) -> Result<Meant<'t>, Failure> {
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
    Ok(Meant { keyring, version })
}

impl Meant<'_> {
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
fn refuse_stranger(catalogue: &Catalogue, asked: &str) -> Result<(), Failure> {
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
