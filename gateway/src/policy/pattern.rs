//! Subjects with NATS wildcards: `*` stands for one token, a final `>` for one or more.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest pattern in bytes; it also bounds the depth of the trie.
pub(super) const MAX_LEN: usize = 1024;

/// A validated subject with or without wildcards. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// One token of a pattern. The order is that of [`Pattern::specificity`]: the less specific token is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token<'a> {
    /// Exactly these bytes.
    Literal(&'a [u8]),
    /// Any one token.
    Star,
    /// One token or more, up to the end.
    Tail,
}

/// Why a pattern is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Empty.
    #[error("a subject is empty: give tokens separated by dots, such as `agents.>`")]
    Empty,
    /// Two adjacent dots, or a dot at the start or end.
    #[error("`{0}` has an empty token: no dot at the start or end, and no two in a row")]
    EmptyToken(String),
    /// A space or a control character.
    #[error("`{0}` holds a space or control character: NATS subjects cannot")]
    Blank(String),
    /// `>` before the end.
    #[error(
        "`{0}` has `>` before its end: `>` stands for everything that follows, so it comes last"
    )]
    TailInside(String),
    /// A wildcard as a part of a token, which NATS takes literally.
    #[error(
        "`{0}` has a wildcard inside a token, which NATS takes literally: `*` and `>` stand alone between dots"
    )]
    WildcardInside(String),
    /// More than [`MAX_LEN`] bytes.
    #[error("a subject has {0} bytes: at most {MAX_LEN}")]
    Long(usize),
}

impl Pattern {
    /// `>`: every subject.
    #[must_use]
    pub fn everything() -> Self {
        Self(Arc::from(">"))
    }

    /// The pattern in these bytes; `None` if they are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of two patterns is the more specific: token by token from the left, a literal comes before `*`, and `*` before
    /// `>`; the first difference decides, and where there is none the longer pattern comes first.
    ///
    /// Two different patterns that match the same subject are never equal: at the first token where they differ, two literals
    /// would have to be the subject's own, so one of the two is a wildcard and the other is more specific.
    #[must_use]
    pub fn specificity(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.tokens(), other.tokens());
        let lengths = theirs.clone().count().cmp(&mine.clone().count());
        let kinds = mine.zip(theirs).map(|(a, b)| a.kind().cmp(&b.kind()));
        kinds.fold(Ordering::Equal, Ordering::then).then(lengths)
    }

    /// Whether it has no wildcard.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.tokens()
            .all(|token| matches!(token, Token::Literal(_)))
    }

    /// Whether `subject` matches.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        let mut tokens = subject.split(|b| *b == b'.');
        for token in self.tokens() {
            match (token, tokens.next()) {
                (Token::Tail, Some(_)) => return true,
                (Token::Star, Some(_)) => {}
                (Token::Literal(want), Some(token)) if want == token => {}
                (Token::Literal(_) | Token::Star | Token::Tail, _) => return false,
            }
        }
        tokens.next().is_none()
    }

    /// Whether every subject that `other` matches is matched by this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.tokens();
        for mine in self.tokens() {
            match (mine, theirs.next()) {
                (Token::Tail, Some(_)) => return true,
                (Token::Star, Some(Token::Star | Token::Literal(_))) => {}
                (Token::Literal(a), Some(Token::Literal(b))) if a == b => {}
                (Token::Literal(_) | Token::Star | Token::Tail, _) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some subject matches both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut theirs = other.tokens();
        for mine in self.tokens() {
            match (mine, theirs.next()) {
                (Token::Tail, Some(_)) | (_, Some(Token::Tail)) => return true,
                (Token::Literal(a), Some(Token::Literal(b))) if a != b => return false,
                (Token::Literal(_) | Token::Star, Some(_)) => {}
                (Token::Literal(_) | Token::Star | Token::Tail, None) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether its first token is a wildcard.
    pub(super) fn starts_wild(&self) -> bool {
        !matches!(self.tokens().next(), Some(Token::Literal(_)))
    }

    /// Its tokens, from the left.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token<'_>> + Clone {
        self.0.as_bytes().split(|b| *b == b'.').map(Token::of)
    }
}

impl<'a> Token<'a> {
    const fn of(bytes: &'a [u8]) -> Self {
        match bytes {
            b"*" => Self::Star,
            b">" => Self::Tail,
            _ => Self::Literal(bytes),
        }
    }

    /// The token with a literal's bytes left out.
    const fn kind(self) -> Token<'static> {
        match self {
            Self::Literal(_) => Token::Literal(b""),
            Self::Star => Token::Star,
            Self::Tail => Token::Tail,
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(BadPattern::Long(text.len()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(BadPattern::Blank(text.to_owned()));
        }
        if text.split('.').any(str::is_empty) {
            return Err(BadPattern::EmptyToken(text.to_owned()));
        }
        if text.split('.').rev().skip(1).any(|token| token == ">") {
            return Err(BadPattern::TailInside(text.to_owned()));
        }
        if text
            .split('.')
            .any(|token| token.len() > 1 && token.contains(['*', '>']))
        {
            return Err(BadPattern::WildcardInside(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
