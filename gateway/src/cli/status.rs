//! `keyway status`: every keyring at a glance.

use std::path::Path;

use bytesize::ByteSize;
use jiff::Timestamp;
use serde::Serialize;

use crate::app;
use crate::catalogue::State;
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::operations::{self, Readiness};
use crate::printable::Count;
use crate::rotation::engine::RotationStage;
use crate::rotation::{Amount, KeyringStatus, PublishStall, VersionStatus};

use super::admin_client::{AdminClient, Answers};
use super::args::Status;
use super::failure::Failure;
use super::load;
use super::lost::{self, Lost};
use super::output::{Line, Output, table};
use super::runtime::block_on;
use super::target::Target;
use super::terminal::{Paint, bar, span};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// `null`: none runs, and the rest is from the records.
    gateway: Option<operations::Status>,
    keyrings: Vec<KeyringStatus>,
    /// Messages refused or withheld since the gateway started.
    lost: Vec<Lost>,
}

pub(super) fn run(args: &Status, out: &mut Output) -> Result<(), Failure> {
    let target = Target::of(&args.options)?;
    let asked = block_on(ask(&target.socket))?;
    let report = match asked {
        Some(report) => report,
        None => offline(target.checked()?)?,
    };
    if args.json {
        return Ok(out.json(&report)?);
    }
    let paint = Paint::of_process();
    match &report.gateway {
        Some(gateway) => out.lines(headline(gateway, paint))?,
        None => out.lines([offline_headline(&target), Line::default()])?,
    }
    let readiness = report.gateway.as_ref().map(|gateway| &gateway.readiness);
    out.lines(page(&report.keyrings, readiness, paint))?;
    out.lines(lost::lines(&report.lost))?;
    Ok(())
}

async fn ask(socket: &Path) -> Result<Option<Report>, Failure> {
    let Some(client) = AdminClient::connect(socket).await? else {
        return Ok(None);
    };
    let answers = Answers::of(client, "it may just have ended").await?;
    Ok(Some(Report {
        gateway: Some(answers.status),
        keyrings: answers.keyrings,
        lost: lost::lost(&answers.metrics),
    }))
}

fn offline(checked: &GatewayConfig) -> Result<Report, Failure> {
    let view = load::view(checked)?;
    let keyrings = checked.keyrings.iter().map(|keyring| {
        let offline = load::offline(&view, checked, keyring.name.as_str())?;
        Ok(offline.status())
    });
    Ok(Report {
        gateway: None,
        keyrings: keyrings.collect::<Result<_, Failure>>()?,
        lost: Vec::new(),
    })
}

/// Says why only the records are shown.
fn offline_headline(target: &Target) -> Line {
    let (state, socket) = (target.state.display(), target.socket.display());
    if app::is_gateway_running(&target.state) {
        return format_args!("a gateway runs on {state}, but not with its admin socket at {socket}: pass the `--config` that it runs with; the records say:").into();
    }
    format_args!("no gateway runs on {state}; its records say:").into()
}

/// The version, and whether the gateway is ready.
pub(super) fn state(status: &operations::Status, paint: Paint) -> Line {
    let state = if status.readiness.ready {
        paint.good("ready")
    } else {
        paint.bad("not ready")
    };
    Line::from(format_args!("keyway {}: ", status.version)).and(state)
}

/// Readiness, and what is wrong.
fn headline(status: &operations::Status, paint: Paint) -> Vec<Line> {
    let mut lines = vec![state(status, paint)];
    if status.relay_only {
        lines.push("  relay-only: no payload is sealed or opened".into());
    }
    let reasons = status.readiness.reasons.iter();
    lines.extend(reasons.map(|reason| paint.bad(format_args!("  {reason}"))));
    let degraded = status.readiness.degraded.iter();
    lines.extend(degraded.map(|what| paint.warning(format_args!("  degraded: {what}"))));
    lines.push(Line::default());
    lines
}

/// A row for each keyring, and below it one for each other version that is not destroyed.
fn page(keyrings: &[KeyringStatus], readiness: Option<&Readiness>, paint: Paint) -> Vec<Line> {
    let head = [
        "KEYRING",
        "VERSION",
        "STATE",
        "AGE",
        "BUDGET USED",
        "FORECAST",
    ];
    let now = now();
    let mut rows = Vec::new();
    let mut paints: Vec<fn(Paint, &String) -> Line> = vec![|_, head| head.into()];
    for keyring in keyrings {
        rows.push(active_row(keyring, readiness, paint));
        paints.push(if is_in_trouble(keyring) {
            |paint, row| paint.bad(row)
        } else {
            |_, row| row.into()
        });
        let others = keyring.versions.iter().rev();
        for version in others.filter(|version| is_worth_a_line(version)) {
            rows.push(other_row(version, now));
            paints.push(|paint, row| paint.quiet(row));
        }
    }
    let lines = table(head, rows);
    let lines = lines.iter().zip(paints);
    lines.map(|(line, painted)| painted(paint, line)).collect()
}

fn is_in_trouble(keyring: &KeyringStatus) -> bool {
    keyring.stopped.is_some()
        || keyring.active().is_none_or(|active| active.exhausted)
        || keyring.outlook.failure.is_some()
}

fn is_worth_a_line(version: &VersionStatus) -> bool {
    !matches!(version.state, State::Active | State::Destroyed)
}

fn active_row(keyring: &KeyringStatus, readiness: Option<&Readiness>, paint: Paint) -> [String; 6] {
    let Some(active) = keyring.active() else {
        let [none, state, dash] = ["none", "publishes wait", "-"].map(str::to_owned);
        let (name, next) = (keyring.keyring.clone(), next(keyring, readiness));
        return [name, none, state, dash.clone(), dash, next];
    };
    let state = match keyring.stopped {
        _ if active.halted => "halted: does not seal".to_owned(),
        Some(PublishStall::NotLoaded) => "cannot be loaded".to_owned(),
        Some(PublishStall::NotReserved) => "none reserved".to_owned(),
        _ if active.exhausted => "used up".to_owned(),
        _ => active.state.to_string(),
    };
    [
        keyring.keyring.clone(),
        active.label.clone(),
        state,
        span(active.age_seconds),
        budget(active.used, keyring.terms.limit, paint),
        next(keyring, readiness),
    ]
}

/// The forecast; refers to the lines above for a failure that they have already.
fn next(keyring: &KeyringStatus, readiness: Option<&Readiness>) -> String {
    let failure = keyring.outlook.failure.as_ref();
    let is_listed = |failure: &String| {
        let lines = readiness.map(|readiness| readiness.reasons.iter().chain(&readiness.degraded));
        lines.is_some_and(|mut lines| lines.any(|line| line.contains(failure)))
    };
    if failure.is_some_and(is_listed) {
        return "fails: see above".to_owned();
    }
    forecast(keyring)
}

fn other_row(version: &VersionStatus, now: Timestamp) -> [String; 6] {
    let ends = version.overlap_ends;
    let ends = ends.and_then(|ends| seconds(now, ends.0));
    let note = match (ends, &version.kept) {
        (Some(left), _) => format!("overlap: {} left", span(left)),
        (None, Some(kept)) => format!("kept: {kept}"),
        (None, None) => String::new(),
    };
    [
        String::new(),
        version.label.clone(),
        version.state.to_string(),
        span(version.age_seconds),
        String::new(),
        note,
    ]
}

/// The share of the budget used, by messages or by bytes, whichever is larger.
pub(super) fn budget(used: Amount, limit: Amount, paint: Paint) -> String {
    let messages = share(used.messages, limit.messages);
    let bytes = share(used.bytes, limit.bytes);
    let (share, what) = if bytes > messages {
        (bytes, format!("of {}", ByteSize(limit.bytes)))
    } else {
        (messages, format!("of {}", Count(limit.messages, "message")))
    };
    let (whole, tenth) = (share / 10, share % 10);
    format!("{} {whole}.{tenth} % {what}", bar(share, paint))
}

/// How much of `limit` is used, in thousandths.
fn share(used: u64, limit: u64) -> u64 {
    let used = u128::from(used).saturating_mul(1000);
    let share = used.checked_div(u128::from(limit)).unwrap_or(1000);
    u64::try_from(share).unwrap_or(1000).min(1000)
}

/// A failure, a rotation under way, or the time to the next one: by cryptoperiod or by threshold, whichever is sooner.
pub(super) fn forecast(keyring: &KeyringStatus) -> String {
    let outlook = &keyring.outlook;
    if let Some(failure) = &outlook.failure {
        return format!("fails: {failure}");
    }
    if outlook.stage != RotationStage::None {
        return format!("rotating: {}", <&str>::from(outlook.stage));
    }
    match (outlook.threshold_in_seconds, outlook.rotates_in_seconds) {
        (Some(threshold), rotates) if rotates.is_none_or(|rotates| threshold < rotates) => {
            format!("threshold in {}", span(threshold))
        }
        (_, Some(rotates)) => format!("rotates in {}", span(rotates)),
        (_, None) => "-".to_owned(),
    }
}

/// Seconds from `now` until then; `None` when that is over.
fn seconds(now: Timestamp, then: Timestamp) -> Option<u64> {
    u64::try_from(then.as_second().saturating_sub(now.as_second())).ok()
}

fn now() -> Timestamp {
    Timestamp::try_from(Clock::system().wall()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { colour: false };

    #[test]
    fn fuller_dimension_of_the_budget_is_shown() {
        let limit = Amount {
            messages: 1000,
            bytes: 1 << 20,
        };
        let shown = |messages, bytes| budget(Amount { messages, bytes }, limit, PLAIN);
        assert_eq!(shown(0, 0), "[----------] 0.0 % of 1000 messages");
        assert_eq!(shown(415, 0), "[####------] 41.5 % of 1000 messages");
        assert_eq!(shown(415, 1 << 19), "[#####-----] 50.0 % of 1.0 MiB");
        assert_eq!(shown(2000, 0), "[##########] 100.0 % of 1000 messages");
    }
}
