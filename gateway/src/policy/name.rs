//! A keyring's name: part of file names, labels and key derivation, hence the small alphabet.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name in bytes.
pub(super) const MAX_LEN: usize = 63;

/// A keyring's name: `[a-z0-9][a-z0-9_-]{0,62}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringName(Arc<str>);

/// Why a name is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Empty.
    #[error("a keyring's name is empty: give 1 to {MAX_LEN} of a-z, 0-9, `-`, `_`")]
    Empty,
    /// More than [`MAX_LEN`] bytes.
    #[error("a keyring's name has {0} bytes: at most {MAX_LEN}")]
    Long(usize),
    /// It starts with `-` or `_`.
    #[error("a keyring's name starts with `{0}`: start with a-z or 0-9")]
    Start(char),
    /// A letter that is not allowed.
    #[error("a keyring's name holds `{0}`: only a-z, 0-9, `-`, `_`")]
    Letter(char),
}

impl KeyringName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyringName {
    /// The name of the keyring of a gateway without configured ones.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl FromStr for KeyringName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first = text.chars().next().ok_or(BadName::Empty)?;
        if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadName::Letter(odd));
        }
        if matches!(first, '-' | '_') {
            return Err(BadName::Start(first));
        }
        if text.len() > MAX_LEN {
            return Err(BadName::Long(text.len()));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl AsRef<str> for KeyringName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyringName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyringName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

const fn allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_allowed_letters_is_kept() {
        for name in ["a", "0", "agents", "eu-1_tools", &"x".repeat(63)] {
            assert_eq!(name.parse::<KeyringName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn name_with_other_letters_is_refused() {
        assert_eq!("".parse::<KeyringName>(), Err(BadName::Empty));
        assert_eq!("Agents".parse::<KeyringName>(), Err(BadName::Letter('A')));
        assert_eq!("a/b".parse::<KeyringName>(), Err(BadName::Letter('/')));
        assert_eq!("..".parse::<KeyringName>(), Err(BadName::Letter('.')));
        assert_eq!("-a".parse::<KeyringName>(), Err(BadName::Start('-')));
        assert_eq!(
            "x".repeat(64).parse::<KeyringName>(),
            Err(BadName::Long(64))
        );
    }
}
