//! The protocol between the process that writes the catalogue and one that drains after a take-over, over a socket pair.
//!
//! ```text
//!  draining process                                writer of the catalogue
//!  ── more KID, how much ──────────────────────▶   reserves it durably
//!  ◀──────────────────────── granted KID, how much
//!  ◀────────────────────────────────── stop KID    before the record says that the version does not seal
//!  ── stopped KID, how much is not used ───────▶   now the record may say it
//!  ── unused KID, how much ────────────────────▶   what is reserved and not sealed starts no rotation
//!  ◀──────────────────────────────── halted KID    it is revoked or suspended, whatever its record says
//!  ◀────────────────────────────── restored KID    that order is taken back: the record decides again
//!  ◀────────────────────────────────────── look    read the catalogue: it has changed, or has not after all
//!  ◀──────────────────────── the settings' digest   where that is not the same, clients are moved at once
//! ```
//!
//! End of stream means that the process has ended, and counts as `stopped` for every version.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, kill_process};

use crate::audit::{Hex, Settings};
use crate::envelope::{Kid, Volume};

/// Length of every message in bytes: one send is one receive.
const LENGTH: usize = 25;

/// One end of the socket pair.
#[derive(Debug)]
pub struct DrainLink(UnixStream);

/// A message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainMessage {
    /// Lanes want more of a version's budget.
    NeedBudget(Kid, Volume),
    /// So much has been reserved; zero where nothing is left.
    Granted(Kid, Volume),
    /// Seal nothing more under a version.
    Stop(Kid),
    /// Nothing more is sealed under it; so much of what was reserved is returned.
    Stopped(Kid, Volume),
    /// So much of what was reserved is not sealed yet.
    Unused(Kid, Volume),
    /// It is revoked or suspended, whether or not its record could be written: the catalogue does not make it seal again.
    Halted(Kid),
    /// That order is reverted: the catalogue decides again.
    Restored(Kid),
    /// Read the catalogue: it decides what seals from now on.
    CatalogueChanged,
    /// The digest of the settings, see [`digest_of`].
    Policy([u8; 8]),
}

impl DrainLink {
    /// Both ends of a new socket pair.
    ///
    /// # Errors
    /// When no descriptor is available.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((Self(one), Self(other)))
    }

    /// Duplicates this end for another process. Only one process may read at a time.
    ///
    /// # Errors
    /// When no descriptor is available.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Registers this end with the current tokio runtime, to wait until it is readable.
    pub(super) fn readable_end(&self) -> io::Result<tokio::net::UnixStream> {
        tokio::net::UnixStream::from_std(self.0.try_clone()?)
    }

    pub(super) fn send(&self, message: DrainMessage) -> io::Result<()> {
        match send(&self.0, &message.bytes(), SendFlags::NOSIGNAL)? {
            LENGTH => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// The next message; `WouldBlock` when there is none.
    pub(super) fn receive(&self) -> io::Result<DrainMessage> {
        let mut bytes = [0; LENGTH];
        match recv(&self.0, &mut bytes, RecvFlags::empty())?.1 {
            LENGTH => DrainMessage::of(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Kills the process at the other end, which created the pair (`SO_PEERCRED`). Its pid is valid while that end is open.
    pub(super) fn kill_creator(&self) -> io::Result<()> {
        let pid: Pid = rustix::net::sockopt::socket_peercred(&self.0)?.pid;
        Ok(kill_process(pid, Signal::KILL)?)
    }
}

impl From<OwnedFd> for DrainLink {
    fn from(end: OwnedFd) -> Self {
        Self(end.into())
    }
}

impl From<DrainLink> for OwnedFd {
    fn from(link: DrainLink) -> Self {
        link.0.into()
    }
}

impl AsFd for DrainLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl DrainMessage {
    fn bytes(self) -> [u8; LENGTH] {
        let nothing = Volume::default();
        let (word, name, used) = match self {
            Self::NeedBudget(kid, used) => (b'm', kid.0, used),
            Self::Granted(kid, used) => (b'g', kid.0, used),
            Self::Stop(kid) => (b's', kid.0, nothing),
            Self::Stopped(kid, used) => (b'd', kid.0, used),
            Self::Unused(kid, used) => (b'u', kid.0, used),
            Self::Halted(kid) => (b'h', kid.0, nothing),
            Self::Restored(kid) => (b'r', kid.0, nothing),
            Self::CatalogueChanged => (b'l', [0; 8], nothing),
            Self::Policy(digest) => (b'p', digest, nothing),
        };
        let mut bytes = [0; LENGTH];
        let [first, rest @ ..] = &mut bytes;
        *first = word;
        let parts = [name, used.messages.to_be_bytes(), used.bytes.to_be_bytes()];
        rest.copy_from_slice(parts.as_flattened());
        bytes
    }

    fn of(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (word, rest) = bytes.split_first()?;
        let (name, rest) = rest.split_first_chunk::<8>()?;
        let (messages, rest) = rest.split_first_chunk::<8>()?;
        let used = Volume {
            messages: u64::from_be_bytes(*messages),
            bytes: u64::from_be_bytes(rest.try_into().ok()?),
        };
        let kid = Kid(*name);
        Some(match word {
            b'm' => Self::NeedBudget(kid, used),
            b'g' => Self::Granted(kid, used),
            b's' => Self::Stop(kid),
            b'd' => Self::Stopped(kid, used),
            b'u' => Self::Unused(kid, used),
            b'h' => Self::Halted(kid),
            b'r' => Self::Restored(kid),
            b'l' => Self::CatalogueChanged,
            b'p' => Self::Policy(*name),
            _ => return None,
        })
    }
}

/// Settings that only the writer of the catalogue acts on: they may differ between the two processes.
const OF_THE_WRITER: [&str; 11] = [
    ".rotate.after",
    ".rotate.jitter",
    ".rotate.messages",
    ".rotate.bytes",
    ".suite",
    ".overlap",
    ".retain",
    ".hold",
    ".destroy",
    "control.domains",
    "admin.tokens",
];

/// The digest of the settings that both processes must agree on to serve the same clients. A `limit` is one of them: what a
/// draining process has been lent may be more than a lower limit allows.
pub(super) fn digest_of(settings: &Settings) -> [u8; 8] {
    let is_of_the_writer = |key: &str| OF_THE_WRITER.iter().any(|end| key.ends_with(end));
    let served_by = settings.with(&Settings::default(), is_of_the_writer);
    let Hex(whole) = served_by.digest();
    whole.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_of_what_a_process_that_drains_serves_by_and_of_nothing_else() {
        let of = |key: &str, value: &str| {
            let mut settings = Settings::default();
            settings.set(key, value);
            digest_of(&settings)
        };
        for key in [
            "keyring.a.rotate.after",
            "keyring.a.rotate.messages",
            "keyring.rotate.overlap",
            "keyring.a.retain",
            "keyring.a.hold",
            "keyring.a.destroy",
            "keyring.a.suite",
            "control.domains",
            "admin.tokens",
        ] {
            assert_eq!(of(key, "1"), of(key, "2"), "{key}");
        }
        for key in [
            "keyring.a.subjects",
            "keyring.rotate.subjects",
            "keyring.a.limit.messages",
            "keyring.a.deliver-to",
            "keyring.a.open-suspended",
            "servers",
        ] {
            assert_ne!(of(key, "1"), of(key, "2"), "{key}");
        }
    }

    #[test]
    fn messages_arrive_in_order_and_eof_is_the_end() {
        let (one, other) = DrainLink::pair().unwrap();
        let kid = Kid(*b"12345678");
        let used = Volume {
            messages: 3,
            bytes: 1 << 40,
        };
        let all = [
            DrainMessage::NeedBudget(kid, used),
            DrainMessage::Granted(kid, used),
            DrainMessage::Stop(kid),
            DrainMessage::Stopped(kid, used),
            DrainMessage::Unused(kid, used),
            DrainMessage::Halted(kid),
            DrainMessage::Restored(kid),
            DrainMessage::CatalogueChanged,
            DrainMessage::Policy(*b"abcdefgh"),
        ];
        for message in all {
            one.send(message).unwrap();
        }
        for message in all {
            assert_eq!(other.receive().unwrap(), message);
        }
        let nothing = other.receive().unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(one);
        let end = other.receive().unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
