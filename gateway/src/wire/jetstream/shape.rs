//! A small JSON schema: which keys an object has, of which types. Strict, so that only what a server could have written matches.

use super::super::json::{Elements, Members, is_string, is_text, natural};

/// A schema of a value.
pub(super) enum Shape {
    Text,
    /// Text of at most so many bytes between its quotes.
    Short(usize),
    /// The name of a stream or a domain, as the server admits it: at most 255 bytes, no character with a meaning in subjects.
    Name,
    /// This text, quotes included.
    Word(&'static [u8]),
    Flag,
    /// A whole number up to this.
    Number(u64),
    /// An object with these keys in their letter case, each at most once, and no others.
    Object(&'static [Key]),
    /// An object with any keys.
    Map(&'static Self),
    /// An array that is not empty.
    List(&'static Self),
    AnyOf(&'static [Self]),
}

/// A key of an object.
pub(super) struct Key {
    name: &'static [u8],
    shape: Shape,
    required: bool,
}

/// A required key.
pub(super) const fn key(name: &'static str, shape: Shape) -> Key {
    Key {
        name: name.as_bytes(),
        shape,
        required: true,
    }
}

/// An optional key.
pub(super) const fn optional(name: &'static str, shape: Shape) -> Key {
    Key {
        required: false,
        ..key(name, shape)
    }
}

impl Shape {
    /// A non-negative Go `int`.
    pub(super) const COUNT: Self = Self::Number(i64::MAX.cast_unsigned());
    /// A Go `uint64`.
    pub(super) const U64: Self = Self::Number(u64::MAX);
    /// A Go `uint16`.
    pub(super) const U16: Self = Self::Number(0xFFFF);

    /// Whether a value, without blanks around it, matches.
    pub(super) fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Text => is_text(value),
            Self::Short(most) => is_text(value) && value.len() <= most.saturating_add(2),
            Self::Name => is_text(value) && is_name(value),
            Self::Word(word) => value == *word,
            Self::Flag => value == b"true" || value == b"false",
            Self::Number(max) => natural(value).is_some_and(|number| number <= *max),
            Self::Object(keys) => has_keys(value, keys),
            Self::Map(shape) => Members::new(value).all(|member| {
                member.is_ok_and(|member| is_string(member.key) && shape.fits(member.value))
            }),
            Self::List(shape) => {
                let mut values = Elements::new(value).peekable();
                values.peek().is_some()
                    && values.all(|element| element.is_ok_and(|(_, value)| shape.fits(value)))
            }
            Self::AnyOf(shapes) => shapes.iter().any(|shape| shape.fits(value)),
        }
    }
}

fn is_name(value: &[u8]) -> bool {
    let name = value.get(1..value.len().saturating_sub(1));
    let name = name.unwrap_or_default();
    let special = |byte: &u8| byte.is_ascii_control() || b" .*>/\\".contains(byte);
    (1..=255).contains(&name.len()) && !name.iter().any(special)
}

/// Whether a value is an object of these keys (at most 32).
fn has_keys(value: &[u8], keys: &[Key]) -> bool {
    let mut seen = 0_u32;
    for member in Members::new(value) {
        let Ok(member) = member else { return false };
        let Some(index) = keys.iter().position(|key| key.name == member.key) else {
            return false;
        };
        let bit = 1 << (index % 32);
        let fits = keys
            .get(index)
            .is_some_and(|key| key.shape.fits(member.value));
        if seen & bit != 0 || !fits {
            return false;
        }
        seen |= bit;
    }
    let mut all = keys.iter().enumerate();
    all.all(|(index, key)| !key.required || seen & (1 << (index % 32)) != 0)
}
