//! The response of `STREAM.MSG.GET`: `{"type":…,"message":{"subject":…,"seq":…,"hdrs":base64,"data":base64,"time":…}}`.

use std::borrow::Cow;

use data_encoding::BASE64;

use super::super::Buffer;
use super::super::json::{Member, Members, key_is, number, text, unquoted};

/// No server writes this text: it is no JSON object, or a relevant key is given twice or in another letter case, so that two
/// clients could read two different messages. For a sealed subject it must be withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer of STREAM.MSG.GET that can be read in more than one way")]
pub struct Ambiguous;

/// A stored message, borrowed from the response that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    /// The subject that the message is stored under, escapes resolved.
    pub subject: Cow<'a, [u8]>,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The header block in base64, if there is one.
    headers: Option<&'a [u8]>,
    /// The payload in base64; absent when it is empty.
    data: Option<&'a [u8]>,
    /// The response before the payload's base64, and after it.
    around: (&'a [u8], &'a [u8]),
}

impl<'a> StoredMessage<'a> {
    /// Parses a response; `None` if there is no message in it, as in an error: it may pass.
    ///
    /// # Errors
    /// [`Ambiguous`].
    pub fn parse(json: &'a [u8]) -> Result<Option<Self>, Ambiguous> {
        let mut message = None;
        for member in Members::new(json) {
            let member = member.map_err(|_no_object| Ambiguous)?;
            if is(&member, "message")? {
                once(&mut message, (member.at, member.value))?;
            }
        }
        match message.filter(|(_, value)| *value != b"null") {
            Some((at, message)) => Self::message(json, at, message).map(Some),
            None => Ok(None),
        }
    }

    /// `message` begins at `at` of `json`.
    fn message(json: &'a [u8], at: usize, message: &'a [u8]) -> Result<Self, Ambiguous> {
        let (mut subject, mut sequence, mut headers, mut data) = (None, None, None, None);
        for member in Members::new(message) {
            let member = member.map_err(|_no_object| Ambiguous)?;
            let value = member.value;
            if is(&member, "subject")? {
                once(&mut subject, text(value).ok_or(Ambiguous)?)?;
            } else if is(&member, "seq")? {
                once(&mut sequence, number(value).ok_or(Ambiguous)?)?;
            } else if is(&member, "hdrs")? {
                once(&mut headers, inner(value)?)?;
            } else if is(&member, "data")? {
                let at = at.saturating_add(member.at).saturating_add(1);
                once(&mut data, inner(value)?.map(|data| (at, data)))?;
            }
        }
        let (at, data) = data
            .flatten()
            .map_or((json.len(), None), |(at, data)| (at, Some(data)));
        let end = at.saturating_add(data.map_or(0, <[u8]>::len));
        Ok(Self {
            subject: subject.ok_or(Ambiguous)?,
            sequence: sequence.ok_or(Ambiguous)?,
            headers: headers.flatten(),
            data,
            around: (
                json.get(..at).unwrap_or_default(),
                json.get(end..).unwrap_or_default(),
            ),
        })
    }

    /// Appends the payload to `out`. `false`: it is not standard base64 with padding; `out` is unchanged.
    #[must_use]
    pub fn decode(&self, out: &mut Vec<u8>) -> bool {
        self.data.is_none_or(|data| decode(data, out))
    }

    /// Appends the header block to `out`, nothing when there is none. `false`: as in [`Self::decode`].
    #[must_use]
    pub fn decode_headers(&self, out: &mut Vec<u8>) -> bool {
        self.headers.is_none_or(|headers| decode(headers, out))
    }

    /// Appends the response with `data` as its payload; one without a payload is appended unchanged.
    pub fn rewrite(&self, data: &[u8], out: &mut Buffer) {
        out.put(self.around.0);
        if self.data.is_some() {
            encode(data, out);
        }
        out.put(self.around.1);
    }
}

/// Whether a member is the one called `name`; an error for any other spelling that some client would take for it.
fn is(member: &Member<'_>, name: &str) -> Result<bool, Ambiguous> {
    if member.key == name.as_bytes() {
        return Ok(true);
    }
    if key_is(member.key, name.as_bytes()) {
        return Err(Ambiguous);
    }
    Ok(false)
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Ambiguous> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Ambiguous),
    }
}

/// What stands between a string's quotes; `None` for null.
fn inner(value: &[u8]) -> Result<Option<&[u8]>, Ambiguous> {
    if value == b"null" {
        return Ok(None);
    }
    unquoted(value).map(Some).ok_or(Ambiguous)
}

fn encode(data: &[u8], out: &mut Buffer) {
    let mut text = [0; 1024];
    for piece in data.chunks(768) {
        let text = text.split_at_mut(BASE64.encode_len(piece.len())).0;
        BASE64.encode_mut(piece, text);
        out.put(text);
    }
}

fn decode(base64: &[u8], out: &mut Vec<u8>) -> bool {
    // Padding in the middle would be two concatenated texts.
    let padded = memchr::memchr(b'=', base64);
    if padded.is_some_and(|at| at.saturating_add(2) < base64.len()) {
        return false;
    }
    let Ok(room) = BASE64.decode_len(base64.len()) else {
        return false;
    };
    let start = out.len();
    out.resize(start.saturating_add(room), 0);
    let place = out.get_mut(start..).unwrap_or_default();
    let decoded = BASE64.decode_mut(base64, place).ok();
    out.truncate(start.saturating_add(decoded.unwrap_or(0)));
    decoded.is_some()
}
