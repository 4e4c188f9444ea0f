//! A passphrase, from a file or a file descriptor; never from an argument or the environment, which other processes can see.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk::{self, AllowedOwner, read_secret_file};
use crate::fault::{Fault, faults};

/// The shortest passphrase for a new KEK, in bytes: it alone protects a stolen directory (NIST SP 800-63B-4, section 3.1.1.2,
/// requires 15 for a single factor).
pub(super) const MIN_LEN: usize = 15;

/// The longest passphrase, in bytes; a longer file is a mistake.
const MAX_LEN: u64 = 4096;

/// A passphrase, wiped when dropped. No `Debug`.
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Where a passphrase is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A file that only its owner may read.
    File(PathBuf),
    /// An inherited file descriptor.
    Descriptor(u32),
}

/// Why no passphrase could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// The file cannot be used.
    #[error("passphrase file: {0}")]
    File(#[from] disk::Error),
    /// The descriptor cannot be read.
    #[error("cannot read the passphrase from file descriptor {number}: {source}")]
    Descriptor {
        /// Its number.
        number: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing was read.
    #[error("the passphrase is empty")]
    Empty,
    /// Too much was read.
    #[error("the passphrase is longer than {MAX_LEN} bytes")]
    Long,
}

impl PassphraseSource {
    /// Reads to the end; one final line end is dropped.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn read(&self) -> Result<Passphrase, PassphraseError> {
        let bytes = match self {
            Self::File(path) => read_secret_file(path, AllowedOwner::UsOrRoot)?,
            Self::Descriptor(number) => {
                read_descriptor(*number).map_err(|source| PassphraseError::Descriptor {
                    number: *number,
                    source,
                })?
            }
        };
        Passphrase::new(bytes)
    }
}

impl Passphrase {
    /// From the bytes of a file; one final line end is dropped.
    ///
    /// # Errors
    /// [`PassphraseError::Empty`] and [`PassphraseError::Long`].
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, PassphraseError> {
        if u64::try_from(bytes.len()).map_or(true, |len| len > MAX_LEN) {
            return Err(PassphraseError::Long);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(PassphraseError::Empty);
        }
        Ok(Self(bytes))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

faults! { PassphraseError {
    Self::File(error) => error.fault_if_missing("create it with mode 0600, or name the one that holds the passphrase"),
    Self::Descriptor { number, .. } => Fault::operator(format!("start keyway with it open, for example `keyway run … {number}<FILE`")),
    Self::Empty => Fault::operator("put it into the file that is read, on one line"),
    Self::Long => Fault::operator("name the file that holds it and nothing else"),
} }

fn read_descriptor(number: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    // Opening the descriptor by its path needs no unsafe code.
    let file = File::open(Path::new("/dev/fd").join(number.to_string()))?;
    // Allocated up front: growing would leave copies behind.
    let limit = MAX_LEN.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fault::Faulty;

    fn passphrase(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        Passphrase::new(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn one_line_end_is_dropped() {
        for (given, kept) in [
            (&b"word"[..], &b"word"[..]),
            (b"word\n", b"word"),
            (b"word\r\n", b"word"),
            (b"word\n\n", b"word\n"),
            (b" word ", b" word "),
        ] {
            assert_eq!(passphrase(given).ok().unwrap().expose(), kept);
        }
    }

    #[test]
    fn empty_and_endless_passphrases_are_refused() {
        assert!(matches!(passphrase(b"\n"), Err(PassphraseError::Empty)));
        assert!(matches!(
            passphrase(&[b'x'; 4097]),
            Err(PassphraseError::Long)
        ));
    }

    #[test]
    fn descriptor_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"from a pipe\n").unwrap();
        drop(writer);
        let number = u32::try_from(reader.as_raw_fd()).unwrap();
        let read = PassphraseSource::Descriptor(number).read().ok().unwrap();
        assert_eq!(read.expose(), b"from a pipe");
    }

    #[test]
    fn closed_descriptor_is_named() {
        let error = PassphraseSource::Descriptor(987_654).read().err().unwrap();
        assert!(error.to_string().contains("file descriptor 987654"));
    }

    #[test]
    fn file_that_is_missing_is_to_be_created() {
        let nowhere = PassphraseSource::File(PathBuf::from("/nonexistent/words"));
        let missing = nowhere.read().err().unwrap().with_help();
        assert!(missing.contains("does not exist; create it"), "{missing}");
    }

    #[test]
    fn passphrase_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        std::fs::write(&path, "correct horse battery\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let source = PassphraseSource::File(path.clone());
        let error = source.read().err().unwrap().with_help();
        assert!(
            error.contains("0644") && error.contains("chmod 0600"),
            "{error}"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(
            source.read().ok().unwrap().expose(),
            b"correct horse battery"
        );
    }
}
