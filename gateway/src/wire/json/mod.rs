//! The members of a JSON object as spans of its text, so that an edit copies everything else byte for byte.
//!
//! Only what spans depend on is checked: strings, brackets, separators. A scalar may be anything without a blank or a separator:
//! the peers check it themselves.

mod text;

pub(super) use text::{is_string, is_text, key_is, natural, number, quote, text, unquoted};

/// The text is not a JSON object, or nests too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object; would be right: {{\"key\": value, …}} and nothing behind it")]
pub struct NotAnObject;

/// The limit of Go's `encoding/json`, not counting the outermost object.
const MAX_DEPTH: usize = 9_999;

/// One member of the outermost object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// The key between its quotes, escapes unresolved.
    pub(super) key: &'a [u8],
    /// The value without blanks around it.
    pub(super) value: &'a [u8],
    /// Offset of the value in the object's text.
    pub(super) at: usize,
    /// Everything between the separators around the member, blanks included.
    pub(super) text: &'a [u8],
}

/// Iterates over the members of an object; ends after the first error.
#[derive(Clone)]
pub(super) struct Members<'a> {
    json: &'a [u8],
    at: usize,
    max_depth: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Rest,
    Ended,
}

/// What stands before the first member and after the last.
pub(super) struct Frame<'a> {
    /// Up to and including the opening brace.
    pub(super) head: &'a [u8],
    /// From the closing brace on.
    pub(super) tail: &'a [u8],
}

/// The open brackets at a position, one bit each: set for a brace. Allocates from the 65th on.
#[derive(Default)]
struct Brackets {
    depth: usize,
    /// The innermost 64 at most, the last of them in the lowest bit.
    near: u64,
    /// The outer ones, 64 in each.
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
        Self::with_max_depth(json, MAX_DEPTH)
    }

    /// The same, with an error for values that nest deeper than `max_depth`.
    pub(super) const fn with_max_depth(json: &'a [u8], max_depth: usize) -> Self {
        Self {
            json,
            at: 0,
            max_depth,
            state: State::First,
        }
    }

    /// Up to and including the opening brace.
    pub(super) fn head(&self) -> Option<&'a [u8]> {
        let open = memchr::memchr(b'{', self.json)?;
        self.json.get(..=open)
    }

    /// The rest of the text: before the first member everything behind the opening brace, then from the separator on.
    pub(super) fn rest(&self) -> &'a [u8] {
        let from = if self.state == State::First {
            self.head().map_or(0, <[u8]>::len)
        } else {
            self.at.saturating_sub(1)
        };
        self.json.get(from..).unwrap_or_default()
    }

    /// Reads the whole text: what stands around the members, or an error.
    pub(super) fn frame(json: &'a [u8]) -> Result<Frame<'a>, NotAnObject> {
        let mut members = Self::new(json);
        let head = members.head().ok_or(NotAnObject)?;
        let mut tail = members.rest();
        while let Some(member) = members.next() {
            member?;
            tail = members.rest();
        }
        Ok(Frame { head, tail })
    }

    /// The first value of a text and what follows it, both without blanks around them; `None` if there is no value.
    pub(super) fn split_first(json: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let mut text = Self::new(json);
        text.skip_blanks();
        let from = text.at;
        text.value().ok()?;
        let first = json.get(from..text.at)?;
        text.skip_blanks();
        Some((first, json.get(text.at..)?))
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

    /// The closing bracket, followed by nothing but blanks.
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

    /// Moves behind one value, without recursion.
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
            bracket @ (b'{' | b'[') if open.depth < self.max_depth => open.push(bracket),
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

    /// Moves behind a string; returns what stands between its quotes.
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

/// Whether the text has the structure of a JSON object.
#[must_use]
pub fn is_object(text: &[u8]) -> bool {
    Members::frame(text).is_ok()
}

/// Iterates over the values of an array, each with its offset in the array's text; ends after the first error.
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
