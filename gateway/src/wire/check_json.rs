//! JSON as `serde_json` reads it, members in their order and duplicates included.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// A key as Go compares it.
pub(super) fn go_fold(key: &str) -> String {
    let fold = |c| match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        _ => char::to_ascii_lowercase(&c),
    };
    key.chars().map(fold).collect()
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Integer(i64),
    /// Above the range of `i64`.
    Natural(u64),
    Float(f64),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// `None` if this is not JSON, or has a `-0`, which is an integer to Go and not to `serde_json`.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        Self::parse(json).filter(|tree| !tree.has_negative_zero())
    }

    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn has_negative_zero(&self) -> bool {
        match self {
            Self::Float(number) => *number == 0.0 && number.is_sign_negative(),
            Self::Array(list) => list.iter().any(Self::has_negative_zero),
            Self::Object(pairs) => pairs.iter().any(|(_, value)| value.has_negative_zero()),
            Self::Null | Self::Flag(_) | Self::Integer(_) | Self::Natural(_) | Self::Text(_) => {
                false
            }
        }
    }

    pub(super) const fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self {
            return Some(*number);
        }
        None
    }

    pub(super) fn natural(&self) -> Option<u64> {
        if let Self::Natural(number) = self {
            return Some(*number);
        }
        self.integer().and_then(|number| u64::try_from(number).ok())
    }

    fn pairs(&self) -> &[(String, Self)] {
        if let Self::Object(pairs) = self {
            return pairs;
        }
        &[]
    }

    /// The values of the members that Go takes for `name`, the last one first.
    fn named<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Self> + use<'a, 'n> {
        let pairs = self.pairs().iter().rev();
        pairs.filter_map(move |(key, value)| (go_fold(key) == name).then_some(value))
    }

    pub(super) fn last(&self, name: &str) -> Option<&Self> {
        self.named(name).next()
    }

    pub(super) fn last_but_null(&self, name: &str) -> Option<&Self> {
        self.named(name).find(|value| **value != Self::Null)
    }

    pub(super) fn last_integer(&self, name: &str) -> Option<i64> {
        self.named(name).find_map(Self::integer)
    }

    /// The member of that name, if no other could be taken for it.
    pub(super) fn only(&self, name: &str) -> Option<&Self> {
        let alone = self.named(name).count() == 1;
        let mut exact = self.pairs().iter().filter(|(key, _)| key == name);
        exact.next().map(|(_, value)| value).filter(|_| alone)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Natural(number), Self::Integer)
    }
}

/// As the server writes it: without unnecessary escapes.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Natural(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Self::Array(list) => {
                let list: Vec<_> = list.iter().map(Self::to_string).collect();
                write!(f, "[{}]", list.join(","))
            }
            Self::Object(pairs) => {
                let member =
                    |(key, value): &(String, Self)| format!("{}:{value}", Self::from(key.as_str()));
                let members: Vec<_> = pairs.iter().map(member).collect();
                write!(f, "{{{}}}", members.join(","))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }
}
