//! Reading and writing without faults, and what is refused.

use super::*;
use crate::disk;

const RECORD_WRITTEN: [&str; 3] = [
    "write .agents.json.tmp",
    "rename agents.json",
    "sync catalogue",
];
const SEEN_WRITTEN: [&str; 3] = ["write .seen.json.tmp", "rename seen.json", "sync state"];

#[test]
fn first_version_is_active_and_labelled() {
    let home = Home::new();
    let mut catalogue = home.create();
    let number = catalogue
        .rotate(&agents(), SUITE, &home.clock)
        .unwrap()
        .active;
    let record = catalogue.record(&agents()).unwrap();
    let version = record.active().unwrap();
    assert_eq!((number, version.number), (1, 1));
    assert_eq!(version.label.as_str(), "agents-2026-11-23.1");
    assert_eq!(version.kid, version.commitment.kid());
    assert_eq!(record.epoch, 3);
}

#[test]
fn successor_is_active_in_the_same_write_as_its_predecessor_stops() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    home.winder.advance(Duration::from_hours(24));
    let switched = catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    assert_eq!(
        switched,
        Switched {
            active: 2,
            predecessor: Some(1)
        }
    );
    assert_eq!(
        states(&catalogue, &agents()),
        [(1, State::DecryptOnly), (2, State::Active)]
    );
    let record = catalogue.record(&agents()).unwrap();
    assert_eq!(record.versions[0].deactivated, record.versions[1].activated);
    assert_eq!(record.versions[1].label.as_str(), "agents-2026-11-24.2");
}

#[test]
fn version_keys_are_the_same_after_reopening() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let records = catalogue.record(&agents()).cloned();
    drop(catalogue);
    let catalogue = home.open().unwrap();
    assert_eq!(catalogue.record(&agents()).cloned(), records);
    assert_eq!(catalogue.versions_that_open().count(), 2);
    for (keyring, version) in catalogue.versions_that_open() {
        let key = catalogue.version_key(keyring, version.number).ok().unwrap();
        assert_eq!(key.commitment(), version.commitment);
        let found = catalogue.find_by_kid(key.kid()).unwrap();
        assert_eq!(found.1.number, version.number);
    }
}

#[test]
fn record_file_is_json_that_people_can_read() {
    let home = Home::new();
    home.create().rotate(&agents(), SUITE, &home.clock).unwrap();
    let text = std::fs::read_to_string(home.dir.join("catalogue/agents.json")).unwrap();
    for part in [
        "\"keyring\": \"agents\"",
        "\"label\": \"agents-2026-11-23.1\"",
        "\"state\": \"active\"",
        "\"suite\": \"aes-256-gcm\"",
        "\"created\": \"2026-11-23T10:00:00Z\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let documents: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(documents.len(), 2);
    assert!(documents[1]["signature"].is_string());
}

#[test]
fn other_expected_epoch_is_a_conflict() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let before = home.content();
    let record = catalogue.record(&agents()).unwrap().clone();
    for expected in [0, 1, 2, 4, u64::MAX] {
        let error = catalogue
            .compare_and_set(expected, record.clone())
            .unwrap_err();
        assert!(matches!(error, SetError::Conflict { found: 3, .. }));
    }
    assert_eq!(home.content(), before);
    catalogue.compare_and_set(3, record).unwrap();
}

#[test]
fn refused_record_leaves_disk_and_memory_alone() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let (before, good) = (home.content(), catalogue.record(&agents()).unwrap().clone());
    let mut bad = good.clone();
    bad.versions.clear();
    let error = catalogue.compare_and_set(3, bad).unwrap_err();
    assert!(matches!(
        error,
        SetError::Refused {
            rule: Invalid::LeftOut(1),
            ..
        }
    ));
    assert_eq!(home.content(), before);
    assert_eq!(catalogue.record(&agents()), Some(&good));
}

#[test]
fn secret_of_another_version_is_refused() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let mut moved = catalogue.record(&agents()).unwrap().clone();
    moved.versions[1].wrapped = moved.versions[0].wrapped.clone();
    let error = catalogue.compare_and_set(6, moved).unwrap_err();
    assert!(matches!(error, SetError::Secret { .. }), "{error}");
}

#[test]
fn secret_that_its_record_does_not_commit_to_is_never_used() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let mut version = catalogue.record(&agents()).unwrap().versions[0].clone();
    // Another secret, correctly wrapped under the KEK for this version.
    let other = crate::secret::Secret::random().unwrap();
    let context = view::context(&agents(), 1, &version.commitment.0);
    version.wrapped = Some(home.custodian.wrap(&other, &context).unwrap());
    let error = catalogue.unwrap_version(&agents(), &version).err();
    assert!(matches!(error, Some(KeyError::Commitment { .. })));
}

#[test]
fn kid_of_another_keyring_is_refused() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.prepare(&agents(), SUITE, &home.clock).unwrap();
    let tools: KeyringName = "tools".parse().unwrap();
    let mut record = catalogue.record(&agents()).unwrap().clone();
    record.keyring = tools.clone();
    record.versions[0].label = Label::new(&tools, record.versions[0].created, 1);
    let error = catalogue.compare_and_set(0, record).unwrap_err();
    assert!(matches!(
        error,
        SetError::Refused {
            rule: Invalid::SameKid(1),
            ..
        }
    ));
}

#[test]
fn destroyed_version_has_no_secret_and_says_so() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let refused = catalogue.set_state(&agents(), 1, State::Destroyed, &home.clock);
    assert!(matches!(
        refused,
        Err(RotateError::Set(SetError::Refused { .. }))
    ));
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    catalogue
        .set_state(&agents(), 1, State::Destroyed, &home.clock)
        .unwrap();
    drop(catalogue);
    let catalogue = home.open().unwrap();
    assert!(
        catalogue.record(&agents()).unwrap().versions[0]
            .wrapped
            .is_none()
    );
    let error = catalogue.version_key(&agents(), 1).err().unwrap();
    assert!(matches!(error, KeyError::Destroyed { .. }));
    assert!(catalogue.version_key(&agents(), 2).is_ok());
    let error = catalogue.version_key(&agents(), 3).err().unwrap();
    assert!(matches!(error, KeyError::Unknown { .. }));
}

#[test]
fn only_a_ready_version_is_activated() {
    let home = Home::new();
    let mut catalogue = home.create();
    let number = catalogue.make(&agents(), SUITE, &home.clock).unwrap();
    for state in [State::PreActive, State::Destroyed] {
        catalogue
            .set_state(&agents(), number, state, &home.clock)
            .unwrap();
        let error = catalogue.activate(&agents(), number, &home.clock);
        assert!(matches!(error, Err(RotateError::NotReady { .. })));
    }
}

#[test]
fn account_is_kept_and_lanes_only_grow() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    for (messages, lanes) in [(1000, 7), (600, 3)] {
        let reserved = Used { messages, bytes: 5 };
        let account = Account {
            number: 1,
            reserved,
            sealed: Used::default(),
            lanes,
        };
        catalogue.account(&agents(), &[account]).unwrap();
        let view = home.view();
        let version = view.record(&agents()).unwrap().version(1).unwrap();
        assert_eq!((version.reserved, version.lanes), (reserved, 7));
    }
}

#[test]
fn reader_without_the_lock_follows_the_writer() {
    let home = Home::new();
    let mut catalogue = home.create();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    let mut view = home.view();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    assert_eq!(states(&view, &agents()), [(1, State::Active)]);
    view.refresh().unwrap();
    assert_eq!(
        states(&view, &agents()),
        [(1, State::DecryptOnly), (2, State::Active)]
    );
}

#[test]
fn reader_writes_nothing() {
    let home = Home::new();
    home.create().rotate(&agents(), SUITE, &home.clock).unwrap();
    let before = home.content();
    home.view().refresh().unwrap();
    assert_eq!(home.content(), before);
}

#[test]
fn record_is_durable_before_its_epoch_is_remembered() {
    let home = Home::new();
    let disk = Arc::new(Forgetful::default());
    let mut catalogue = home.create_on(&disk).unwrap();
    catalogue.prepare(&agents(), SUITE, &home.clock).unwrap();
    disk.take_log();
    catalogue
        .set_state(&agents(), 1, State::Ready, &home.clock)
        .unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, SEEN_WRITTEN].concat());
}

#[test]
fn epochs_of_versions_that_cannot_seal_are_remembered_with_the_one_that_can() {
    let home = Home::new();
    let disk = Arc::new(Forgetful::default());
    let mut catalogue = home.create_on(&disk).unwrap();
    catalogue.rotate(&agents(), SUITE, &home.clock).unwrap();
    disk.take_log();
    let number = catalogue.make(&agents(), SUITE, &home.clock).unwrap();
    let account = Account {
        number,
        reserved: Used::default(),
        sealed: Used::default(),
        lanes: 0,
    };
    catalogue
        .admit(&agents(), (account, Vec::new()), &home.clock)
        .unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, RECORD_WRITTEN].concat());
    assert_eq!(catalogue.load_seen().unwrap()[&agents()], 3);
    catalogue.activate(&agents(), number, &home.clock).unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, SEEN_WRITTEN].concat());
    assert_eq!(catalogue.load_seen().unwrap()[&agents()], 6);
}

#[test]
fn catalogue_is_created_once() {
    let home = Home::new();
    home.create();
    let before = home.content();
    let error = Catalogue::create(home.lock(), Arc::clone(&home.custodian)).err();
    assert!(matches!(
        error,
        Some(CreateError::Load(LoadError::Disk(
            disk::Error::Exists { .. }
        )))
    ));
    assert_eq!(home.content(), before);
}

#[test]
fn second_writer_is_kept_off() {
    let home = Home::new();
    let _catalogue = home.create();
    assert!(matches!(
        Lock::take(home.dir),
        Err(disk::Error::Locked { .. })
    ));
}
