//! The hand-over socket of the running gateway.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::SOCKET;
use super::message::{self, FAILED, Label, MAX_LINE, REFUSED, SERVING, SOCKETS, TAKE_OVER};
use crate::admin::{ConnectionSlot, ConnectionSlots};
use crate::disk::OwnedFile;

/// How long a connection may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections without a complete request at a time: the oldest is closed for the next.
const MAX_PENDING: usize = 8;

/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The listening unix socket for take-over requests; its file is removed on drop.
pub(in crate::app) struct HandoverListener {
    listener: UnixListener,
    socket: OwnedFile,
}

/// A connection whose request to take over has been read.
pub(in crate::app) struct TakeOverRequest(UnixStream);

/// The connection to a process that has been sent the sockets, and has yet to answer.
pub(in crate::app) struct Offer {
    stream: UnixStream,
    received: Vec<u8>,
}

/// The answer of the process that takes over.
#[derive(Debug)]
pub(in crate::app) enum Answer {
    /// It serves.
    Serves,
    /// It does not serve, or has ended; with its reason, or an I/O error.
    Gone(String),
}

impl HandoverListener {
    /// Binds the socket, replacing one that an earlier gateway left. The caller holds the state directory's lock.
    pub(in crate::app) fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(SOCKET);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        // Until the mode is set, the peer's user id alone keeps others out.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let socket = OwnedFile::new(&path);
        Ok(Self { listener, socket })
    }

    /// Waits for a request to take over.
    pub(in crate::app) async fn request(&self) -> TakeOverRequest {
        let places = ConnectionSlots::new(MAX_PENDING);
        let mut pending = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _unnamed)) => pending.push(request_unless_evicted(stream, places.acquire())),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the hand-over socket");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
                Some(request) = pending.next() => if let Some(request) = request {
                    return request;
                },
            }
        }
    }
}

impl Drop for HandoverListener {
    fn drop(&mut self) {
        self.socket.remove();
    }
}

/// Reads a request, unless a newer connection gets the place first.
async fn request_unless_evicted(
    stream: UnixStream,
    place: ConnectionSlot,
) -> Option<TakeOverRequest> {
    tokio::select! {
        request = read_request(stream) => request,
        () = place.evicted() => None,
    }
}

/// Reads a request from a peer of our own user or root; refuses one of another protocol version.
async fn read_request(stream: UnixStream) -> Option<TakeOverRequest> {
    let uid = stream.peer_cred().ok()?.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        tracing::warn!(uid, "turned a stranger away from the hand-over socket");
        return None;
    }
    let mut offer = Offer {
        stream,
        received: Vec::new(),
    };
    let line = timeout(REQUEST_TIMEOUT, offer.line()).await.ok()?.ok()?;
    let request = TakeOverRequest(offer.stream);
    if line == TAKE_OVER {
        return Some(request);
    }
    request
        .refuse(&format!(
            "this gateway knows `{TAKE_OVER}` and not `{line}`"
        ))
        .await;
    None
}

impl TakeOverRequest {
    /// Sends the reason why nothing is handed over.
    pub(in crate::app) async fn refuse(self, why: &str) {
        let line = format!("{REFUSED}{why}\n");
        if let Err(error) = send(&self.0, &line, Vec::new()).await {
            tracing::debug!(%error, "whoever wanted to take over has gone");
        }
    }

    /// Sends the sockets with their labels.
    pub(in crate::app) async fn grant(self, sockets: Vec<(Label, OwnedFd)>) -> io::Result<Offer> {
        let (labels, descriptors): (Vec<_>, _) = sockets.into_iter().unzip();
        let line = format!("{SOCKETS}{}\n", serde_json::to_string(&labels)?);
        send(&self.0, &line, descriptors).await?;
        Ok(Offer {
            stream: self.0,
            received: Vec::new(),
        })
    }
}

impl Offer {
    /// Waits for the other process's answer, or its end. Cancel safe.
    pub(in crate::app) async fn answer(&mut self) -> Answer {
        match self.line().await {
            Ok(line) if line == SERVING => Answer::Serves,
            Ok(line) => Answer::Gone(line.strip_prefix(FAILED).unwrap_or(&line).to_owned()),
            Err(error) => Answer::Gone(error.to_string()),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = message::line(&self.received) {
                return Ok(line);
            }
            if self.received.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.stream.readable().await?;
            let mut chunk = [0; 1024];
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Err(io::Error::other("it ended without a word")),
                Ok(count) => self
                    .received
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends a line; the descriptors go with its first bytes.
async fn send(stream: &UnixStream, line: &str, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let mut rest = line.as_bytes();
    let mut passed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    while !rest.is_empty() {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || message::send(stream, rest, &passed));
        match sent {
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                passed.clear();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
