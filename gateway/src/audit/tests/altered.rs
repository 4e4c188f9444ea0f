//! However the files are altered, the first wrong line is named.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::fault::Faulty;

/// An alteration of the lines.
#[derive(Clone, Debug)]
enum Damage {
    Remove(Index),
    Repeat(Index),
    Swap(Index, Index),
    Byte(Index, u8),
    Insert(Index, u8),
    Truncate(Index),
    Rewrite(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Damage::Remove),
        index().prop_map(Damage::Repeat),
        (index(), index()).prop_map(|(one, two)| Damage::Swap(one, two)),
        (index(), 1_u8..).prop_map(|(at, by)| Damage::Byte(at, by)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        index().prop_map(Damage::Truncate),
        index().prop_map(Damage::Rewrite),
    ]
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

impl Damage {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = split(bytes);
        let mut all = bytes.to_vec();
        let count = lines.len();
        match self {
            Self::Remove(at) => drop(lines.remove(at.index(count))),
            Self::Repeat(at) => {
                let at = at.index(count);
                lines.insert(at, lines[at].clone());
            }
            Self::Swap(one, two) => lines.swap(one.index(count), two.index(count)),
            Self::Byte(at, by) => {
                all[at.index(bytes.len())] ^= by;
                return all;
            }
            Self::Insert(at, byte) => {
                all.insert(at.index(bytes.len()), *byte);
                return all;
            }
            Self::Truncate(at) => {
                all.truncate(at.index(bytes.len()));
                return all;
            }
            Self::Rewrite(at) => rewrite(&mut lines, at.index(count)),
        }
        lines.concat()
    }
}

/// Changes a line, and recomputes every hash behind it, as an attacker without the key can.
fn rewrite(lines: &mut [Vec<u8>], at: usize) {
    let mut prev: Option<Hash> = None;
    for bytes in &mut lines[at..] {
        let mut line = Line::parse(bytes).unwrap();
        match prev {
            Some(prev) => line.prev = prev,
            None => {
                line.body = Body::Note(Note {
                    time: super::at(7),
                    fact: Fact::GatewayStopped,
                });
            }
        }
        *bytes = line.bytes().unwrap();
        prev = Some(hash::sha256(&[bytes]));
    }
}

/// The first line that differs.
fn first_difference(before: &[u8], after: &[u8]) -> u64 {
    let (before, after) = (split(before), split(after));
    let same = before.iter().zip(&after).take_while(|(b, a)| b == a);
    same.count() as u64 + 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn first_wrong_line_is_named(lines in 1_usize..12, damage in damage()) {
        let home = Home::new();
        drop(filled(&home, lines));
        let before = home.bytes();
        let after = damage.apply(&before);
        home.disk.tamper(&home.dir().log(), |bytes| bytes.clone_from(&after));
        let found = home.verify(&[]);
        if before == after {
            prop_assert_eq!(found.unwrap().lines, lines as u64);
        } else {
            let Err(VerifyError::Altered { tampering, .. }) = found else {
                return Err(TestCaseError::fail(format!("{found:?}")));
            };
            prop_assert_eq!(tampering.line(), Some(first_difference(&before, &after)), "{}", tampering);
            // And the gateway does not open it.
            let opened = home.open(99);
            let refused = matches!(opened, Err(OpenError::NotVerified { .. }));
            prop_assert!(refused);
            prop_assert_eq!(home.bytes(), after);
        }
    }

    #[test]
    fn changed_checkpoint_is_named(lines in 1_usize..6, at: Index, by in 1_u8..) {
        let home = Home::new();
        drop(filled(&home, lines));
        let path = home.dir().checkpoints();
        let len = home.notes().len();
        home.disk.tamper(&path, |bytes| bytes[at.index(len)] ^= by);
        match home.verify(&[]) {
            Err(VerifyError::Altered { tampering: Tampering::Checkpoint { .. }, .. }) => {}
            // A line end of the last note is missing: the note is incomplete, and its line has no checkpoint.
            Ok(verified) => {
                prop_assert!(verified.checkpoints_torn);
                prop_assert_eq!((verified.covered, verified.lines), (lines as u64 - 1, lines as u64));
            }
            Err(VerifyError::NoCheckpoint { .. }) => prop_assert_eq!(lines, 1),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}

#[test]
fn lines_without_their_own_checkpoint_are_told_apart_by_the_chain() {
    let home = Home::new();
    drop(filled(&home, 9));
    // Only the first and the last checkpoint are left.
    home.disk.tamper(&home.dir().checkpoints(), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let notes: Vec<&str> = text.split_inclusive("\n\n").collect();
        *bytes = [&notes[..2], &notes[16..]].concat().concat().into_bytes();
    });
    let whole = home.bytes();
    assert_eq!(home.verify(&[]).unwrap().checkpoints, 2);
    for line in 2..=8_usize {
        home.disk.tamper(&home.dir().log(), |bytes| {
            let mut lines = split(&whole);
            let text = String::from_utf8(lines[line - 1].clone()).unwrap();
            lines[line - 1] = text.replacen("2026-", "2027-", 1).into_bytes();
            *bytes = lines.concat();
        });
        let Err(VerifyError::Altered { tampering, .. }) = home.verify(&[]) else {
            panic!("line {line} was changed");
        };
        let line = line as u64;
        assert_eq!(
            tampering,
            Tampering::Changed {
                first: line,
                last: if line == 8 { 9 } else { line }
            }
        );
    }
}

#[test]
fn cutting_log_and_checkpoints_together_is_noticed_with_a_checkpoint_kept_elsewhere() {
    let home = Home::new();
    let note = filled(&home, 9).checkpoint().unwrap();
    let kept = Checkpoint::open(&note, signer().verifier()).unwrap();
    assert_eq!(home.verify(&[kept]).unwrap().lines, 9);
    home.disk.tamper(&home.dir().log(), |bytes| {
        *bytes = split(bytes)[..6].concat()
    });
    home.disk.tamper(&home.dir().checkpoints(), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let notes: Vec<&str> = text.split_inclusive("\n\n").collect();
        *bytes = notes[..12].concat().into_bytes();
    });
    assert_eq!(home.verify(&[]).unwrap().lines, 6);
    let error = home.verify(&[kept]).unwrap_err();
    let cut = Tampering::Truncated {
        line: 7,
        covered: 9,
    };
    assert!(matches!(error, VerifyError::Altered { tampering, .. } if tampering == cut));
    // An attacker who has the key, too, can continue it, but not to the same log.
    let mut log = home.open(50).unwrap();
    for second in 50..53 {
        log.note(Fact::GatewayStopped, at(second)).unwrap();
    }
    let error = home.verify(&[kept]).unwrap_err();
    let forked = Tampering::Forked { size: 9 };
    assert!(matches!(error, VerifyError::Altered { tampering, .. } if tampering == forked));
}

#[test]
fn record_beside_the_log_tells_that_lines_are_gone_and_vouches_for_none() {
    let home = Home::new();
    let head = filled(&home, 9).head().unwrap();
    let whole = home.bytes();
    let beside = |head: &Head| {
        let (log, checkpoints) = (home.dir().log(), home.dir().checkpoints());
        let source = LogFiles {
            files: &*home.disk,
            log: &log,
            checkpoints: &checkpoints,
        };
        let heads = [head.clone()];
        match verify(&source, signer().verifier(), (&[], &heads)) {
            Err(VerifyError::Altered { tampering, .. }) => Err(Some(tampering)),
            found => found.map_err(|_unvouched| None),
        }
    };
    assert_eq!(beside(&head).unwrap().lines, 9);
    home.disk.tamper(&home.dir().log(), |bytes| {
        *bytes = split(bytes)[..6].concat()
    });
    let notes = crate::disk::Files::read(&*home.disk, &home.dir().checkpoints()).unwrap();
    home.disk.tamper(&home.dir().checkpoints(), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let notes: Vec<&str> = text.split_inclusive("\n\n").collect();
        *bytes = notes[..12].concat().into_bytes();
    });
    let cut = Tampering::ShorterThanHead { line: 7, named: 9 };
    assert_eq!(beside(&head), Err(Some(cut)));
    home.disk.tamper(&home.dir().log(), |bytes| *bytes = whole);
    home.disk
        .tamper(&home.dir().checkpoints(), |bytes| *bytes = notes);
    assert!(beside(&head).is_ok());
    crate::disk::Files::remove(&*home.disk, &home.dir().checkpoints()).unwrap();
    assert_eq!(beside(&head), Err(None));
}

#[test]
fn log_without_any_checkpoint_is_not_believed() {
    let home = Home::new();
    drop(filled(&home, 3));
    home.disk.tamper(&home.dir().checkpoints(), Vec::clear);
    assert!(matches!(
        home.verify(&[]),
        Err(VerifyError::NoCheckpoint { .. })
    ));
    let error = home.open(1).err().unwrap().with_help();
    assert!(
        error.contains("move the directory `audit` and the file `audit.key` away"),
        "{error}"
    );
}

#[test]
fn checkpoints_that_do_not_grow_are_refused() {
    let home = Home::new();
    drop(filled(&home, 3));
    home.disk.tamper(&home.dir().checkpoints(), |bytes| {
        bytes.extend_from_within(..)
    });
    let error = home.verify(&[]).unwrap_err().to_string();
    assert!(error.contains("checkpoint 4 is out of place"), "{error}");
}

#[test]
fn line_of_a_later_version_verifies_and_is_not_continued() {
    let home = Home::new();
    let mut log = home.create().unwrap();
    log.note(Fact::GatewayStopped, at(1)).unwrap();
    let whole = String::from_utf8(home.bytes()).unwrap();
    let later = whole.replace("gateway-stopped", "gateway-paused");
    let mut tree = tree::Tree::default();
    let mut notes = String::new();
    for line in split(later.as_bytes()) {
        tree.push(&line);
        let checkpoint = Checkpoint {
            size: tree.size(),
            root: tree.root(),
        };
        notes.push_str(&checkpoint.sign(&signer()));
        notes.push('\n');
    }
    home.disk.tamper(&home.dir().log(), |bytes| {
        *bytes = later.clone().into_bytes()
    });
    home.disk.tamper(&home.dir().checkpoints(), |bytes| {
        *bytes = notes.clone().into_bytes()
    });
    assert_eq!(home.verify(&[]).unwrap().unknown, 1);
    assert!(matches!(
        home.open(2),
        Err(OpenError::Newer { line: 2, .. })
    ));
}
