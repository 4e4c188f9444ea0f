//! `keyway rotate`: switches to a new key version, through the running gateway or on its state directory when none runs.

use crate::admin::api;

use super::args::{Event, Rotate};
use super::failure::Failure;
use super::order::{self, ExecutedBy};
use super::output::Output;
use super::target::Target;

pub(super) fn run(args: &Rotate, out: &mut Output) -> Result<(), Failure> {
    order::require_reason(&args.why)?;
    let target = Target::of(&args.common.options)?;
    let name = order::keyring(args.keyring.as_deref(), &target)?;
    let asked = api::Rotate {
        why: args.why.clone(),
        event: args.event.into(),
    };
    let (switch, by) = order::execute(
        (&target, Some(name)),
        (&format!("/v1/keyrings/{name}/rotate"), &asked),
        async |key_service| key_service.rotate(name, asked.clone()).await,
    )?;
    if by == ExecutedBy::Command {
        record(&switch, &args.why);
    }
    if args.common.json {
        return Ok(out.json(&switch)?);
    }
    let api::Switch {
        keyring,
        from,
        to,
        kid,
    } = switch;
    let from = from.unwrap_or_else(|| "no version".to_owned());
    out.line(format_args!("{keyring}: {from} -> {to} (kid {kid})"))?;
    if by == ExecutedBy::Command {
        out.line(
            "no gateway runs on this state directory; the next one seals under the new version",
        )?;
    }
    Ok(())
}

impl From<Event> for api::Event {
    fn from(event: Event) -> Self {
        match event {
            Event::Manual => Self::Manual,
            Event::Personnel => Self::Personnel,
            Event::Deployment => Self::Deployment,
            Event::Compromise => Self::Compromise,
        }
    }
}

/// Logs which version seals from now on.
fn record(switch: &api::Switch, why: &str) {
    let from = switch.from.as_deref().unwrap_or("none");
    let api::Switch {
        keyring, to, kid, ..
    } = switch;
    tracing::info!(keyring, why, from, to, kid, "rotated");
}
