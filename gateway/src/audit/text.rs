//! Free text in audit lines, of bounded length.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::printable::{Count, Printable};

/// The longest text that is kept whole, in bytes.
const MAX_LEN: usize = 1024;

/// A text of at most 1 KiB; a longer one is cut, and says how much was left out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text. It may have control characters: not for a terminal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text for a terminal: control characters, and those that change the direction of writing, are escaped.
    #[must_use]
    pub fn printable(&self) -> String {
        Printable(&self.0).to_string()
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        let text = text.as_ref();
        if text.len() <= MAX_LEN {
            return Self(text.to_owned());
        }
        let end = text.floor_char_boundary(MAX_LEN);
        let (kept, rest) = text.split_at_checked(end).unwrap_or(("", text));
        Self(format!("{kept}… ({} left out)", Count(rest.len(), "byte")))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_letters_and_says_so() {
        let long = "é".repeat(600);
        let text = Text::from(long.as_str());
        assert!(text.as_str().starts_with(&"é".repeat(512)));
        assert!(text.as_str().ends_with("… (176 bytes left out)"), "{text}");
        assert_eq!(Text::from("short").as_str(), "short");
    }

    #[test]
    fn text_cannot_steer_a_terminal() {
        let text = Text::from("a\u{1b}[2J\nb\u{202e}c");
        assert_eq!(text.printable(), "a\\u{1b}[2J\\nb\\u{202e}c");
    }
}
