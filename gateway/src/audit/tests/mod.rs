//! Fixtures for the tests of the log: a key, a disk that loses unsynced writes, events and facts.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::string_slice,
    reason = "a test stops at the first thing that is not as expected"
)]

mod altered;
mod crash;
mod format;
mod full;
mod page;

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;

use super::*;
use crate::disk::testing::CrashDisk;

const RESERVE: usize = 4096;

struct Home {
    disk: Arc<CrashDisk>,
}

impl Home {
    fn new() -> Self {
        Self {
            disk: Arc::new(CrashDisk::default()),
        }
    }

    fn dir(&self) -> LogDir {
        let files = Arc::<CrashDisk>::clone(&self.disk);
        LogDir::new(files, PathBuf::from("/state/audit")).with_reserve(RESERVE)
    }

    fn create(&self) -> Result<Log, OpenError> {
        Log::create(self.dir(), signer(), "5f0c7a1be2d94c36", at(0))
    }

    fn open(&self, second: i64) -> Result<Log, OpenError> {
        Log::open(self.dir(), signer(), at(second), &[])
    }

    fn verify(&self, elsewhere: &[Checkpoint]) -> Result<Verified, VerifyError> {
        let (log, checkpoints) = (self.dir().log(), self.dir().checkpoints());
        let source = LogFiles {
            files: &*self.disk,
            log: &log,
            checkpoints: &checkpoints,
        };
        verify(&source, signer().verifier(), (elsewhere, &[]))
    }

    fn bytes(&self) -> Vec<u8> {
        crate::disk::Files::read(&*self.disk, &self.dir().log()).unwrap()
    }

    fn notes(&self) -> String {
        let bytes = crate::disk::Files::read(&*self.disk, &self.dir().checkpoints()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn lines(&self) -> Vec<Line> {
        let bytes = self.bytes();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| Line::parse(line).unwrap()).collect()
    }
}

/// The same key in every test.
fn signer() -> Signer {
    Signer::new(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

/// 2026-11-23T10:00:00Z, and so many seconds.
fn at(second: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_428_000_000 + second * 1000 + 5).unwrap()
}

fn act(what: Action, trigger: Option<Trigger>) -> Act {
    Act {
        who: Actor::Uid(1000),
        through: Channel::AdminSocket,
        trigger,
        why: "quarterly".into(),
        what,
        keyring: Some("agents".into()),
        version: Some(version()),
        intended_use: IntendedUse::SealAndOpen,
        forced: None,
        evidence: None,
        exposure: None,
        expiry: Some(at(86_400)),
        scope: vec!["agents.>".into(), "tools.*.call".into()],
        changes: Vec::new(),
    }
}

fn version() -> KeyVersion {
    KeyVersion {
        label: "agents-2026-11-23.3".into(),
        kid: Hex([0xc5; 8]),
        commitment: Hex([0xc5; 32]),
        algorithm: "aes-256-gcm".into(),
    }
}

/// A log of so many lines: events, failures, facts.
fn filled(home: &Home, lines: usize) -> Log {
    let mut log = home.create().unwrap();
    let mut second = 0;
    while home.lines().len() + 2 <= lines {
        second += 1;
        let pending = log
            .begin(act(Action::Generate, Some(Trigger::Time)), at(second))
            .unwrap();
        let outcome = match second % 3 {
            0 => Outcome::Failed("the custodian does not answer".into()),
            1 => Outcome::Done,
            _ => Outcome::Refused("no".into()),
        };
        log.finish(pending, &outcome, at(second)).unwrap();
    }
    if home.lines().len() < lines {
        log.note(Fact::GatewayStopped, at(second)).unwrap();
    }
    log
}
