//! Bearer tokens for key management over TCP. Only their digests are kept.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::disk::{self, AllowedOwner, read_secret_file};
use crate::fault::{Fault, faults};

/// The shortest token, in bytes: too long to be guessed, if it is random.
pub const MIN_LEN: usize = 32;

/// A token: the name of its bearer, and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The name in the audit log.
    pub name: String,
    /// A file that only its owner may read.
    pub file: PathBuf,
}

/// The tokens that are known.
pub(super) struct Tokens(Vec<Known>);

struct Known {
    name: String,
    digest: [u8; 32],
}

/// Why a token cannot be used. Never repeats it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be used.
    #[error("the token of [admin]: {0}")]
    File(#[from] disk::Error),
    /// It holds no token.
    #[error("{} holds no token of at least {MIN_LEN} visible ASCII characters", .0.display())]
    Content(PathBuf),
    /// Two names for one token.
    #[error("{} holds the token of another name", .0.display())]
    Shared(PathBuf),
}

impl Tokens {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(super) fn read(tokens: &[Token]) -> Result<Self, TokenError> {
        let (known, wrong) = Self::sort(tokens);
        match wrong.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(known),
        }
    }

    /// Reads the files; yields the usable tokens, and an error for each of the others.
    pub(super) fn sort(tokens: &[Token]) -> (Self, Vec<TokenError>) {
        let (mut known, mut wrong) = (Vec::<Known>::new(), Vec::new());
        for Token { name, file } in tokens {
            match read(file) {
                Ok(digest) if known.iter().any(|earlier| earlier.digest == digest) => {
                    wrong.push(TokenError::Shared(file.clone()));
                }
                Ok(digest) => known.push(Known {
                    name: name.clone(),
                    digest,
                }),
                Err(error) => wrong.push(error),
            }
        }
        (Self(known), wrong)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the bearer, from the `Authorization` header (RFC 6750, section 2.1). Compares in constant time.
    pub(super) fn bearer(&self, shown: &[u8]) -> Option<&str> {
        let (scheme, token) = shown.split_at_checked(b"Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let shown = digest(&SHA256, token);
        let mut found = None;
        for known in &self.0 {
            if verify_slices_are_equal(shown.as_ref(), &known.digest).is_ok() {
                found = Some(known.name.as_str());
            }
        }
        found
    }
}

faults! { TokenError {
    Self::File(error) => error.fault_if_missing("create it with mode 0600, or name the one that holds it"),
    Self::Content(_) => Fault::operator("make one with `openssl rand -hex 32`"),
    Self::Shared(_) => Fault::operator("give each name a token of its own"),
} }

/// The digest of the file's token, without line ends at its end.
fn read(file: &Path) -> Result<[u8; 32], TokenError> {
    let bytes = read_secret_file(file, AllowedOwner::UsOrRoot)?;
    let mut token = bytes.as_slice();
    while let [rest @ .., b'\r' | b'\n'] = token {
        token = rest;
    }
    let content = || TokenError::Content(file.to_owned());
    if token.len() < MIN_LEN || !token.iter().all(u8::is_ascii_graphic) {
        return Err(content());
    }
    let digest = digest(&SHA256, token);
    digest.as_ref().try_into().map_err(|_length| content())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fault::Faulty;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    fn read_back(content: &str, mode: u32) -> Result<Tokens, TokenError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let name = "ci".to_owned();
        Tokens::read(&[Token { name, file }])
    }

    #[test]
    fn token_of_the_file_names_its_bearer_and_no_other_does() {
        let tokens = read_back(&format!("{GOOD}\r\n"), 0o600).unwrap();
        let shown = |text: &str| tokens.bearer(text.as_bytes());
        assert_eq!(shown(&format!("Bearer {GOOD}")), Some("ci"));
        assert_eq!(shown(&format!("bearer {GOOD}")), Some("ci"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Basic x",
            &format!("Bearer {GOOD}0"),
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn token_that_is_short_or_that_others_can_read_is_refused_and_not_repeated() {
        let short = GOOD.get(1..).unwrap();
        for (content, mode) in [(short, 0o600), (GOOD, 0o640), ("", 0o600)] {
            let refused = read_back(content, mode).err().unwrap().with_help();
            assert!(!refused.contains(short), "{refused}");
        }
    }
}
