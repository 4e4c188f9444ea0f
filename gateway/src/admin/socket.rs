//! The unix socket: for its owner alone, by file mode and by peer credentials.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

use super::StartError;

/// How long accepting pauses after an error, such as no free descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The peer's credentials (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Their user id.
    pub(super) uid: u32,
}

/// A listener that accepts our own user and root only.
pub(super) struct OwnerListener(UnixListener);

impl OwnerListener {
    /// Creates the socket with mode 0600; a stale one is replaced.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) fn bind(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Socket {
            path: path.to_owned(),
            source,
        };
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Until the mode is set, the peer's user id alone keeps others out.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self(listener))
    }
}

impl axum::serve::Listener for OwnerListener {
    type Io = UnixStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        loop {
            match self.0.accept().await {
                Ok((stream, _unnamed)) => match peer(&stream) {
                    Some(peer) => return (stream, peer),
                    None => tracing::warn!("turned a stranger away from the admin socket"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let uid = geteuid().as_raw();
        Ok(Peer { uid })
    }
}

/// Checks whether the socket could be created, without creating it; the directory `made` need not exist yet.
///
/// # Errors
/// [`StartError`].
pub(super) fn examine(path: &Path, made: &Path) -> Result<(), StartError> {
    is_there(path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| *folder != made && !folder.is_dir()) {
        Some(folder) => Err(StartError::NoFolder {
            folder: folder.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Whether a socket is there; an error if it is something else.
fn is_there(path: &Path) -> Result<bool, StartError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let path = path.to_owned();
            Err(StartError::NotASocket { path })
        }
        found => Ok(found.is_ok()),
    }
}

/// The peer, if it is our own user or root.
fn peer(stream: &UnixStream) -> Option<Peer> {
    let uid = stream.peer_cred().ok()?.uid();
    (uid == 0 || uid == geteuid().as_raw()).then_some(Peer { uid })
}

fn remove_stale(path: &Path) -> Result<(), StartError> {
    if !is_there(path)? {
        return Ok(());
    }
    let path = path.to_owned();
    if StdStream::connect(&path).is_ok() {
        return Err(StartError::Taken { path });
    }
    std::fs::remove_file(&path).map_err(|source| StartError::Socket { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_of_a_dead_gateway_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = OwnerListener::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            OwnerListener::bind(&path),
            Err(StartError::Taken { .. })
        ));
        drop(first);
        assert!(OwnerListener::bind(&path).is_ok());
    }

    #[test]
    fn place_of_a_socket_is_judged_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (state, elsewhere) = (folder.path().join("state"), folder.path().join("run"));
        let judged = |path: &Path| examine(path, &state);
        assert!(judged(&state.join("admin.sock")).is_ok());
        let missing = judged(&elsewhere.join("admin.sock"));
        assert!(matches!(missing, Err(StartError::NoFolder { .. })));
        std::fs::write(&elsewhere, "precious").unwrap();
        let taken = judged(&elsewhere);
        assert!(matches!(taken, Err(StartError::NotASocket { .. })));
    }

    #[tokio::test]
    async fn file_in_the_socket_s_place_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        let refused = OwnerListener::bind(&path);
        assert!(matches!(refused, Err(StartError::NotASocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
