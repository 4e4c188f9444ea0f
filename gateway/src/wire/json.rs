//! The members of a JSON object, as spans of its text, so that an edit touches nothing but what it changes.
//!
//! Only the shape is checked that spans depend on: strings, brackets, separators. A scalar may be anything without a blank or a
//! separator, for the peer that wrote it and the peer that reads it judge it between them.

use std::borrow::Cow;

/// The text is not a JSON object, or nested deeper than any reader would follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object; would be right: {{\"key\": value, …}} and nothing behind it")]
pub struct NotAnObject;

/// How deep Go's `encoding/json` follows before it refuses, not counting the outermost object.
const DEEPEST: usize = 9_999;

/// One member of the outermost object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// The key between its quotes, escapes unresolved.
    pub(super) key: &'a [u8],
    /// The value without blanks around it.
    pub(super) value: &'a [u8],
    /// Where the value begins in the object's text.
    pub(super) at: usize,
    /// Everything between the separators around the member, blanks included.
    pub(super) text: &'a [u8],
}

/// Iterates over the members of an object; ends after the first error.
#[derive(Clone)]
pub(super) struct Members<'a> {
    json: &'a [u8],
    at: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Rest,
    Ended,
}

/// Where the object's text begins behind its brace, and what follows the last member.
pub(super) struct Frame<'a> {
    /// Up to and including the opening brace.
    pub(super) head: &'a [u8],
    /// From the closing brace on.
    pub(super) tail: &'a [u8],
}

/// The brackets around a place in a value, a bit for each: set for a brace. Allocates from the 65th on.
#[derive(Default)]
struct Brackets {
    depth: usize,
    /// The innermost up to 64, the last of them in the lowest bit.
    near: u64,
    /// Those further out, 64 in each.
    far: Vec<u64>,
}

impl Brackets {
    fn push(&mut self, bracket: u8) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.far.push(self.near);
        }
        self.near = self.near << 1 | u64::from(bracket == b'{');
        self.depth = self.depth.saturating_add(1);
    }

    fn pop(&mut self) -> Option<bool> {
        self.depth = self.depth.checked_sub(1)?;
        let brace = self.near & 1 == 1;
        self.near >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.near = self.far.pop().unwrap_or_default();
        }
        Some(brace)
    }
}

impl<'a> Members<'a> {
    /// The members of `json`.
    pub(super) const fn new(json: &'a [u8]) -> Self {
        Self {
            json,
            at: 0,
            state: State::First,
        }
    }

    /// Reads everything once: what stands around the members, or that this is no object.
    pub(super) fn frame(json: &'a [u8]) -> Result<Frame<'a>, NotAnObject> {
        let open = json.iter().position(|&b| b == b'{').ok_or(NotAnObject)?;
        let mut members = Self::new(json);
        let mut split = open.saturating_add(1);
        while let Some(member) = members.next() {
            member?;
            split = members.at.saturating_sub(1);
        }
        Ok(Frame {
            head: json.get(..=open).ok_or(NotAnObject)?,
            tail: json.get(split..).ok_or(NotAnObject)?,
        })
    }

    fn member(&mut self) -> Result<Option<Member<'a>>, NotAnObject> {
        if self.state == State::First {
            self.skip_blanks();
            self.expect(b'{')?;
        }
        let from = self.at;
        self.skip_blanks();
        if self.state == State::First && self.peek() == Some(b'}') {
            return self.end();
        }
        self.state = State::Rest;
        let key = self.string()?;
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        let value_from = self.at;
        self.value()?;
        let value = self.json.get(value_from..self.at).ok_or(NotAnObject)?;
        self.skip_blanks();
        let text = self.json.get(from..self.at).ok_or(NotAnObject)?;
        Ok(Some(Member {
            key,
            value,
            at: value_from,
            text,
        }))
    }

    /// After a member: a comma leads to the next one, a brace ends the object.
    fn separator(&mut self) -> Result<(), NotAnObject> {
        match self.peek() {
            Some(b',') => self.expect(b','),
            _ => self.end().map(drop),
        }
    }

    fn end(&mut self) -> Result<Option<Member<'a>>, NotAnObject> {
        self.close(b'}').map(|()| None)
    }

    /// The last bracket, and nothing but blanks behind it.
    fn close(&mut self, bracket: u8) -> Result<(), NotAnObject> {
        self.expect(bracket)?;
        self.state = State::Ended;
        let rest = self.json.get(self.at..).unwrap_or_default();
        if rest.iter().all(|&b| is_blank(b)) {
            Ok(())
        } else {
            Err(NotAnObject)
        }
    }

    /// Moves behind one value, however deep, without recursion.
    fn value(&mut self) -> Result<(), NotAnObject> {
        let mut open = Brackets::default();
        loop {
            self.piece(&mut open)?;
            if open.depth == 0 {
                return Ok(());
            }
        }
    }

    /// Moves behind one bracket, string, scalar or separator of a value; `open` holds the brackets around it.
    fn piece(&mut self, open: &mut Brackets) -> Result<(), NotAnObject> {
        match self.peek().ok_or(NotAnObject)? {
            b'"' => return self.string().map(drop),
            bracket @ (b'{' | b'[') if open.depth < DEEPEST => open.push(bracket),
            b'}' if open.pop() == Some(true) => {}
            b']' if open.pop() == Some(false) => {}
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if open.depth > 0 => {}
            _ => return self.scalar(),
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), NotAnObject> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let len = rest
            .iter()
            .position(|&b| {
                is_blank(b) || matches!(b, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"')
            })
            .unwrap_or(rest.len());
        self.at = self.at.saturating_add(len);
        if len == 0 { Err(NotAnObject) } else { Ok(()) }
    }

    /// Moves behind a string and yields what stands between its quotes.
    fn string(&mut self) -> Result<&'a [u8], NotAnObject> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let offset = memchr::memchr2(b'"', b'\\', rest).ok_or(NotAnObject)?;
            let at = self.at.saturating_add(offset);
            if self.json.get(at) == Some(&b'"') {
                self.at = at.saturating_add(1);
                return self.json.get(from..at).ok_or(NotAnObject);
            }
            self.at = at.saturating_add(2);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotAnObject> {
        if self.peek() != Some(byte) {
            return Err(NotAnObject);
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    fn skip_blanks(&mut self) {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|&&b| is_blank(b)).count();
        self.at = self.at.saturating_add(blanks);
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, NotAnObject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let member = self.member().and_then(|member| {
            if member.is_some() {
                self.separator()?;
            }
            Ok(member)
        });
        if member.is_err() {
            self.state = State::Ended;
        }
        member.transpose()
    }
}

/// Iterates over the values of an array, each with where it begins in the array's text; ends after the first error.
pub(super) struct Elements<'a>(Members<'a>);

impl<'a> Elements<'a> {
    /// The values of `json`.
    pub(super) const fn new(json: &'a [u8]) -> Self {
        Self(Members::new(json))
    }

    fn element(&mut self) -> Result<Option<(usize, &'a [u8])>, NotAnObject> {
        let text = &mut self.0;
        let first = text.state == State::First;
        text.state = State::Rest;
        if first {
            text.skip_blanks();
            text.expect(b'[')?;
        }
        text.skip_blanks();
        if first && text.peek() == Some(b']') {
            return text.close(b']').map(|()| None);
        }
        let from = text.at;
        text.value()?;
        let value = text.json.get(from..text.at).ok_or(NotAnObject)?;
        text.skip_blanks();
        match text.peek() {
            Some(b',') => text.expect(b',')?,
            _ => text.close(b']')?,
        }
        Ok(Some((from, value)))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(usize, &'a [u8]), NotAnObject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.state == State::Ended {
            return None;
        }
        let element = self.element();
        if element.is_err() {
            self.0.state = State::Ended;
        }
        element.transpose()
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether a key means `name` (ASCII, lower case) to Go: any letter case, escapes resolved, and the two letters outside ASCII
/// that Unicode folds into it.
pub(super) fn means(key: &[u8], name: &[u8]) -> bool {
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

/// The first character of a string's text, folded, and what follows it; `None` for whatever cannot be in a name.
fn folded(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', b'u', hex @ ..] => {
            let (code, tail) = four(hex)?;
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

/// What stands between the quotes of a string, escapes resolved as Go does: half a surrogate pair and an escape that no grammar
/// knows become U+FFFD. `None` for any other value.
pub(super) fn text(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
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
    let Some((high, tail)) = four(hex) else {
        return (char::REPLACEMENT_CHARACTER, hex);
    };
    if let Some(c) = char::from_u32(high) {
        return (c, tail);
    }
    let pair = tail.strip_prefix(b"\\u").and_then(four);
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
fn four(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, tail) = text.split_at_checked(4)?;
    let code = digits.iter().try_fold(0_u32, |code, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(code.wrapping_mul(16).wrapping_add(value))
    })?;
    Some((code, tail))
}

/// `text` as a JSON string, quotes included.
pub(super) fn quote(text: &str, out: &mut super::Buffer) {
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
