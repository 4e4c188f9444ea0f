//! Key operations under live traffic: a manual rotation, rotations by usage, a revocation after a leak.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;

use crate::audit::{Actor, Channel, Trigger};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::envelope::{Header, Kid};
use crate::rotation::engine::Order;
use crate::rotation::report::Time;
use crate::rotation::{Exposure, KeyringStatus, Reason, Rotation, VersionRef, VersionStatus};

use super::agent::next_message;
use super::layout::Tone;
use super::participants::{Participants, request};
use super::screen::{MessageRow, Screen};

/// The only keyring of the embedded defaults.
const KEYRING: &str = "default";

/// The rotation threshold of the demo, in messages; the default is a billion.
pub(super) const THRESHOLD: u64 = 1_000;

/// The subject of the sensor readings.
const READINGS: &str = "sensors.line.7";

/// Readings in a batch, and the pause between batches.
const BATCH: u32 = 25;
const BATCH_PAUSE: Duration = Duration::from_millis(8);

/// How many rotations to wait for, and a bound on the readings meanwhile.
const SWITCHES: usize = 2;
const MAX_READINGS: u32 = 1_000_000;

const SECRET: &str = "The door code of hall 3 is 88 41 07.";
const NEW_SECRET: &str = "New door code of hall 3: 52 90 16. Did an old message come again?";
const SECRET_SUBJECT: &str = "agents.researcher";
const NOTHING: &str = "Only yours. Code noted.";

/// The results of a stream of readings.
#[derive(Default)]
pub(super) struct Readings {
    /// How many were sent.
    pub(super) sent: u32,
    /// How many were received unchanged and in order.
    pub(super) in_turn: u32,
    /// How many were readable on the bus.
    pub(super) readable: u32,
    /// The key versions that sealed them, in order.
    pub(super) kids: Vec<Kid>,
}

/// A reading, as the receiver, the tap and the outsider got it.
struct Reading {
    number: u32,
    /// What the sensor sent.
    said: String,
    heard: Bytes,
    carried: Bytes,
    seen: Bytes,
}

/// A reason in the name of the user who runs the demo.
fn reason(trigger: Trigger, why: &str) -> Reason {
    Reason {
        trigger,
        who: Actor::Uid(rustix::process::getuid().as_raw()),
        through: Channel::CommandLine,
        why: why.into(),
        basis: None,
    }
}

impl Participants {
    /// A manual rotation.
    pub(super) async fn switch(
        &self,
        screen: &mut Screen,
        rotation: &Rotation,
    ) -> Result<(), Failure> {
        let why = reason(Trigger::Manual, "shown by the demo");
        let rotated = rotation.rotate(KEYRING, why).await;
        let rotated = rotated.map_err(|error| Failure::of(&error))?;
        screen.learn(&rotated.kid, &rotated.to);
        let arrow = screen.style().glyphs.arrow;
        let from = rotated.from.unwrap_or_default();
        let text = format!("key switched by hand: {from} {arrow} {}", rotated.to);
        let rest = "both still open, only the new one seals, no agent reconnects";
        screen.announce(&[&text, rest]).await
    }

    /// Publishes readings until the key was rotated by usage [`SWITCHES`] times.
    pub(super) async fn stream(
        &mut self,
        screen: &mut Screen,
        rotation: &Rotation,
    ) -> Result<Readings, Failure> {
        let mut subscription = self.archivist.subscribe(READINGS).await?;
        let mut readings = Readings::default();
        while readings.kids.len() <= SWITCHES && readings.sent < MAX_READINGS {
            let begun = readings.sent.saturating_add(1);
            readings.sent = readings.sent.saturating_add(BATCH);
            for number in begun..=readings.sent {
                self.stock.publish(READINGS, reading(number)).await?;
            }
            for number in begun..=readings.sent {
                let reading = self.reading(&mut subscription, number).await?;
                let new_kid = readings.count(&reading);
                show_switch(screen, rotation, (new_kid, &reading)).await?;
            }
            tokio::time::sleep(BATCH_PAUSE).await;
        }
        Ok(readings)
    }

    async fn reading(
        &mut self,
        subscription: &mut Subscriber,
        number: u32,
    ) -> Result<Reading, Failure> {
        Ok(Reading {
            number,
            said: reading(number),
            heard: next_message(subscription).await?.payload,
            carried: self.tap.see(READINGS).await?,
            seen: self.outsider.see(READINGS).await?,
        })
    }

    /// Revokes a key version that may have leaked.
    pub(super) async fn revoke(
        &mut self,
        screen: &mut Screen,
        rotation: &Rotation,
    ) -> Result<(), Failure> {
        self.planner.publish(SECRET_SUBJECT, SECRET).await?;
        let told = self.researcher.next().await?;
        let kept = self
            .show(screen, ["planner", "researcher"], &told, SECRET)
            .await?;
        let leaked = leaked(rotation, &kept).await?;
        let order = Order::Compromise(leaked.number);
        let why = reason(Trigger::Compromise, "a copy of it may have been made");
        let after = rotation.order(KEYRING, order, why).await;
        let after = after.map_err(|error| Failure::of(&error))?;
        let which = VersionRef {
            keyring: KEYRING,
            number: leaked.number,
        };
        let exposed = rotation.exposure(which).await;
        let exposed = exposed.map_err(|error| Failure::of(&error))?;
        let missing = || Failure::new(Exit::Failed, "nothing seals after the revocation", "");
        let successor = after.active().ok_or_else(missing)?;
        screen.learn(&successor.kid, &successor.label);
        let lines = [
            format!(
                "key revoked: {} may have leaked; {} seals from now on, no agent reconnects",
                exposed.label, successor.label
            ),
            report(&exposed),
        ];
        screen.announce(&[&lines[0], &lines[1]]).await?;
        self.replay(screen, &kept).await
    }

    /// Replays a message sealed under the revoked version, which is withheld; one sealed under its successor opens.
    async fn replay(&mut self, screen: &mut Screen, kept: &Bytes) -> Result<(), Failure> {
        let stranger = &self.outsider.agent;
        stranger.publish(SECRET_SUBJECT, kept.clone()).await?;
        while self.outsider.see(SECRET_SUBJECT).await? != *kept {}
        while self.tap.see(SECRET_SUBJECT).await? != *kept {}
        let pending_reply = request(&self.planner, SECRET_SUBJECT, NEW_SECRET);
        let asked: Message = self.researcher.next().await?;
        let nothing = if asked.payload == NEW_SECRET.as_bytes() {
            (Tone::Good, "hears nothing: withheld, and counted")
        } else {
            (Tone::Outside, "HEARS IT")
        };
        let did = "sends an old message again, sealed under the revoked key";
        let message_row = MessageRow {
            title: ["outsider", "researcher"],
            heard: nothing,
            subject: SECRET_SUBJECT,
            carried: kept,
            remark: "revoked",
            outside: vec![
                (Tone::Outside, "outsider".to_owned()),
                (Tone::Plain, did.to_owned()),
            ],
        };
        screen.show(message_row).await?;
        self.show(screen, ["planner", "researcher"], &asked, NEW_SECRET)
            .await?;
        self.answer(screen, (&asked, pending_reply), NOTHING).await
    }
}

impl Readings {
    /// Counts a reading; yields the kid of its key version, if that is new.
    fn count(&mut self, reading: &Reading) -> Option<Kid> {
        let in_turn = reading.heard == reading.said.as_bytes();
        self.in_turn = self.in_turn.saturating_add(u32::from(in_turn));
        let Ok(header) = Header::parse(&reading.carried) else {
            self.readable = self.readable.saturating_add(1);
            return None;
        };
        let known = self.kids.contains(&header.kid);
        (!known).then(|| {
            self.kids.push(header.kid);
            header.kid
        })
    }

    /// How often the key was rotated meanwhile.
    pub(super) fn switches(&self) -> usize {
        self.kids.len().saturating_sub(1)
    }
}

/// Shows the first reading under a new key version, and why the key was rotated; nothing where `kid` is `None`.
async fn show_switch(
    screen: &mut Screen,
    rotation: &Rotation,
    (kid, first): (Option<Kid>, &Reading),
) -> Result<(), Failure> {
    let Some(kid) = kid else {
        return Ok(());
    };
    if !screen.knows(kid) {
        let status = status(rotation).await?;
        let kid = kid.to_string();
        let version = status.versions.iter().find(|one| one.kid == kid);
        let label = version.map_or_else(|| kid.clone(), |one| one.label.clone());
        let before = screen.newest().unwrap_or_default().to_owned();
        screen.learn(&kid, &label);
        let arrow = screen.style().glyphs.arrow;
        let lines = [
            format!("key replaced by usage: {before} {arrow} {label}"),
            format!(
                "the audit log says why: \"{}\"; readings go on without a gap",
                why(rotation).await
            ),
        ];
        screen.announce(&[&lines[0], &lines[1]]).await?;
    }
    let remark = format!("reading {}", grouped(u64::from(first.number)));
    let message_row = MessageRow {
        title: ["sensor", "archivist"],
        heard: (Tone::Plain, &first.said),
        subject: READINGS,
        carried: &first.carried,
        remark: &remark,
        outside: screen.outside(&first.seen, &first.said),
    };
    screen.show(message_row).await
}

/// Why the last key version was activated, from the audit log.
async fn why(rotation: &Rotation) -> String {
    let lines = rotation.tail(8).await.unwrap_or_default();
    let told = lines.iter().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line.get("action")? == "activate").then_some(())?;
        Some(line.get("why")?.as_str()?.to_owned())
    });
    told.unwrap_or_default()
}

/// The key version that sealed an envelope.
async fn leaked(rotation: &Rotation, envelope: &[u8]) -> Result<VersionStatus, Failure> {
    let kid = Header::parse(envelope)
        .ok()
        .map(|header| header.kid.to_string());
    let versions = status(rotation).await?.versions;
    let found = versions
        .into_iter()
        .find(|one| Some(&one.kid) == kid.as_ref());
    found.ok_or_else(|| Failure::new(Exit::Failed, "the bus carries what nobody sealed", ""))
}

async fn status(rotation: &Rotation) -> Result<KeyringStatus, Failure> {
    let mut keyrings = rotation.status().await.into_iter();
    let missing = || Failure::new(Exit::Failed, "the gateway has no keyring", "");
    keyrings.next().ok_or_else(missing)
}

/// The exposure report of the revoked version, in a line.
fn report(exposed: &Exposure) -> String {
    let time = |at: Option<Time>| {
        at.map_or_else(String::new, |at| at.0.strftime("%H:%M:%S%.3f").to_string())
    };
    let most = if exposed.exact { "" } else { "at most " };
    format!(
        "exposed: {most}{} messages with {} bytes, sealed on {} from {} to {} UTC; nothing before, nothing after",
        grouped(exposed.sealed.messages),
        grouped(exposed.sealed.bytes),
        exposed.subjects.join(", "),
        time(exposed.from),
        time(exposed.until),
    )
}

/// The payload of a reading.
fn reading(number: u32) -> String {
    format!(
        "{{\"n\":{number},\"bar\":{}.{}}}",
        2_u32.saturating_add(number % 3),
        number % 10
    )
}

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let length = digits.len();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && length.saturating_sub(place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let shown = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
