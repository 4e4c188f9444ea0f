//! One read from a non-blocking socket.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::RecvFlags;

/// Receives into `spare`; `count` is set to the bytes read. A short read has emptied the socket: returning `WouldBlock` then
/// tells tokio, which saves the next, empty read.
pub(super) fn receive(
    from: BorrowedFd<'_>,
    spare: &mut [u8],
    count: &mut Option<usize>,
) -> io::Result<usize> {
    let got = rustix::net::recv(from, &mut *spare, RecvFlags::empty())?.1;
    *count = Some(got);
    if got != 0 && got < spare.len() {
        Err(io::ErrorKind::WouldBlock.into())
    } else {
        Ok(got)
    }
}

/// The first `most` bytes of `spare`.
pub(super) fn truncated(spare: &mut [u8], most: usize) -> &mut [u8] {
    let end = spare.len().min(most);
    spare.get_mut(..end).unwrap_or_default()
}
