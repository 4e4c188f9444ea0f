//! Reads the memory and the open files of a gateway.
//!
//! A gateway is not dumpable, so only root may read its `/proc/PID/mem`. A preloaded library makes it dumpable for the test; the
//! product has no such switch.

use crate::gateway::Gateway;
use crate::preload::Preload;
use crate::process::Process;
use crate::wait;
use memchr::memmem;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The preloaded library `process_memory.c`.
pub struct MemoryAccess(Preload);

/// A copy of a process's writable memory at one moment.
pub struct Memory(Vec<Region>);

struct Region {
    /// Its line in `/proc/PID/maps`.
    name: String,
    bytes: Vec<u8>,
}

impl MemoryAccess {
    /// Compiles the library.
    pub fn new() -> Self {
        Self(Preload::compile("process_memory"))
    }

    /// Restarts the gateway with the library preloaded; on return its memory can be read.
    pub fn restart_readable(&self, gateway: &mut Gateway) {
        let nothing: [(&str, &str); 0] = [];
        self.restart_readable_with_env(gateway, &nothing);
    }

    /// The same with these environment variables.
    pub fn restart_readable_with_env(
        &self,
        gateway: &mut Gateway,
        environment: &[(&str, impl AsRef<OsStr>)],
    ) {
        let mut environment: Vec<(&str, &OsStr)> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_ref()))
            .collect();
        environment.push(("LD_PRELOAD", self.0.path()));
        gateway.restart_with_env(&environment);
        gateway.process().signal(Signal::USR2);
        gateway.process().line("memory_access", |line| {
            line.starts_with("memory_access: was").then_some(())
        });
    }
}

impl Default for MemoryAccess {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// The memory of a running process, which is stopped meanwhile.
    pub fn of(process: &Process) -> Self {
        process.pause();
        wait_until_stopped(process);
        let memory = Self::read(process);
        process.resume();
        memory
    }

    /// Terminates the process and reads its memory right before it exits, where the library of [`MemoryAccess`] stops it.
    pub fn at_exit_of(process: &mut Process) -> Self {
        process.signal(Signal::TERM);
        wait_until_stopped(process);
        let memory = Self::read(process);
        process.resume();
        process.wait();
        memory
    }

    /// Where these bytes are found.
    pub fn places(&self, needle: &[u8]) -> Vec<String> {
        let finder = memmem::Finder::new(needle);
        let of = |region: &Region| -> Vec<String> {
            finder
                .find_iter(&region.bytes)
                .map(|at| format!("{at:#x} in {}", region.name))
                .collect()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Memory with these bytes alone, to test a search.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(vec![Region {
            name: "nowhere".to_owned(),
            bytes: bytes.to_vec(),
        }])
    }

    /// Each region: its line of `/proc/PID/maps`, and its bytes.
    pub fn regions(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let regions = self.0.iter();
        regions.map(|region| (region.name.as_str(), region.bytes.as_slice()))
    }

    /// How many bytes were read.
    pub fn size(&self) -> usize {
        self.0.iter().map(|region| region.bytes.len()).sum()
    }

    /// Reads every region that is writable or not backed by a file: a program can have written nowhere else.
    fn read(process: &Process) -> Self {
        let folder = format!("/proc/{}", process.id());
        let memory =
            File::open(format!("{folder}/mem")).expect("a process whose memory may be read");
        let maps = std::fs::read_to_string(format!("{folder}/maps")).unwrap();
        let written = maps.lines().filter(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            fields[1].starts_with("rw") || fields[1].starts_with('r') && fields[4] == "0"
        });
        let regions = written.filter_map(|line| region(&memory, line));
        Self(regions.collect())
    }
}

/// `None` where even the process itself could read nothing.
fn region(memory: &File, line: &str) -> Option<Region> {
    let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
    let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
    memory.read_exact_at(&mut bytes, from).ok()?;
    Some(Region {
        name: line.to_owned(),
        bytes,
    })
}

fn wait_until_stopped(process: &Process) {
    wait::until("the process stands still", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1;
        state.starts_with('T').then_some(())
    });
}
