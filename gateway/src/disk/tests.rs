//! Durable files on a disk that loses power, the lock, owners and permissions.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::fault::Faulty;

use super::testing::{CrashDisk, DiskFault};
use super::*;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn state() -> (tempfile::TempDir, StateDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = StateDir::create(&root.path().join("a/b/state")).unwrap();
    (root, dir)
}

#[test]
fn created_state_directory_is_closed_to_others() {
    let (_root, dir) = state();
    let mode = std::fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    StateDir::create(dir.path()).unwrap();
}

#[test]
fn state_directory_open_to_others_is_refused_with_its_remedy() {
    let (_root, dir) = state();
    set_mode(dir.path(), 0o750);
    let error = StateDir::open(dir.path()).unwrap_err().with_help();
    for part in ["0750", "chmod 0700", &*dir.path().to_string_lossy()] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn state_directory_that_is_a_file_or_missing_is_refused() {
    let (_root, dir) = state();
    std::fs::write(dir.join("file"), "").unwrap();
    assert!(matches!(
        StateDir::open(&dir.join("file")),
        Err(Error::NotRegular { .. })
    ));
    assert!(StateDir::open(&dir.join("none")).unwrap_err().is_missing());
}

#[test]
fn state_directory_that_cannot_be_made_says_what_is_in_the_way() {
    let (_root, dir) = state();
    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    let is = format!("{} is not a directory; choose", file.display());
    for below in ["x", "x/y"] {
        let error = StateDir::create(&file.join(below)).unwrap_err().with_help();
        assert!(error.contains(&is), "{error}");
    }
    let error = StateDir::create(Path::new("/proc/x")).unwrap_err();
    assert!(matches!(error, Error::NotCreatable { .. }), "{error}");
}

#[test]
fn second_lock_names_the_holder() {
    let (_root, dir) = state();
    let lock = Lock::acquire(dir.clone()).unwrap();
    let error = Lock::acquire(dir.clone()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().contains("in use by process"));
    drop(lock);
    Lock::acquire(dir).unwrap();
}

#[test]
fn shared_lock_keeps_writers_waiting_and_becomes_the_writer_s_once_it_is_shared_no_more() {
    let (_root, dir) = state();
    let (one, other) = (
        Lock::share(dir.clone()).unwrap(),
        Lock::share(dir.clone()).unwrap(),
    );
    assert!(matches!(one.promote(), Err(Error::Locked { .. })));
    drop(one);
    let writer = other.promote().unwrap();
    drop(other);
    assert!(matches!(
        Lock::share(dir.clone()),
        Err(Error::Locked { pid: Some(_), .. })
    ));
    drop(writer);
    let drains = Lock::share(dir.clone()).unwrap();
    let waits = std::thread::spawn(move || Lock::acquire(dir).map(drop));
    drop(drains);
    waits.join().unwrap().unwrap();
}

#[test]
fn guarded_file_with_any_other_bit_is_refused() {
    let (_root, dir) = state();
    let path = dir.join("secret");
    std::fs::write(&path, "x").unwrap();
    for mode in [0o600, 0o400] {
        set_mode(&path, mode);
        assert_eq!(&**read_secret_file(&path, AllowedOwner::Us).unwrap(), b"x");
    }
    for mode in [0o640, 0o604, 0o620, 0o700, 0o644, 0o666] {
        set_mode(&path, mode);
        let error = read_secret_file(&path, AllowedOwner::Us).unwrap_err();
        assert!(matches!(error, Error::TooOpen { found, .. } if found == mode));
    }
}

#[test]
fn lock_that_is_a_link_is_refused_and_what_it_names_stays() {
    let (_root, dir) = state();
    let target = dir.join("precious");
    std::fs::write(&target, "precious").unwrap();
    symlink(&target, dir.join("lock")).unwrap();
    assert!(matches!(
        Lock::acquire(dir.clone()),
        Err(Error::NotRegular { .. })
    ));
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    symlink(dir.join("missing"), dir.join(".probe")).unwrap();
    assert!(Real.write(&dir.join(".probe"), b"x").is_err());
    assert!(!dir.join("missing").exists());
}

#[test]
fn link_in_the_place_of_a_file_is_called_that_whatever_is_done_to_it() {
    let (_root, dir) = state();
    let link = dir.join("seen.json");
    symlink(dir.join("elsewhere"), &link).unwrap();
    for (action, failed) in [
        (Action::Read, Real.read(&link).err()),
        (Action::Read, Real.read_at(&link, 0, 1).err()),
        (Action::Read, Real.len(&link).err()),
        (Action::Write, Real.write(&link, b"x").err()),
        (Action::Append, Real.append(&link, 0, b"x").err()),
    ] {
        let error = Error::from_io(&link, action, failed.unwrap()).with_help();
        let told = "seen.json is not a file; put a real file there (no link, pipe or device)";
        assert!(error.ends_with(told), "{action}: {error}");
    }
}

#[test]
fn pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    let (_root, dir) = state();
    let pipe = dir.join(".seen.json.tmp");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert!(Real.write(&pipe, b"x").is_err());
    assert!(Real.read(&pipe).is_err());
}

#[test]
fn directory_of_other_things_gets_no_advice_to_close_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("etc");
    std::fs::create_dir(&path).unwrap();
    set_mode(&path, 0o755);
    let empty = StateDir::open(&path).unwrap_err().with_help();
    assert!(empty.contains("chmod 0700"), "{empty}");
    std::fs::write(path.join("passwd"), "").unwrap();
    let full = StateDir::open(&path).unwrap_err().with_help();
    assert!(
        full.contains("no state directory") && !full.contains("chmod"),
        "{full}"
    );
    for name in ["lock", "kek", "catalogue.key"] {
        std::fs::write(path.join(name), "").unwrap();
        let ours = StateDir::open(&path).unwrap_err().with_help();
        assert!(ours.contains("chmod 0700"), "{ours}");
        std::fs::remove_file(path.join(name)).unwrap();
    }
}

#[test]
fn guarded_file_may_be_a_link_only_when_handed_to_us() {
    let (_root, dir) = state();
    let (target, link) = (dir.join("target"), dir.join("link"));
    std::fs::write(&target, "x").unwrap();
    set_mode(&target, 0o600);
    symlink(&target, &link).unwrap();
    assert!(matches!(
        read_secret_file(&link, AllowedOwner::Us),
        Err(Error::NotRegular { .. })
    ));
    assert_eq!(
        &**read_secret_file(&link, AllowedOwner::UsOrRoot).unwrap(),
        b"x"
    );
}

#[test]
fn pipe_in_the_place_of_a_file_is_refused_without_waiting() {
    let (_root, dir) = state();
    let path = dir.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(
        read_secret_file(&path, AllowedOwner::Us),
        Err(Error::NotRegular { .. })
    ));
    assert!(Real.read(&path).is_err());
}

#[test]
fn file_beyond_the_limit_is_refused() {
    let (_root, dir) = state();
    let path = dir.join("endless");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(error::MAX_LEN + 1).unwrap();
    set_mode(&path, 0o600);
    assert!(matches!(
        read_secret_file(&path, AllowedOwner::Us),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn replaced_file_has_the_new_bytes_and_nothing_stays_beside_it() {
    let (_root, dir) = state();
    let path = dir.join("file");
    for bytes in [&b"one"[..], b"two, longer", b"3"] {
        replace(&Real, &path, bytes).unwrap();
        assert_eq!(Real.read(&path).unwrap(), bytes);
    }
    assert_eq!(Real.names(dir.path()).unwrap(), ["file"]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn created_file_never_replaces_one() {
    let (_root, dir) = state();
    let path = dir.join("file");
    create(&Real, &path, b"one").unwrap();
    assert!(matches!(
        create(&Real, &path, b"two"),
        Err(Error::Exists { .. })
    ));
    assert_eq!(Real.read(&path).unwrap(), b"one");
}

#[test]
fn replace_writes_then_renames_then_syncs_the_directory() {
    let disk = CrashDisk::default();
    replace(&disk, Path::new("/d/f"), b"x").unwrap();
    assert_eq!(disk.take_log(), ["write .f.tmp", "rename f", "sync d"]);
}

#[test]
fn replaced_file_is_old_or_new_after_a_power_cut_at_any_step() {
    for step in 0..3 {
        for kept in 0..3 {
            let disk = CrashDisk::default();
            let path = Path::new("/d/f");
            replace(&disk, path, b"old").unwrap();
            disk.arm(step, DiskFault::Crash);
            replace(&disk, path, b"new").unwrap_err();
            disk.restart(kept);
            let found = disk.read(path).unwrap();
            assert!(found == b"old" || found == b"new");
            assert!(step == 2 || found == b"old");
        }
    }
}

#[test]
fn append_cuts_off_what_a_failed_one_left() {
    let (_root, dir) = state();
    let path = dir.join("file");
    create(&Real, &path, b"one").unwrap();
    Real.append(&path, 3, b"two").unwrap();
    Real.append(&path, 4, b"34").unwrap();
    assert_eq!(Real.read(&path).unwrap(), b"onet34");
    let short = Real.append(&path, 7, b"x").unwrap_err();
    assert_eq!(short.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(Real.read_at(&path, 2, 3).unwrap(), b"et3");
    assert_eq!(Real.read_at(&path, 5, 9).unwrap(), b"4");
    assert!(Real.read_at(&path, 6, 9).unwrap().is_empty());
    Real.remove(&path).unwrap();
    assert!(Real.append(&path, 0, b"x").is_err());
}

#[test]
fn append_that_a_power_cut_tears_keeps_what_was_there() {
    let path = Path::new("/d/f");
    for (kept, found) in [(0, &b"one"[..]), (1, b"one"), (2, b"onetw"), (3, b"onetwo")] {
        let disk = CrashDisk::default();
        replace(&disk, path, b"one").unwrap();
        disk.arm(0, DiskFault::Crash);
        disk.append(path, 3, b"two").unwrap_err();
        disk.restart(kept);
        assert_eq!(disk.read(path).unwrap(), found);
        disk.append(path, 3, b"2").unwrap();
        disk.restart(0);
        assert_eq!(disk.read(path).unwrap(), b"one2");
    }
}

#[test]
fn full_test_disk_takes_again_what_a_removed_file_gives_back() {
    let disk = CrashDisk::default();
    let (one, two) = (Path::new("/d/one"), Path::new("/d/two"));
    replace(&disk, one, b"1").unwrap();
    replace(&disk, two, b"22").unwrap();
    disk.capacity(Some(disk.used()));
    let full = disk.append(one, 1, b"11").unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    disk.remove(two).unwrap();
    disk.append(one, 1, b"11").unwrap();
}

#[test]
fn system_errors_are_sorted_by_remedy() {
    let sort = |kind: std::io::ErrorKind| {
        Error::from_io(Path::new("/d/f"), Action::Write, kind.into()).with_help()
    };
    assert!(sort(std::io::ErrorKind::ReadOnlyFilesystem).contains("remount it writable"));
    assert!(sort(std::io::ErrorKind::StorageFull).contains("no space left"));
    assert!(sort(std::io::ErrorKind::QuotaExceeded).contains("quota"));
    assert!(sort(std::io::ErrorKind::PermissionDenied).contains("run keyway as the owner"));
}

#[test]
fn full_disk_keeps_the_old_file() {
    // `/dev/full` stands in for a full disk, so that the system's own error is sorted.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(mut full) = full else { return };
    let source = std::io::Write::write_all(&mut full, b"x").unwrap_err();
    let error = Error::from_io(Path::new("/d/f"), Action::Write, source);
    assert!(matches!(error, Error::Full { .. }));
}
