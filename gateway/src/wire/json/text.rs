//! Keys, strings and numbers: read as Go's `encoding/json` does, and written.

use std::borrow::Cow;
use std::str::FromStr;

use super::super::Buffer;

/// Whether Go's `encoding/json` matches a key with `name` (ASCII, lower case): any letter case, escapes resolved, and the two
/// letters outside ASCII that Unicode folds into it.
pub(in crate::wire) fn key_is(key: &[u8], name: &[u8]) -> bool {
    let mut rest = key;
    for &wanted in name {
        let Some((folded, tail)) = folded(rest) else {
            return false;
        };
        if folded != wanted {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}

/// The first character of a key, folded, and what follows it; `None` for one that cannot be in a name.
fn folded(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', b'u', hex @ ..] => {
            let (code, tail) = hex4(hex)?;
            Some((fold(char::from_u32(code)?)?, tail))
        }
        // U+017F and U+212A in UTF-8
        [0xC5, 0xBF, tail @ ..] => Some((b's', tail)),
        [0xE2, 0x84, 0xAA, tail @ ..] => Some((b'k', tail)),
        [byte, tail @ ..] if byte.is_ascii() && *byte != b'\\' => {
            Some((byte.to_ascii_lowercase(), tail))
        }
        _ => None,
    }
}

fn fold(c: char) -> Option<u8> {
    match c {
        '\u{17F}' => Some(b's'),
        '\u{212A}' => Some(b'k'),
        _ => u8::try_from(c)
            .ok()
            .filter(u8::is_ascii)
            .map(|b| b.to_ascii_lowercase()),
    }
}

/// The value of a string, escapes resolved as Go does: half a surrogate pair and an unknown escape become U+FFFD. `None` for any
/// other value.
pub(in crate::wire) fn text(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = unquoted(value)?;
    let Some(escape) = memchr::memchr(b'\\', inner) else {
        return Some(Cow::Borrowed(inner));
    };
    let (plain, mut rest) = inner.split_at_checked(escape)?;
    let mut out = plain.to_vec();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'\\' {
            let (c, tail) = unescape(rest);
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = tail;
        } else {
            out.push(*first);
        }
    }
    Some(Cow::Owned(out))
}

/// The character that an escape stands for, and what follows; `text` begins behind the backslash.
fn unescape(text: &[u8]) -> (char, &[u8]) {
    let (c, tail) = match text {
        [b'u', hex @ ..] => return unicode(hex),
        [b'b', tail @ ..] => ('\u{8}', tail),
        [b'f', tail @ ..] => ('\u{C}', tail),
        [b'n', tail @ ..] => ('\n', tail),
        [b'r', tail @ ..] => ('\r', tail),
        [b't', tail @ ..] => ('\t', tail),
        [c @ (b'"' | b'\\' | b'/'), tail @ ..] => (char::from(*c), tail),
        _ => (char::REPLACEMENT_CHARACTER, text),
    };
    (c, tail)
}

/// `\uXXXX` behind its `u`, with the second half of a surrogate pair.
fn unicode(hex: &[u8]) -> (char, &[u8]) {
    let Some((high, tail)) = hex4(hex) else {
        return (char::REPLACEMENT_CHARACTER, hex);
    };
    if let Some(c) = char::from_u32(high) {
        return (c, tail);
    }
    let pair = tail.strip_prefix(b"\\u").and_then(hex4);
    match pair.and_then(|(low, tail)| Some((low.checked_sub(0xDC00)?, tail))) {
        Some((low, tail)) if high < 0xDC00 && low < 0x400 => {
            let code = ((high & 0x3FF) << 10 | low).wrapping_add(0x1_0000);
            (
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                tail,
            )
        }
        _ => (char::REPLACEMENT_CHARACTER, tail),
    }
}

/// Four hexadecimal digits, and what follows.
fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, tail) = text.split_at_checked(4)?;
    let code = digits.iter().try_fold(0_u32, |code, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(code.wrapping_mul(16).wrapping_add(value))
    })?;
    Some((code, tail))
}

/// `text` as a JSON string, quotes included.
pub(in crate::wire) fn quote(text: &str, out: &mut Buffer) {
    out.put(b"\"");
    for c in text.chars() {
        match c {
            '"' => out.put(b"\\\""),
            '\\' => out.put(b"\\\\"),
            c if c < ' ' => out.put(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => out.put(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put(b"\"");
}

/// What stands between the quotes of a string, escapes unresolved.
pub(in crate::wire) fn unquoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A number as Rust reads it.
pub(in crate::wire) fn number<N: FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A JSON number without sign, fraction and exponent.
pub(in crate::wire) fn natural(value: &[u8]) -> Option<u64> {
    match value {
        b"0" => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => number(value),
        _ => None,
    }
}

/// Whether a value is a valid JSON string.
pub(in crate::wire) fn is_text(value: &[u8]) -> bool {
    unquoted(value).is_some_and(is_string)
}

/// Whether this may stand between the quotes of a string.
pub(in crate::wire) fn is_string(inner: &[u8]) -> bool {
    if std::str::from_utf8(inner).is_err() {
        return false;
    }
    let mut rest = inner;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'u', hex @ ..]) => match hex.split_at_checked(4) {
                Some((digits, tail)) if digits.iter().all(u8::is_ascii_hexdigit) => tail,
                _ => return false,
            },
            (
                b'\\',
                [
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    tail @ ..,
                ],
            ) => tail,
            (b'\\' | 0..=0x1F, _) => return false,
            _ => tail,
        };
    }
    true
}
