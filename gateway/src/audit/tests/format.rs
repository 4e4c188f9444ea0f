//! The format of lines and checkpoints, byte by byte.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use serde::de::DeserializeOwned;
use strum::VariantNames;

use super::*;

/// An independent reader of signed notes, after C2SP signed-note and tlog-checkpoint.
fn independent(note: &str, vkey: &str) -> (String, u64, Vec<u8>) {
    let mut parts = vkey.splitn(3, '+');
    let (name, hash) = (parts.next().unwrap(), parts.next().unwrap());
    let key = BASE64.decode(parts.next().unwrap().as_bytes()).unwrap();
    assert_eq!(key.len(), 33);
    assert_eq!(key[0], 1);
    let mut hashed = name.as_bytes().to_vec();
    hashed.push(10);
    hashed.extend_from_slice(&key);
    let id = &digest(&SHA256, &hashed).as_ref()[..4].to_vec();
    assert_eq!(HEXLOWER.encode(id), hash);
    let at = note.find("\n\n").unwrap();
    let (text, signature) = (&note[..=at], &note[at + 2..]);
    let signature = signature.strip_suffix('\n').unwrap();
    let mut words = signature.split(' ');
    assert_eq!(words.next(), Some("\u{2014}"));
    assert_eq!(words.next(), Some(name));
    let blob = BASE64.decode(words.next().unwrap().as_bytes()).unwrap();
    assert_eq!(words.next(), None);
    assert_eq!(blob[..4], id[..]);
    UnparsedPublicKey::new(&ED25519, &key[1..])
        .verify(text.as_bytes(), &blob[4..])
        .unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let root = BASE64.decode(lines[2].as_bytes()).unwrap();
    (lines[0].to_owned(), lines[1].parse().unwrap(), root)
}

#[test]
fn event_has_its_intent_and_its_whole_outcome() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let pending = log
        .begin(act(Action::Generate, Some(Trigger::Forecast)), at(1))
        .unwrap();
    let id = pending.id();
    log.finish(pending, &Outcome::Done, at(2)).unwrap();
    let text = String::from_utf8(home.bytes()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let prev =
        |line: &str| HEXLOWER.encode(digest(&SHA256, format!("{line}\n").as_bytes()).as_ref());
    let event = format!(
        r#""event":"{id}","initiated":"2026-11-23T10:00:01.005Z","who":"uid:1000","through":"admin-socket","trigger":"forecast","why":"quarterly","action":"generate","keyring":"agents""#
    );
    let rest = r#""version":{"label":"agents-2026-11-23.3","kid":"KID","commitment":"COMMITMENT","algorithm":"aes-256-gcm"},"intended_use":"seal-and-open","expiry":"2026-11-24T10:00:00.005Z","scope":["agents.>","tools.*.call"]"#;
    let rest = rest.replace("KID", &"c5".repeat(8));
    let rest = rest.replace("COMMITMENT", &"c5".repeat(32));
    assert_eq!(
        lines,
        [
            format!(
                r#"{{"seq":1,"prev":"{}","kind":"note","time":"2026-11-23T10:00:00.005Z","note":"begun","format":1,"catalogue":"5f0c7a1be2d94c36"}}"#,
                "0".repeat(64)
            ),
            format!(
                r#"{{"seq":2,"prev":"{}","kind":"intent",{event},{rest}}}"#,
                prev(lines[0])
            ),
            format!(
                r#"{{"seq":3,"prev":"{}","kind":"outcome",{event},{rest},"completed":"2026-11-23T10:00:02.005Z","outcome":"done","error":null,"record":null}}"#,
                prev(lines[1])
            ),
        ]
    );
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.set("relay-only", false);
    settings.set("keyring.agents.subjects", vec!["agents.>"]);
    settings.set("keyring.agents.limit.messages", u64::MAX);
    settings
}

/// One of each kind that can follow the first line.
pub(super) fn facts() -> Vec<Fact> {
    vec![
        Fact::GatewayStarted {
            version: "0.1.0".into(),
            policy: None,
        },
        Fact::GatewayStarted {
            version: "0.1.0".into(),
            policy: Some(settings().in_force()),
        },
        Fact::GatewayStopped,
        Fact::RecordsLeft {
            records: vec![RecordRef::of("agents", 7, b"{}")],
        },
        Fact::GatewayHandedOver,
        Fact::GatewayTookBack,
        Fact::ConfigurationReloaded {
            result: "3 keyrings".into(),
            changes: Settings::default().changes(&settings()),
            policy: Some(InForce {
                sha256: settings().digest(),
                settings: None,
            }),
        },
        Fact::LogReplaced {
            who: "uid:1000".into(),
            why: "the disk lost it".into(),
            heads: vec![Head::of(signer().verifier(), 12)],
        },
        Fact::RollbackAlarm {
            what: "agents: epoch 3, 5 was seen".into(),
        },
        Fact::TailRepaired {
            bytes: 17,
            sha256: Hex([1; 32]),
        },
        Fact::Uncovered { first: 1, last: 2 },
        Fact::Drill {
            who: "uid:1000".into(),
            why: "monthly".into(),
        },
        Fact::ReserveReleased,
        Fact::ClockSet { seconds: -86_400 },
    ]
}

#[test]
fn every_line_reads_back_as_it_was_written() {
    let home = Home::new();
    let mut log = filled(&home, 12);
    for fact in facts() {
        log.note(fact, at(9)).unwrap();
    }
    let bytes = home.bytes();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let parsed = Line::parse(line).unwrap();
        assert_eq!(parsed.bytes().unwrap(), line);
    }
}

/// A line of a version that wrote neither `record` nor `policy`.
#[test]
fn line_that_names_no_record_is_read_as_one_that_led_to_none() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let pending = log
        .begin(act(Action::Activate, Some(Trigger::Manual)), at(1))
        .unwrap();
    log.finish(pending, &Outcome::Done, at(2)).unwrap();
    let text = String::from_utf8(home.bytes()).unwrap();
    let now = text.lines().last().unwrap();
    let then = now.replace(r#","record":null"#, "");
    assert_ne!(now, then);
    assert_eq!(
        Line::parse(now.as_bytes()).unwrap(),
        Line::parse(then.as_bytes()).unwrap()
    );
}

#[test]
fn last_word_on_a_record_is_the_highest_epoch_that_was_named_and_outlasts_a_restart() {
    let record = |epoch, content: &[u8]| RecordRef::of("agents", epoch, content);
    let home = Home::new();
    let mut log = home.create().unwrap();
    let owed = log
        .begin(act(Action::Activate, Some(Trigger::Manual)), at(1))
        .unwrap();
    let next = log
        .begin(act(Action::Archive, Some(Trigger::Time)), at(2))
        .unwrap();
    let next = next.with_record(Some(record(9, b"nine")));
    log.finish(next, &Outcome::Done, at(3)).unwrap();
    // The line that a full disk delayed.
    let owed = owed.with_record(Some(record(7, b"seven")));
    log.finish(owed, &Outcome::Done, at(4)).unwrap();
    let last = |log: &Log| {
        log.verified_state()
            .unwrap()
            .records()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(last(&log), [record(9, b"nine")]);
    let records = vec![record(12, b"twelve")];
    log.note(Fact::RecordsLeft { records }, at(5)).unwrap();
    drop(log);
    assert_eq!(last(&home.open(6).unwrap()), [record(12, b"twelve")]);
}

#[test]
fn words_read_back() {
    fn all<T: DeserializeOwned + ToString + VariantNames>() {
        let read = |word: &str| serde_json::from_value::<T>(word.into());
        for word in T::VARIANTS {
            assert_eq!(read(word).unwrap().to_string(), *word);
        }
        assert!(read("nothing-of-this").is_err());
    }
    all::<Action>();
    all::<Trigger>();
    all::<Channel>();
    all::<IntendedUse>();
    for who in [
        Actor::Gateway,
        Actor::Uid(0),
        Actor::Token("gateway:x".into()),
    ] {
        assert_eq!(who.to_string().parse::<Actor>().unwrap(), who);
    }
}

#[test]
fn checkpoints_are_what_others_tools_expect() {
    let home = Home::new();
    let log = filled(&home, 7);
    let vkey = log.verifier().unwrap().to_string();
    let bytes = home.bytes();
    let mut tree = tree::Tree::default();
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let notes = home.notes();
    let mut seen = 0;
    for note in notes.split_terminator("\n\n").collect::<Vec<_>>().chunks(2) {
        let note = format!("{}\n\n{}\n", note[0], note[1]);
        let (name, size, root) = independent(&note, &vkey);
        tree.push(lines.next().unwrap());
        seen += 1;
        assert_eq!(
            (name.as_str(), size),
            (log.verifier().unwrap().name(), seen)
        );
        assert_eq!(root, tree.root().0);
    }
    assert_eq!(seen, 7);
    let last = log.checkpoint().unwrap();
    assert!(notes.ends_with(&format!("{last}\n")));
    assert_eq!(independent(&last, &vkey).1, 7);
}

#[test]
fn note_from_another_implementation_opens() {
    // Made by the library golang.org/x/mod/sumdb/note: its documentation's key, and its text.
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!(key.to_string(), vkey);
    let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let (text, signatures) = note.rsplit_once("\n\n").unwrap();
    key.check(&format!("{text}\n"), signatures).unwrap();
    assert_eq!(
        key.check(&format!("{text} \n"), signatures),
        Err(BadNote::Signature)
    );
}

#[test]
fn verifier_keys_that_are_none_are_refused_with_what_would_be_right() {
    let right = signer().verifier().to_string();
    assert_eq!(right.parse::<VerifierKey>().unwrap(), *signer().verifier());
    let other = right.replacen("keyway/", "keyvay/", 1);
    let cut = &right[..right.len() - 4];
    for wrong in ["", "a+b", "a+00000000+AQ==", "a b+0+", &other, cut] {
        let error = wrong.parse::<VerifierKey>().unwrap_err().to_string();
        assert!(error.contains("; give the line"), "{error}");
    }
}

#[test]
fn checkpoint_of_another_log_or_shape_is_told() {
    let note = filled(&Home::new(), 3).checkpoint().unwrap();
    let ours = signer();
    let open = |note: &str| Checkpoint::open(note, ours.verifier());
    assert_eq!(open(&note).unwrap().size, 3);
    assert_eq!(
        open(&note.replace("\n3\n", "\n4\n")),
        Err(BadNote::Signature)
    );
    assert!(matches!(
        open(&note.replace("keyway", "keyvay")),
        Err(BadNote::OtherLog { .. })
    ));
    let unsigned = note.replace("— keyway", "— keyvay");
    assert!(matches!(open(&unsigned), Err(BadNote::Unsigned(_))));
    for wrong in ["", "x", "\n\n", "a\nb\n\n— c d\n", &note.replace('—', "-")] {
        assert!(open(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn tail_is_the_exact_last_lines() {
    let home = Home::new();
    let log = filled(&home, 9);
    let bytes = home.bytes();
    let lines: Vec<&[u8]> = bytes
        .strip_suffix(b"\n")
        .unwrap()
        .split(|b| *b == b'\n')
        .collect();
    for count in [0, 1, 4, 9, 20] {
        let from = lines.len().saturating_sub(count);
        assert_eq!(log.tail(count).unwrap(), lines[from..]);
    }
    // A line that is longer than one read, and an incomplete one behind it.
    let mut log = home.open(10).unwrap();
    let mut wide = act(Action::Reload, None);
    wide.scope = vec![Text::from("x".repeat(1000)); 200];
    drop(log.begin(wide, at(11)).unwrap());
    home.disk.tamper(&home.dir().log(), |bytes| {
        bytes.extend_from_slice(b"{\"torn")
    });
    let files = Arc::<CrashDisk>::clone(&home.disk);
    let mut backwards = ReverseLines::open(files, home.dir().log()).unwrap();
    let mut count = 0;
    while let Some(line) = backwards.next_line().unwrap() {
        assert_eq!(Line::parse(&line).unwrap().seq, 10 - count);
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn settings_stand_in_every_line_before_which_the_log_says_others() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    let (old, new) = (Settings::default(), settings());
    let reloaded = |to: &Settings| Fact::ConfigurationReloaded {
        result: "a test".into(),
        changes: Vec::new(),
        policy: Some(to.in_force()),
    };
    // The second and the third were made while the log had the old settings.
    let facts = [&old, &new, &old, &old].map(reloaded);
    for fact in facts {
        log.note(fact, at(1)).unwrap();
    }
    let said = home.lines();
    let said = said.iter().filter_map(|line| line.body.policy());
    let said: Vec<_> = said.map(|policy| policy.settings.as_ref()).collect();
    assert_eq!(said, [Some(&old), Some(&new), Some(&old), None]);
    assert_eq!(log.last_policy(), Some(&old));
}
