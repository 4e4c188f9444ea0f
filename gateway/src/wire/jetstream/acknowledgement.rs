//! What JetStream itself answers a publish with.

use super::super::json::{Members, NotAnObject, is_text, natural};

/// Whether `payload` is an acknowledgement that JetStream writes: a `PubAck`, its error form, the acknowledgement of an atomic
/// batch, or one of fast ingest's (acknowledgement, gap, error).
///
/// Strict: one JSON object of at most 4096 bytes, only keys that the server writes, each once and in its letter case, with
/// values of the server's types, and none missing that the server always writes. Anybody can write such text: it proves nothing
/// about who did.
#[must_use]
pub fn is_acknowledgement(payload: &[u8]) -> bool {
    if payload.len() > MAX_LEN || payload.first() != Some(&b'{') {
        return false;
    }
    let Ok(Some(seen)) = Seen::read(payload, &KEYS) else {
        return false;
    };
    FORMS.iter().any(|form| {
        let (keys, rest) = (seen.keys & form.required, seen.keys & !form.required);
        keys == form.required && rest & !form.optional == 0 && seen.kind == form.kind
    })
}

const MAX_LEN: usize = 4096;

const STREAM: u16 = 1;
const SEQ: u16 = 1 << 1;
const DOMAIN: u16 = 1 << 2;
const DUPLICATE: u16 = 1 << 3;
const VAL: u16 = 1 << 4;
const BATCH: u16 = 1 << 5;
const COUNT: u16 = 1 << 6;
const ERROR: u16 = 1 << 7;
const TYPE: u16 = 1 << 8;
const MSGS: u16 = 1 << 9;
const LAST_SEQ: u16 = 1 << 10;
const CODE: u16 = 1 << 11;
const ERR_CODE: u16 = 1 << 12;
const DESCRIPTION: u16 = 1 << 13;

type Key = (&'static [u8], u16, Type);

const KEYS: [Key; 11] = [
    (b"stream", STREAM, Type::Text),
    (b"seq", SEQ, Type::Number(u64::MAX)),
    (b"domain", DOMAIN, Type::Text),
    (b"duplicate", DUPLICATE, Type::Flag),
    (b"val", VAL, Type::Text),
    (b"batch", BATCH, Type::Text),
    (b"count", COUNT, Type::Number(i64::MAX.cast_unsigned())),
    (b"error", ERROR, Type::Error),
    (b"type", TYPE, Type::Kind),
    (b"msgs", MSGS, Type::Number(0xFFFF)),
    (b"last_seq", LAST_SEQ, Type::Number(u64::MAX)),
];

const ERROR_KEYS: [Key; 3] = [
    (b"code", CODE, Type::Number(i64::MAX.cast_unsigned())),
    (b"err_code", ERR_CODE, Type::Number(0xFFFF)),
    (b"description", DESCRIPTION, Type::Text),
];

#[derive(Clone, Copy)]
enum Type {
    Text,
    Flag,
    /// Up to this.
    Number(u64),
    Kind,
    Error,
}

/// What `type` says; a `PubAck` has none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Ack,
    Gap,
    Err,
}

struct Form {
    kind: Kind,
    required: u16,
    optional: u16,
}

const PUB_ACK: u16 = DOMAIN | DUPLICATE | VAL | BATCH | COUNT;

const FORMS: [Form; 5] = [
    Form {
        kind: Kind::None,
        required: STREAM | SEQ,
        optional: PUB_ACK,
    },
    Form {
        kind: Kind::None,
        required: ERROR,
        optional: PUB_ACK | STREAM | SEQ,
    },
    Form {
        kind: Kind::Ack,
        required: TYPE | SEQ | MSGS,
        optional: 0,
    },
    Form {
        kind: Kind::Gap,
        required: TYPE | LAST_SEQ | SEQ,
        optional: 0,
    },
    Form {
        kind: Kind::Err,
        required: TYPE | SEQ | ERROR,
        optional: 0,
    },
];

struct Seen {
    keys: u16,
    kind: Kind,
}

impl Seen {
    /// `None`: a key that is not in `known`, a key given twice, or a value of another type.
    fn read(object: &[u8], known: &[Key]) -> Result<Option<Self>, NotAnObject> {
        let mut seen = Self {
            keys: 0,
            kind: Kind::None,
        };
        for member in Members::new(object) {
            let member = member?;
            let Some((_, bit, kind)) = known.iter().find(|(name, ..)| *name == member.key) else {
                return Ok(None);
            };
            if seen.keys & bit != 0 || !seen.fits(*kind, member.value) {
                return Ok(None);
            }
            seen.keys |= bit;
        }
        Ok(Some(seen))
    }

    fn fits(&mut self, kind: Type, value: &[u8]) -> bool {
        match kind {
            Type::Text => is_text(value),
            Type::Flag => value == b"true" || value == b"false",
            Type::Number(max) => natural(value).is_some_and(|number| number <= max),
            Type::Error => is_error(value),
            Type::Kind => {
                self.kind = match value {
                    b"\"ack\"" => Kind::Ack,
                    b"\"gap\"" => Kind::Gap,
                    b"\"err\"" => Kind::Err,
                    _ => return false,
                };
                true
            }
        }
    }
}

fn is_error(value: &[u8]) -> bool {
    // Its members are scalars: whatever is nested has another type.
    Seen::read(value, &ERROR_KEYS).is_ok_and(|seen| seen.is_some_and(|seen| seen.keys & CODE != 0))
}
