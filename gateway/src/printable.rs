//! Untrusted text escaped for terminals and logs: it cannot move a cursor, change a colour or the direction of writing, or
//! begin a line.

use std::fmt::{self, Write};

/// Displays a value on one line, with control characters escaped as in Rust.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(pub T);

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(EscapingWriter(f), "{}", self.0)
    }
}

/// A number with its noun: `1 line`, `2 lines`. For nouns with a plural in s.
#[derive(Clone, Copy, Debug)]
pub struct Count<N>(pub N, pub &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = self;
        let plural = if *number == N::from(1) { "" } else { "s" };
        write!(f, "{number} {thing}{plural}")
    }
}

/// Bytes as text on one line, escaped; invalid UTF-8 is shown as `\xNN`.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.extend(chunk.valid().chars().flat_map(EscapedChar::of));
        let invalid = chunk.invalid().iter();
        shown.extend(invalid.flat_map(|byte| std::ascii::escape_default(*byte).map(char::from)));
    }
    shown
}

/// JSON text with control characters escaped as `\uNNNN`, except line feeds: outside of strings, JSON has no others.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_unsafe(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _written = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Control characters (C0, DEL, C1), marks that direct writing, and separators of lines and paragraphs.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// A writer that escapes.
struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.0.write_str(before)?;
            let mut letters = from.chars();
            for shown in letters.next().into_iter().flat_map(EscapedChar::of) {
                self.0.write_char(shown)?;
            }
            rest = letters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// The characters that one character is shown as.
enum EscapedChar {
    Plain(std::option::IntoIter<char>),
    Escaped(std::char::EscapeDefault),
}

impl EscapedChar {
    fn of(letter: char) -> Self {
        if is_unsafe(letter) {
            Self::Escaped(letter.escape_default())
        } else {
            Self::Plain(Some(letter).into_iter())
        }
    }
}

impl Iterator for EscapedChar {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Plain(letter) => letter.next(),
            Self::Escaped(letters) => letters.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that control a terminal, or begin a line.
    const HOSTILE: &str = "a\u{1b}[2K\r\nok\tb\u{7f}\u{9b}1mc\u{202e}d\u{2066}\u{2028}\u{85}e\0";

    #[test]
    fn text_cannot_steer_a_terminal_or_begin_a_line() {
        let shown = Printable(HOSTILE).to_string();
        assert_eq!(
            shown,
            "a\\u{1b}[2K\\r\\nok\\tb\\u{7f}\\u{9b}1mc\\u{202e}d\\u{2066}\\u{2028}\\u{85}e\\u{0}"
        );
        assert_eq!(bytes(HOSTILE.as_bytes()), shown);
        assert!(!shown.contains(is_unsafe));
    }

    #[test]
    fn ordinary_text_is_as_it_was() {
        let text = "agents.order é → 日本 \\ \" '";
        assert_eq!(Printable(text).to_string(), text);
        assert_eq!(bytes(text.as_bytes()), text);
        assert_eq!(json(text), text);
    }

    #[test]
    fn one_thing_is_counted_in_the_singular_and_none_in_the_plural() {
        let shown = [0_u64, 1, 2].map(|number| Count(number, "checkpoint").to_string());
        assert_eq!(shown, ["0 checkpoints", "1 checkpoint", "2 checkpoints"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_one_by_one() {
        assert_eq!(bytes(b"a\xff\xfeb\x9b"), "a\\xff\\xfeb\\x9b");
    }

    #[test]
    fn json_says_the_same_and_holds_nothing_that_steers() {
        let value = serde_json::json!({ "k\u{7f}": [HOSTILE, "\u{202e}"] });
        let shown = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.replace('\n', "").contains(is_unsafe), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, value);
    }
}
