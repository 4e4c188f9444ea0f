//! Tests of the local KEK, its refusals and their messages.

use std::os::unix::fs::PermissionsExt;

use zeroize::Zeroizing;

use super::*;
use crate::custodian::{Custodian, UnwrapFailed, Wrapped};
use crate::disk::testing::{CrashDisk, DiskFault};
use crate::fault::Faulty;
use crate::later::wait;
use crate::secret::memory::{find_in_memory, masked, on_deep_stack, with_fewer_cpu_features};

const WORDS: &[u8] = b"correct horse battery staple\n";

fn state() -> (tempfile::TempDir, Lock) {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::create(&root.path().join("state")).unwrap();
    (root, Lock::acquire(dir).unwrap())
}

fn passphrase(words: &[u8]) -> Passphrase {
    Passphrase::new(Zeroizing::new(words.to_vec()))
        .ok()
        .unwrap()
}

fn error(result: Result<Kek, OpenError>) -> OpenError {
    result.err().unwrap()
}

#[test]
fn kek_from_a_file_unwraps_after_it_is_opened_again() {
    let (_root, lock) = state();
    let secret = Secret::random().unwrap();
    let wrapped = wait(init(&lock, None).unwrap().wrap(&secret, b"here")).unwrap();
    let again: Wrapped = wrapped.to_string().parse().unwrap();
    let kek = open(lock.dir(), None).unwrap();
    let opened = wait(kek.unwrap(&again, b"here")).ok().unwrap();
    assert_eq!(opened.expose(), secret.expose());
    assert_eq!(kek.describe().kind, "file");
    let text = std::fs::read_to_string(lock.dir().join(KEK)).unwrap();
    assert!(text.starts_with("keyway-kek-1:") && text.ends_with('\n'));
    let mode = std::fs::metadata(lock.dir().join(KEK)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn kek_from_a_passphrase_unwraps_after_it_is_derived_again() {
    let (_root, lock) = state();
    let secret = Secret::random().unwrap();
    let kek = init(&lock, Some(&passphrase(WORDS))).unwrap();
    let wrapped = wait(kek.wrap(&secret, b"here")).unwrap();
    let kek = open(lock.dir(), Some(&passphrase(WORDS))).unwrap();
    let opened = wait(kek.unwrap(&wrapped, b"here")).ok().unwrap();
    assert_eq!(opened.expose(), secret.expose());
    let wrong = error(open(lock.dir(), Some(&passphrase(b"correct horse"))));
    assert!(
        matches!(wrong, OpenError::WrongPassphrase { .. }),
        "{wrong}"
    );
    let none = error(open(lock.dir(), None));
    assert!(matches!(none, OpenError::PassphraseNeeded { .. }), "{none}");
    let json = std::fs::read_to_string(lock.dir().join(KEK_PARAMETERS)).unwrap();
    assert!(json.contains("argon2id") && !json.contains("horse"));
}

#[test]
fn wrapped_secret_is_bound_to_its_context_kek_and_every_bit() {
    let (_root, lock) = state();
    let (_other_root, other) = state();
    let (kek, other) = (init(&lock, None).unwrap(), init(&other, None).unwrap());
    let wrapped = wait(kek.wrap(&Secret::random().unwrap(), b"here")).unwrap();
    assert_eq!(
        wait(kek.unwrap(&wrapped, b"there")).err(),
        Some(UnwrapFailed::Damaged)
    );
    assert!(matches!(
        wait(other.unwrap(&wrapped, b"here")),
        Err(UnwrapFailed::OtherKek { .. })
    ));
    for byte in 0..wrapped.0.len() {
        let mut flipped = wrapped.clone();
        flipped.0[byte] ^= 1;
        assert!(wait(kek.unwrap(&flipped, b"here")).is_err(), "byte {byte}");
    }
}

#[test]
fn missing_kek_names_the_directory_and_both_remedies() {
    let (_root, lock) = state();
    let text = error(open(lock.dir(), None)).with_help();
    assert!(
        text.contains("keyway init") && text.contains("backup"),
        "{text}"
    );
}

#[test]
fn kek_file_that_others_may_read_is_refused() {
    let (_root, lock) = state();
    init(&lock, None).unwrap();
    let path = lock.dir().join(KEK);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = error(open(lock.dir(), None)).with_help();
    assert!(
        text.contains("0644") && text.contains("chmod 0600"),
        "{text}"
    );
}

#[test]
fn damaged_kek_file_is_told_from_another_kek() {
    let (_root, lock) = state();
    init(&lock, None).unwrap();
    let path = lock.dir().join(KEK);
    let good = std::fs::read(&path).unwrap();
    for byte in 0..good.len() - 1 {
        let mut bad = good.clone();
        bad[byte] = if bad[byte] == b'A' { b'B' } else { b'A' };
        std::fs::write(&path, &bad).unwrap();
        let e = error(open(lock.dir(), None));
        assert!(matches!(e, OpenError::Damaged { .. }), "byte {byte}: {e}");
    }
    std::fs::write(&path, &good[..30]).unwrap();
    assert!(matches!(
        error(open(lock.dir(), None)),
        OpenError::Damaged { .. }
    ));
}

#[test]
fn damaged_parameters_are_told_from_a_wrong_passphrase() {
    let (_root, lock) = state();
    init(&lock, Some(&passphrase(WORDS))).unwrap();
    let path = lock.dir().join(KEK_PARAMETERS);
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [
        good.replace("65536", "65535"),
        good.replace("argon2id", "argon2d"),
        good.replace("\"salt\": \"", "\"salt\": \"AAAA"),
        good.replace("\"passes\": 3,", "\"passes\": 3, \"more\": 1,"),
        good.chars().take(40).collect(),
        String::new(),
    ] {
        std::fs::write(&path, bad).unwrap();
        let e = error(open(lock.dir(), Some(&passphrase(WORDS))));
        assert!(matches!(e, OpenError::Damaged { .. }), "{e}");
    }
}

#[test]
fn later_formats_ask_for_an_upgrade() {
    let (_root, lock) = state();
    init(&lock, None).unwrap();
    let path = lock.dir().join(KEK);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("kek-1", "kek-7")).unwrap();
    let e = error(open(lock.dir(), None));
    assert!(matches!(e, OpenError::Newer(_, 7)), "{e}");
    std::fs::remove_file(&path).unwrap();
    let path = lock.dir().join(KEK_PARAMETERS);
    std::fs::write(&path, r#"{"format": 2, "scrypt": true}"#).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let e = error(open(lock.dir(), Some(&passphrase(WORDS))));
    assert!(matches!(e, OpenError::Newer(_, 2)), "{e}");
}

#[test]
fn kek_of_the_other_sort_or_of_both_sorts_is_named() {
    let (_root, lock) = state();
    init(&lock, None).unwrap();
    let words = passphrase(WORDS);
    let e = error(open(lock.dir(), Some(&words)));
    assert!(matches!(e, OpenError::PassphraseUnneeded { .. }), "{e}");
    let path = lock.dir().join(KEK_PARAMETERS);
    std::fs::write(&path, "{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let e = error(open(lock.dir(), None));
    assert!(matches!(e, OpenError::Both { .. }), "{e}");
}

#[test]
fn init_never_replaces_a_kek_nor_adds_one_to_wrapped_keys() {
    let (_root, lock) = state();
    init(&lock, None).unwrap();
    let before = std::fs::read(lock.dir().join(KEK)).unwrap();
    for words in [None, Some(passphrase(WORDS))] {
        let e = init(&lock, words.as_ref()).err().unwrap();
        assert!(matches!(e, InitError::Disk(disk::Error::Exists { .. })));
    }
    assert_eq!(std::fs::read(lock.dir().join(KEK)).unwrap(), before);
    std::fs::remove_file(lock.dir().join(KEK)).unwrap();
    std::fs::write(lock.dir().join("catalogue.key"), "").unwrap();
    let e = init(&lock, None).err().unwrap();
    assert!(matches!(e, InitError::KeysWithoutKek { .. }), "{e}");
    assert!(!exists(lock.dir()));
}

#[test]
fn short_passphrase_is_refused() {
    let (_root, lock) = state();
    let e = init(&lock, Some(&passphrase(b"fourteen bytes"))).err();
    assert!(matches!(e, Some(InitError::ShortPassphrase)));
    assert!(!exists(lock.dir()));
}

#[test]
fn full_and_read_only_disks_leave_no_kek() {
    let (_root, lock) = state();
    for (kind, words) in [
        (std::io::ErrorKind::StorageFull, "no space left"),
        (std::io::ErrorKind::ReadOnlyFilesystem, "read-only"),
    ] {
        for step in 0..2 {
            let disk = CrashDisk::default();
            disk.arm(step, DiskFault::Error(kind));
            let e = init_on(&disk, lock.dir(), None).err().unwrap();
            assert!(e.to_string().contains(words), "{e}");
            assert!(disk.read(&lock.dir().join(KEK)).is_err());
        }
    }
}

#[test]
fn wrapping_leaves_no_copy_of_a_secret_in_memory() {
    with_fewer_cpu_features("custody::local::tests::wrapping_leaves_no_copy_of_a_secret_in_memory");
    let secrets = on_deep_stack(|| {
        let (_root, lock) = state();
        let secret = Secret::random().unwrap();
        let wrapped = wait(init(&lock, None).unwrap().wrap(&secret, b"here")).unwrap();
        let kek = open(lock.dir(), None).unwrap();
        drop(wait(kek.unwrap(&wrapped, b"here")).ok().unwrap());
        let path = lock.dir().join(KEK);
        let kek = on_wiped_thread(|| {
            let text = read(&path).unwrap().unwrap();
            masked(kek_file::parse(&path, &text).ok().unwrap().expose())
        });
        [masked(secret.expose()), kek]
    });
    for secret in secrets {
        assert_eq!(find_in_memory(&secret), Vec::<String>::new());
    }
}

#[test]
fn passphrase_leaves_no_copy_in_memory() {
    let words = on_deep_stack(|| {
        let (_root, lock) = state();
        let words = Secret::random().unwrap();
        let phrase = passphrase(words.expose());
        drop(init(&lock, Some(&phrase)).unwrap());
        drop(open(lock.dir(), Some(&phrase)).unwrap());
        masked(words.expose())
    });
    assert_eq!(find_in_memory(&words), Vec::<String>::new());
}
