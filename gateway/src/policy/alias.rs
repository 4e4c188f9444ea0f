//! Subjects that the server maps between publisher and receiver: account mappings, imports, stream transforms.

use crate::policy::Pattern;
use crate::policy::pattern::Token;

/// A mapping: what was published on `from` is delivered on `to`. The wildcards of both correspond in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    from: Pattern,
    to: Pattern,
}

/// The subjects of an alias have different wildcards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{from}` and `{to}` have different wildcards: as many `*` on both sides, and a final `>` on both or neither"
)]
pub struct WildcardMismatch {
    from: Pattern,
    to: Pattern,
}

impl Alias {
    /// An alias from the publisher's subject to the receiver's.
    ///
    /// # Errors
    /// [`WildcardMismatch`] if the wildcards do not correspond.
    pub fn new(from: Pattern, to: Pattern) -> Result<Self, WildcardMismatch> {
        let same = wildcards(&from).eq(wildcards(&to));
        if same {
            Ok(Self { from, to })
        } else {
            Err(WildcardMismatch { from, to })
        }
    }

    /// The publisher's subject.
    #[must_use]
    pub const fn from(&self) -> &Pattern {
        &self.from
    }

    /// The receiver's subject.
    #[must_use]
    pub const fn to(&self) -> &Pattern {
        &self.to
    }

    /// Replaces `out` by the subject that a message delivered on `delivered` was published on. `false`, and `out` empty, if the
    /// alias does not apply to `delivered`.
    pub fn published(&self, delivered: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        if !self.to.matches(delivered) {
            return false;
        }
        let mut captured = captures(&self.to, delivered);
        for token in self.from.tokens() {
            if !out.is_empty() {
                out.push(b'.');
            }
            match token {
                Token::Literal(bytes) => out.extend_from_slice(bytes),
                Token::Star | Token::Tail => {
                    out.extend_from_slice(captured.next().unwrap_or_default())
                }
            }
        }
        true
    }
}

/// The wildcards of a pattern, in order.
fn wildcards(pattern: &Pattern) -> impl Iterator<Item = Token<'_>> {
    pattern
        .tokens()
        .filter(|token| !matches!(token, Token::Literal(_)))
}

/// What the wildcards of `pattern` match in `subject`; `>` includes dots.
fn captures<'a>(pattern: &'a Pattern, subject: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = subject;
    pattern.tokens().filter_map(move |token| {
        let whole = rest;
        let dot = memchr::memchr(b'.', rest).unwrap_or(rest.len());
        let (this, after) = rest.split_at_checked(dot).unwrap_or((rest, b""));
        rest = after.strip_prefix(b".").unwrap_or_default();
        match token {
            Token::Literal(_) => None,
            Token::Star => Some(this),
            Token::Tail => Some(whole),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(from: &str, to: &str) -> Result<Alias, WildcardMismatch> {
        Alias::new(from.parse().unwrap(), to.parse().unwrap())
    }

    fn published(alias: &Alias, delivered: &str) -> Option<String> {
        let mut out = b"left over".to_vec();
        alias
            .published(delivered.as_bytes(), &mut out)
            .then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn alias_gives_back_the_published_subject() {
        let plain = alias("orders.new", "eu.orders").unwrap();
        assert_eq!(
            published(&plain, "eu.orders").as_deref(),
            Some("orders.new")
        );
        assert_eq!(published(&plain, "eu.orders.x"), None);
        let star = alias("orders.*.item.*", "eu.*.*").unwrap();
        assert_eq!(
            published(&star, "eu.a.b").as_deref(),
            Some("orders.a.item.b")
        );
        let tail = alias("orders.>", "eu.*.x.>");
        assert!(tail.is_err());
        let tail = alias("a.*.>", "b.c.*.>").unwrap();
        assert_eq!(published(&tail, "b.c.d.e.f").as_deref(), Some("a.d.e.f"));
    }

    #[test]
    fn alias_with_unequal_wildcards_is_refused() {
        let error = alias("a.*", "b.>").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.*` and `b.>` have different wildcards: as many `*` on both sides, and a final `>` on both or neither"
        );
    }
}
