//! The side of the process that takes over.

use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SOCKET;
use super::message::{
    self, FAILED, Label, MAX_LINE, Purpose, REFUSED, SERVING, SOCKETS, TAKE_OVER,
};
use crate::dataplane::{BoundBy, Inherited, ListenAddr, PathOwner};
use crate::fault::{Fault, faults};
use crate::rotation::DrainLink;
use crate::strict_json;

/// How long the running gateway may take to release everything.
const RELEASE_TIMEOUT: Duration = Duration::from_mins(1);

/// What a running gateway has handed over. Dropped before [`TakeOver::confirm`], that gateway takes everything back.
#[derive(Debug)]
pub struct TakeOver {
    stream: UnixStream,
    /// The listening sockets for clients.
    pub(in crate::app) sockets: Vec<Inherited>,
    /// The listening socket of administration.
    pub(in crate::app) admin: Option<TcpListener>,
    /// Links to processes that drain, the one that hands over among them.
    pub(in crate::app) drainers: Vec<DrainLink>,
    /// The unix sockets whose paths this process removes when it ends, once it serves.
    pub(in crate::app) paths: Vec<ListenAddr>,
}

/// Why nothing was taken over. The running gateway goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// The connection failed, or an answer made no sense.
    #[error("cannot take over from the gateway at {}: {source}", path.display())]
    Broken {
        /// The hand-over socket.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The running gateway refuses, with its reason.
    #[error("the running gateway does not hand over: {0}")]
    Refused(String),
}

faults! { TakeOverError {
    Self::Broken { .. } => Fault::operator_later("look into its log, and try again"),
    Self::Refused(_) => Fault::operator("stop it, and start without `--take-over`"),
} }

/// Asks the gateway that runs on this state directory to hand over, and waits until it has; `None` when none runs. Blocks.
///
/// # Errors
/// [`TakeOverError`].
pub fn take_over(state: &Path) -> Result<Option<TakeOver>, TakeOverError> {
    let path = state.join(SOCKET);
    let broken = |source| TakeOverError::Broken {
        path: path.clone(),
        source,
    };
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(broken(error)),
    };
    stream
        .set_read_timeout(Some(RELEASE_TIMEOUT))
        .map_err(broken)?;
    writeln!(stream, "{TAKE_OVER}").map_err(broken)?;
    let (said, descriptors) = read_line(&stream).map_err(broken)?;
    if let Some(why) = said.strip_prefix(REFUSED) {
        return Err(TakeOverError::Refused(why.to_owned()));
    }
    let labels = said.strip_prefix(SOCKETS).unwrap_or_default();
    let labels: Vec<Label> =
        strict_json::from_slice(labels.as_bytes()).map_err(|e| broken(e.into()))?;
    TakeOver::new(stream, labels, descriptors)
        .map(Some)
        .map_err(broken)
}

/// The next line, and the descriptors that came with it.
fn read_line(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let (mut received, mut descriptors) = (Vec::new(), Vec::new());
    loop {
        if let Some(line) = message::line(&received) {
            return Ok((line, descriptors));
        }
        let mut chunk = [0; 4096];
        let count = message::receive(stream, &mut chunk, &mut descriptors)?;
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if count == 0 || received.len() > MAX_LINE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl TakeOver {
    fn new(stream: UnixStream, labels: Vec<Label>, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut take_over = Self {
            stream,
            sockets: Vec::new(),
            admin: None,
            drainers: Vec::new(),
            paths: Vec::new(),
        };
        if labels.len() != descriptors.len() {
            return Err(io::Error::other("some of its sockets are missing"));
        }
        for (label, socket) in labels.into_iter().zip(descriptors) {
            if label.purpose == Purpose::Drain {
                take_over.drainers.push(socket.into());
                continue;
            }
            let configured = label.address();
            let configured = configured.ok_or(io::ErrorKind::InvalidData)?;
            if label.purpose == Purpose::Admin {
                take_over.admin = Some(socket.into());
                continue;
            }
            let path = if label.removes_path {
                take_over.paths.push(configured.clone());
                PathOwner::Gateway
            } else {
                PathOwner::Other
            };
            let from = BoundBy::Predecessor { configured, path };
            take_over
                .sockets
                .push(Inherited::of_descriptor(socket, from)?);
        }
        Ok(take_over)
    }

    /// Tells the other gateway that this process serves: it drains.
    ///
    /// # Errors
    /// The I/O error, where the other gateway has ended.
    pub fn confirm(mut self) -> io::Result<()> {
        writeln!(self.stream, "{SERVING}")
    }

    /// Tells the other gateway why this process does not serve: it takes everything back.
    pub fn fail(mut self, why: &str) {
        let why = why.replace('\n', " ");
        if let Err(error) = writeln!(self.stream, "{FAILED}{why}") {
            tracing::debug!(%error, "the gateway that handed over has ended");
        }
    }
}
