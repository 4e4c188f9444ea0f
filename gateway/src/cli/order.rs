//! Orders: sent to the running gateway, or carried out on its state directory when none runs.

use rustix::process::getuid;

use crate::admin::ApiError;
use crate::app;
use crate::audit::{Actor, Channel};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::operations::{self, Caller, Change, Operations, Order, Reason, Report};
use crate::policy::KeyringName;

use super::admin_client::{AdminClient, refused};
use super::args::{self, Abort, CommonOptions, Destroy, Drill, Revoke, Rotate};
use super::exit::Exit;
use super::exposure;
use super::failure::Failure;
use super::output::Output;
use super::report::{ExecutedBy, print};
use super::runtime::block_on;
use super::target::Target;
use super::{load, log};

pub(super) fn rotate(args: &Rotate, out: &mut Output) -> Result<(), Failure> {
    let Reason { why } = reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let keyring = target.keyring(args.keyring.as_deref())?.to_owned();
    let event = args.event;
    let order = Order::Rotate(keyring, operations::Rotate { why, event });
    give(&target, order, &args.common, out)
}

pub(super) fn revoke(args: &Revoke, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.common.options)?;
    let selected = target.select(&args.which)?;
    if args.dry_run {
        return exposure::show((&target, &selected), &args.common, out);
    }
    let Reason { why } = reason(args.why.as_deref().unwrap_or_default())?;
    let (keyring, version) = (selected.keyring.to_owned(), selected.version);
    let order = Order::Revoke(keyring, operations::Revoke { why, version });
    give(&target, order, &args.common, out)
}

/// `keyway suspend`, `restore`, `archive`.
pub(super) fn change(args: &args::Change, change: Change, out: &mut Output) -> Result<(), Failure> {
    let why = reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let which = target.select(&args.which)?.path()?;
    let order = Order::Change(change, which, why);
    give(&target, order, &args.common, out)
}

pub(super) fn destroy(args: &Destroy, out: &mut Output) -> Result<(), Failure> {
    let Reason { why } = reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let which = target.select(&args.which)?.path()?;
    let asked = operations::Destroy {
        why,
        force: args.force,
        approve: args.approve,
    };
    give(&target, Order::Destroy(which, asked), &args.common, out)
}

pub(super) fn abort(args: &Abort, out: &mut Output) -> Result<(), Failure> {
    let why = reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let keyring = target.keyring(args.keyring.as_deref())?.to_owned();
    give(&target, Order::Abort(keyring, why), &args.common, out)
}

pub(super) fn drill(args: &Drill, out: &mut Output) -> Result<(), Failure> {
    let why = reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    give(&target, Order::Drill(why), &args.common, out)
}

/// Gives the order, and prints what became of it.
fn give(
    target: &Target,
    order: Order,
    common: &CommonOptions,
    out: &mut Output,
) -> Result<(), Failure> {
    let version = order.version().map(str::to_owned);
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
    print(&report, (version.as_deref(), by), common, out)
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

/// The reason; refuses an empty one.
pub(super) fn reason(why: &str) -> Result<Reason, Failure> {
    if why.trim().is_empty() {
        let help = "say in --why what an auditor should read";
        return Err(Failure::new(Exit::Usage, "no reason is given", help));
    }
    let why = why.to_owned();
    Ok(Reason { why })
}

/// Refuses a keyring that the catalogue does not have: with a configuration other than the gateway's, the operation would create
/// it.
fn refuse_unknown_keyring(catalogue: &Catalogue, asked: &str) -> Result<(), Failure> {
    let held: Vec<&str> = catalogue.keyrings().map(KeyringName::as_str).collect();
    if held.is_empty() || held.contains(&asked) {
        return Ok(());
    }
    let (state, held) = (catalogue.path().display(), held.join(", "));
    Err(Failure::new(
        Exit::Operator,
        format!("{state} holds the keyrings {held}, and no `{asked}`"),
        "pass the `--config` that the gateway runs with; a keyring that is new in it gets its first version from `keyway run`",
    ))
}
