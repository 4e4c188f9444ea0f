//! Orders: sent to the running gateway, or carried out on its state directory when none runs.

use rustix::process::getuid;

use crate::admin::ApiError;
use crate::app;
use crate::audit::{Actor, Channel};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::operations::{self, Caller, Operations, Order, Reason, Report, VersionPath};
use crate::policy::KeyringName;

use super::admin_client::{AdminClient, refused};
use super::args::{Abort, Change, CommonOptions, Destroy, Drill, Revoke, Rotate};
use super::exit::Exit;
use super::exposure;
use super::failure::Failure;
use super::output::Output;
use super::report::{ExecutedBy, print};
use super::runtime::block_on;
use super::target::Target;
use super::{load, log};

pub(super) fn rotate(args: &Rotate, out: &mut Output) -> Result<(), Failure> {
    require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let name = target.keyring(args.keyring.as_deref())?;
    let asked = operations::Rotate {
        why: args.why.clone(),
        event: args.event,
    };
    give(
        (&target, None),
        Order::Rotate(name.to_owned(), asked),
        &args.common,
        out,
    )
}

pub(super) fn revoke(args: &Revoke, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.common.options)?;
    let selected = target.select(&args.which)?;
    if args.dry_run {
        return exposure::show((&target, &selected), &args.common, out);
    }
    let why = args.why.clone().unwrap_or_default();
    require_reason(&why)?;
    let version = selected.version.clone();
    let order = Order::Revoke(
        selected.keyring.to_owned(),
        operations::Revoke { why, version },
    );
    give((&target, None), order, &args.common, out)
}

/// `keyway suspend`, `restore`, `archive`.
pub(super) fn change(
    args: &Change,
    order: fn(VersionPath, Reason) -> Order,
    out: &mut Output,
) -> Result<(), Failure> {
    require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let which = target.select(&args.which)?.path()?;
    let order = order(which.clone(), reason(&args.why));
    give((&target, Some(&which.1)), order, &args.common, out)
}

pub(super) fn destroy(args: &Destroy, out: &mut Output) -> Result<(), Failure> {
    require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let which = target.select(&args.which)?.path()?;
    let asked = operations::Destroy {
        why: args.why.clone(),
        force: args.force,
        approve: args.approve,
    };
    let order = Order::Destroy(which.clone(), asked);
    give((&target, Some(&which.1)), order, &args.common, out)
}

pub(super) fn abort(args: &Abort, out: &mut Output) -> Result<(), Failure> {
    require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let name = target.keyring(args.keyring.as_deref())?;
    let order = Order::Abort(name.to_owned(), reason(&args.why));
    give((&target, None), order, &args.common, out)
}

pub(super) fn drill(args: &Drill, out: &mut Output) -> Result<(), Failure> {
    require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    give(
        (&target, None),
        Order::Drill(reason(&args.why)),
        &args.common,
        out,
    )
}

fn reason(why: &str) -> Reason {
    Reason {
        why: why.to_owned(),
    }
}

/// Gives the order, and prints what became of it; `version` is the one that it is for, where it is for one.
fn give(
    (target, version): (&Target, Option<&str>),
    order: Order,
    common: &CommonOptions,
    out: &mut Output,
) -> Result<(), Failure> {
    let sent: Option<Report> = block_on(async {
        match AdminClient::connect(&target.socket).await? {
            Some(client) => client.post(&order.path(), order.body()).await.map(Some),
            None => Ok(None),
        }
    })?;
    let (report, by) = match sent {
        Some(report) => (report, ExecutedBy::Gateway),
        None => (carry_out(target, order)?, ExecutedBy::Command),
    };
    print(&report, (version, by), common, out)
}

/// Carries the order out under the lock of the state directory.
fn carry_out(target: &Target, order: Order) -> Result<Report, Failure> {
    let (checked, clock) = (target.checked()?, Clock::system());
    let opened = load::opened(checked, &clock)?;
    if let Some(keyring) = order.keyring() {
        refuse_unknown_keyring(&opened.catalogue, keyring)?;
    }
    drop(log::start(checked.log));
    let caller = Caller {
        who: Actor::Uid(getuid().as_raw()),
        through: Channel::CommandLine,
    };
    let why = if let Order::Rotate(_, asked) = &order {
        asked.why.clone()
    } else {
        String::new()
    };
    let done = block_on(async {
        let carried_out = async |rotation| Operations { rotation, caller }.carry_out(order).await;
        Ok(app::offline(checked, opened, carried_out).await?)
    })?;
    let done = done.map_err(|error| refused(ApiError::of(&error).into_problem()))?;
    if let Report::Rotated(rotated) = &done {
        let (keyring, from) = (rotated.keyring.as_str(), rotated.from.as_deref());
        let (from, to, kid) = (from.unwrap_or("none"), &rotated.to, &rotated.kid);
        tracing::info!(keyring, why, from, to, kid, "rotated");
    }
    Ok(done)
}

/// Refuses an empty reason.
pub(super) fn require_reason(why: &str) -> Result<(), Failure> {
    if why.trim().is_empty() {
        let help = "say in --why what an auditor should read";
        return Err(Failure::new(Exit::Usage, "no reason is given", help));
    }
    Ok(())
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
