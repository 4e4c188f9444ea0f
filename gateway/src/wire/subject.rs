//! Subjects: tokens between dots.

/// The tokens of a subject.
pub type Tokens<'a> = std::slice::Split<'a, u8, fn(&u8) -> bool>;

/// The tokens of `subject`, empty ones included.
pub fn tokens(subject: &[u8]) -> Tokens<'_> {
    subject.split(is_dot)
}

const fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

/// Whether no token is a wildcard.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    !tokens(subject).any(|token| token == b"*" || token == b">")
}
