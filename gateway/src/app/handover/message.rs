//! The lines of the hand-over protocol, and sending them with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::dataplane::{ListenAddr, PathOwner};

/// The request; the number is the protocol's version.
pub(super) const TAKE_OVER: &str = "take-over 2";
/// Begins the line that comes with the sockets; JSON follows.
pub(super) const SOCKETS: &str = "sockets ";
/// Begins the line that refuses; the reason follows.
pub(super) const REFUSED: &str = "refused ";
/// The new process serves.
pub(super) const SERVING: &str = "serving";
/// The new process does not serve; the reason follows.
pub(super) const FAILED: &str = "failed ";

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// As many descriptors as the kernel passes at once (`SCM_MAX_FD`).
pub(super) const MAX_DESCRIPTORS: usize = 253;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::app) enum Purpose {
    /// Clients.
    Clients,
    /// Metrics and health.
    Admin,
    /// Link to a process that drains.
    Drain,
}

/// Describes a socket that is passed on; labels come in the order of the descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct Label {
    /// What it is for.
    pub(in crate::app) purpose: Purpose,
    /// Its address as the configuration has it.
    pub(in crate::app) configured: String,
    /// Whether the gateway removes its path when it ends.
    pub(in crate::app) removes_path: bool,
}

impl Label {
    /// For a listening socket of clients.
    pub(in crate::app) fn of(configured: &ListenAddr, path: PathOwner) -> Self {
        Self {
            purpose: Purpose::Clients,
            configured: configured.to_string(),
            removes_path: path == PathOwner::Gateway,
        }
    }

    /// For a link to a process that drains.
    pub(in crate::app) const fn drains() -> Self {
        Self {
            purpose: Purpose::Drain,
            configured: String::new(),
            removes_path: false,
        }
    }

    /// Its address; `None` where it cannot be parsed.
    pub(super) fn address(&self) -> Option<ListenAddr> {
        match self.configured.strip_prefix("unix:") {
            Some(path) => Some(ListenAddr::Unix(PathBuf::from(path))),
            None => self.configured.parse().ok().map(ListenAddr::Tcp),
        }
    }
}

/// Sends bytes and descriptors in one `sendmsg`; yields how many bytes were sent. On an error no descriptor was sent either.
pub(super) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = [IoSlice::new(bytes)];
    Ok(sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?)
}

/// Reads bytes and the descriptors that come with them, in one `recvmsg`. `Ok(0)`: end of stream.
pub(super) fn receive(
    socket: impl AsFd,
    into: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(into)];
    let got = recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok(got.bytes)
}

/// The first complete line, without its line feed.
pub(super) fn line(received: &[u8]) -> Option<String> {
    let end = received.iter().position(|byte| *byte == b'\n')?;
    Some(String::from_utf8_lossy(received.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_and_are_the_same_sockets() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut kept, passed) = UnixStream::pair().unwrap();
        assert_eq!(send(&ours, b"x\n", &[passed.as_fd()]).unwrap(), 2);
        drop(passed);
        let (mut into, mut descriptors) = ([0; 16], Vec::new());
        assert_eq!(receive(&theirs, &mut into, &mut descriptors).unwrap(), 2);
        assert_eq!(line(&into).unwrap(), "x");
        assert_eq!(descriptors.len(), 1);
        drop(descriptors);
        // The last descriptor of its other end is gone.
        assert_eq!(kept.read(&mut into).unwrap(), 0);
    }

    #[test]
    fn label_names_its_address() {
        for addr in [
            ListenAddr::Tcp(([127, 0, 0, 1], 0).into()),
            ListenAddr::Unix("/run/keyway/nats.sock".into()),
        ] {
            assert_eq!(Label::of(&addr, PathOwner::Other).address(), Some(addr));
        }
    }
}
