//! Power cuts and full disks at every write, on a disk that forgets what was not synced.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use proptest::prelude::*;
use strum::VariantArray as _;

use super::*;
use crate::disk::testing::DiskFault;
use crate::envelope::Kid;

/// More than any operation here takes.
const STEPS: usize = 40;

/// Opens after a crash; continues an interrupted creation.
fn reopen(fixture: &Fixture, disk: &Arc<CrashDisk>) -> Catalogue {
    match fixture.open_on(disk) {
        Err(LoadError::NotInitialised { .. }) => fixture.create_on(disk).unwrap(),
        opened => opened.unwrap(),
    }
}

/// Checks that every version that may have sealed still opens, and that at most one is active.
fn check(catalogue: &Catalogue, sealed: &BTreeSet<Kid>) {
    for kid in sealed {
        let (keyring, version) = catalogue.find_by_kid(*kid).unwrap();
        let key = wait(catalogue.version_key(keyring, version.number))
            .ok()
            .unwrap();
        assert_eq!(key.kid(), *kid);
    }
    for keyring in catalogue.keyrings() {
        let record = catalogue.record(keyring).unwrap();
        let active = record.versions.iter().filter(|v| v.state.seals());
        assert!(active.count() <= 1);
    }
}

/// Adds the active versions, which a gateway may have sealed with.
fn note_active(catalogue: &Catalogue, sealed: &mut BTreeSet<Kid>) {
    let active = catalogue.versions().filter(|(_, v)| v.state.seals());
    sealed.extend(active.map(|(_, v)| v.kid));
}

#[test]
fn creation_cut_off_at_any_step_is_gone_on_with() {
    let fixture = Fixture::new();
    for (step, kept) in (0..STEPS).flat_map(|s| (0..4).map(move |k| (s, k))) {
        let disk = Arc::new(CrashDisk::default());
        disk.arm(step, DiskFault::Crash);
        let done = fixture.create_on(&disk).is_ok();
        assert_eq!(done, !disk.has_fired());
        disk.restart(kept);
        let mut catalogue = reopen(&fixture, &disk);
        catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    }
}

#[test]
fn switch_cut_off_at_any_step_goes_on_to_the_same_end() {
    let fixture = Fixture::new();
    for (step, kept) in (0..STEPS).flat_map(|s| (0..4).map(move |k| (s, k))) {
        let disk = Arc::new(CrashDisk::default());
        let mut catalogue = fixture.create_on(&disk).unwrap();
        let mut sealed = BTreeSet::new();
        catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
        note_active(&catalogue, &mut sealed);
        disk.arm(step, DiskFault::Crash);
        let done = catalogue.rotate(&agents(), SUITE, &fixture.clock).is_ok();
        note_active(&catalogue, &mut sealed);
        drop(catalogue);
        disk.restart(kept);
        let mut catalogue = fixture.open_on(&disk).unwrap();
        check(&catalogue, &sealed);
        let seals = catalogue
            .record(&agents())
            .unwrap()
            .active()
            .unwrap()
            .number;
        assert!(!done || seals == 2);
        if seals == 1 {
            catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
        }
        assert_eq!(
            states(&catalogue, &agents()),
            [(1, State::DecryptOnly), (2, State::Active)]
        );
    }
}

#[test]
fn full_or_read_only_disk_keeps_the_active_version_and_recovers() {
    let fixture = Fixture::new();
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        for step in 0..STEPS {
            let disk = Arc::new(CrashDisk::default());
            let mut catalogue = fixture.create_on(&disk).unwrap();
            catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
            disk.arm(step, DiskFault::Error(kind));
            let failed = catalogue.rotate(&agents(), SUITE, &fixture.clock).err();
            assert_eq!(failed.is_some(), disk.has_fired());
            let Some(error) = failed else { break };
            let text = error.to_string();
            assert!(
                text.contains("no space left") || text.contains("read-only"),
                "{text}"
            );
            assert!(catalogue.record(&agents()).unwrap().active().is_some());
            catalogue.refresh().unwrap();
            if catalogue
                .record(&agents())
                .unwrap()
                .active()
                .unwrap()
                .number
                == 1
            {
                catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
            }
            assert_eq!(
                states(&catalogue, &agents()),
                [(1, State::DecryptOnly), (2, State::Active)]
            );
        }
    }
}

#[test]
fn full_disk_changes_no_file_but_its_own_remains() {
    let fixture = Fixture::new();
    let disk = Arc::new(CrashDisk::default());
    let mut catalogue = fixture.create_on(&disk).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let visible = || {
        let mut content = disk.content();
        content.retain(|path, _| !path.to_string_lossy().ends_with(".tmp"));
        content
    };
    let before = visible();
    disk.arm(0, DiskFault::Error(ErrorKind::StorageFull));
    catalogue
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    assert_eq!(visible(), before);
}

#[test]
fn failed_write_that_took_effect_is_a_conflict_and_then_goes_on() {
    let fixture = Fixture::new();
    let disk = Arc::new(CrashDisk::default());
    let mut catalogue = fixture.create_on(&disk).unwrap();
    // Write and rename succeed; only the directory's fsync fails.
    disk.arm(2, DiskFault::Error(ErrorKind::Other));
    catalogue
        .prepare(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    assert!(catalogue.record(&agents()).is_none());
    let conflict = catalogue
        .prepare(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    assert!(matches!(
        conflict,
        RotateError::Set(SetError::Conflict { found: 1, .. })
    ));
    assert_eq!(
        catalogue.prepare(&agents(), SUITE, &fixture.clock).unwrap(),
        1
    );
    assert_eq!(disk.pending(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Rotate(KeyringName),
    Prepare(KeyringName),
    Set(KeyringName, u32, State),
    Refresh,
    Crash,
}

fn keyring() -> impl Strategy<Value = KeyringName> {
    prop::sample::select(vec![agents(), KeyringName::default()])
}

fn op() -> impl Strategy<Value = Op> {
    let state = prop::sample::select(State::VARIANTS);
    prop_oneof![
        4 => keyring().prop_map(Op::Rotate),
        2 => keyring().prop_map(Op::Prepare),
        3 => (keyring(), 1..6_u32, state).prop_map(|(k, n, s)| Op::Set(k, n, s)),
        1 => Just(Op::Refresh),
        1 => Just(Op::Crash),
    ]
}

/// An operation, the step and kind of the fault during it, and how many unsynced writes survive a crash.
fn troubled() -> impl Strategy<Value = (Op, Option<(usize, bool)>, usize)> {
    (
        op(),
        prop::option::of((0..20_usize, any::<bool>())),
        0..5_usize,
    )
}

fn perform(catalogue: &mut Catalogue, op: &Op, clock: &Clock) {
    // It may fail: what it leaves behind is checked afterwards.
    let _failed = match op {
        Op::Rotate(k) => catalogue.rotate(k, SUITE, clock).is_err(),
        Op::Prepare(k) => catalogue.prepare(k, SUITE, clock).is_err(),
        Op::Set(k, number, state) => catalogue.set_state(k, *number, *state, clock).is_err(),
        Op::Refresh => catalogue.refresh().is_err(),
        Op::Crash => false,
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_sealed_opens_after_any_operations_and_crashes(ops in prop::collection::vec(troubled(), 1..25)) {
        let fixture = Fixture::new();
        let disk = Arc::new(CrashDisk::default());
        let mut catalogue = fixture.create_on(&disk).unwrap();
        let mut sealed = BTreeSet::new();
        for (op, trouble, kept) in ops {
            if let Some((step, deadly)) = trouble {
                let error = DiskFault::Error(ErrorKind::StorageFull);
                disk.arm(step, if deadly { DiskFault::Crash } else { error });
            }
            perform(&mut catalogue, &op, &fixture.clock);
            note_active(&catalogue, &mut sealed);
            let died = trouble.is_some_and(|(_, deadly)| deadly) && disk.has_fired();
            if died || matches!(op, Op::Crash) {
                drop(catalogue);
                disk.restart(kept);
                catalogue = fixture.open_on(&disk).unwrap();
            }
            disk.arm(usize::MAX, DiskFault::Crash);
            // Only a durable destruction may lose a version.
            sealed.retain(|kid| catalogue.find_by_kid(*kid).unwrap().1.state != State::Destroyed);
            check(&catalogue, &sealed);
        }
    }
}
