//! File systems that are full or read-only, where the process may mount.

use crate::gateway::{Gateway, copy};
use crate::scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount over a folder; unmounted when dropped.
pub struct Mount {
    over: PathBuf,
}

impl Mount {
    /// A file system of this many KiB over a folder, with a copy of its contents; `None`, and `SKIPPED` is printed, when this
    /// process may not mount.
    pub fn small(over: &Path, kib: u32) -> Option<Self> {
        let aside = scratch::folder("aside");
        copy(over, &aside.path().join("contents"));
        let mount = Self::make(
            over,
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kib}k,mode=0700"),
                "tmpfs",
            ],
        )?;
        copy(&aside.path().join("contents"), over);
        Some(mount)
    }

    /// The same over the state directory of a gateway, which is killed, and starts again on it.
    pub fn under(gateway: &mut Gateway, kib: u32) -> Option<Self> {
        gateway.process().kill();
        let mount = Self::small(&gateway.state(), kib)?;
        gateway.restart();
        Some(mount)
    }

    /// Makes the folder read-only.
    pub fn read_only(over: &Path) -> Option<Self> {
        let itself = over.to_str().unwrap();
        let mount = Self::make(over, &["--bind", itself])?;
        let options = ["-o", "remount,bind,ro"];
        assert!(run(Command::new("mount").args(options).arg(over)));
        Some(mount)
    }

    /// Fills the file system with one file, and returns its path.
    pub fn fill(&self) -> PathBuf {
        let path = self.over.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [4096, 512, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
        path
    }

    fn make(over: &Path, options: &[&str]) -> Option<Self> {
        let done = run(Command::new("mount").args(options).arg(over));
        if !done {
            eprintln!("SKIPPED: this needs the right to mount; run it as root");
        }
        done.then(|| Self {
            over: over.to_owned(),
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.over));
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
