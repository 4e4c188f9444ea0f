//! CONNECT, read and edited with the server's semantics.
//!
//! The server decodes it with Go's `encoding/json` into the options that the connection already has: keys in any letter case,
//! the last of several wins, `null` changes nothing, unknown keys are ignored, and a value of the wrong type closes the
//! connection without an error. Credentials pass through and are never kept here. All of it is one pass over a text of bounded
//! depth and size, for clients that send it are not yet authenticated.

use super::json::{Members, key_is, number, quote};
use super::{Buffer, Credentials};

/// The options of a client. A second CONNECT changes those that it names and leaves the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of CONNECT")]
pub struct Connect {
    /// `+OK` after each operation.
    pub verbose: bool,
    /// The client reads headers, if the server offers them.
    pub headers: bool,
    /// From 1 on the client reads INFO at any time.
    pub protocol: i64,
}

/// Why the server closes a connection because of its CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a JSON object, or one that nests deeper than any client's.
    #[error(
        "CONNECT with an argument that is not a JSON object of values at most {MAX_DEPTH} deep; would be right: one"
    )]
    NotAnObject,
    /// A known key has a value of the wrong type.
    #[error(
        "CONNECT with a value of the wrong type; would be right: the types of the NATS protocol"
    )]
    WrongType,
    /// More members than any client writes; the server would accept them.
    #[error("CONNECT with more members than any client has; would be right: at most {MAX_MEMBERS}")]
    TooMany,
}

/// How deep values may nest; those that the server reads nest two deep at most.
const MAX_DEPTH: usize = 16;

/// The server knows 22.
const MAX_MEMBERS: usize = 256;

impl Default for Connect {
    /// The server's defaults, for keys that no CONNECT has named.
    fn default() -> Self {
        Self {
            verbose: true,
            headers: false,
            protocol: 0,
        }
    }
}

/// The client name of a gateway's own connection. It has to read what is stored on the server, so a gateway closes it if it
/// connects there by mistake: through one it would see everything decrypted.
pub const CONTROL_CLIENT_NAME: &str = "keyway control";

/// Whether a CONNECT is that of a gateway's own connection.
#[must_use]
pub fn is_control_client(json: &[u8]) -> bool {
    let name = format!("\"name\":\"{CONTROL_CLIENT_NAME}\"");
    memchr::memmem::find(json, name.as_bytes()).is_some()
}

impl Connect {
    /// Sets the options that `json` names, and appends `json` with the gateway's `proxy_sig` (ADR-55) in place of the client's, which
    /// is dropped in any spelling; the rest byte for byte.
    ///
    /// # Errors
    /// [`Refused`] when the server would close the connection. Options read before the error may have changed, as in the server;
    /// discard what was appended.
    pub fn apply<'a>(
        &mut self,
        json: &'a [u8],
        proxy_sig: Option<&str>,
        out: &mut Buffer,
    ) -> Result<Credentials<'a>, Refused> {
        let mut credentials = Credentials::default();
        if json.trim_ascii() == b"null" {
            out.put(json);
            return Ok(credentials);
        }
        let mut members = Members::with_max_depth(json, MAX_DEPTH);
        let mut outcome = Ok(());
        let mut separator: &[u8] = b"";
        out.put(members.head().ok_or(Refused::NotAnObject)?);
        let mut tail = members.rest();
        for count in 0_usize.. {
            let Some(member) = members.next() else {
                break;
            };
            if count == MAX_MEMBERS {
                return Err(Refused::TooMany);
            }
            let member = member.map_err(|_shape| Refused::NotAnObject)?;
            tail = members.rest();
            let set = self.set(member.key, member.value);
            outcome = outcome.and(set);
            credentials.read_member(member.key, member.value);
            if !key_is(member.key, b"proxy_sig") {
                out.put(separator);
                out.put(member.text);
                separator = b",";
            }
        }
        if let Some(signature) = proxy_sig {
            out.put(separator);
            out.put(b"\"proxy_sig\":");
            quote(signature, out);
        }
        out.put(tail);
        // `Members` checks the structure, serde_json the grammar of scalars and strings. Go accepts invalid UTF-8 in strings and
        // serde_json does not, so it gets the lossy text.
        let text = String::from_utf8_lossy(json);
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
            return Err(Refused::NotAnObject);
        }
        outcome.map(|()| credentials)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        let field = FIELDS.iter().find(|(name, _)| key_is(key, name.as_bytes()));
        let Some((_, field)) = field.filter(|_| value != b"null") else {
            return Ok(());
        };
        let flag = || match value {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(Refused::WrongType),
        };
        match (field, value.first()) {
            (Field::Verbose, _) => self.verbose = flag()?,
            (Field::Headers, _) => self.headers = flag()?,
            (Field::Protocol, _) => self.protocol = number(value).ok_or(Refused::WrongType)?,
            (Field::Bool, _) => drop(flag()?),
            (Field::Text, Some(b'"')) | (Field::Object, Some(b'{')) => {}
            (Field::Text | Field::Object, _) => return Err(Refused::WrongType),
        }
        Ok(())
    }
}

/// A key that matters here, or the type that the server's `ClientOpts` gives it.
#[derive(Clone, Copy)]
enum Field {
    Verbose,
    Headers,
    Protocol,
    Bool,
    Text,
    Object,
}

const FIELDS: [(&str, Field); 22] = [
    ("verbose", Field::Verbose),
    ("pedantic", Field::Bool),
    ("echo", Field::Bool),
    ("headers", Field::Headers),
    ("no_responders", Field::Bool),
    ("protocol", Field::Protocol),
    ("tls_required", Field::Bool),
    ("new_account", Field::Bool),
    ("nkey", Field::Text),
    ("jwt", Field::Text),
    ("sig", Field::Text),
    ("auth_token", Field::Text),
    ("user", Field::Text),
    ("pass", Field::Text),
    ("name", Field::Text),
    ("lang", Field::Text),
    ("version", Field::Text),
    ("account", Field::Text),
    ("remote_account", Field::Text),
    ("proxy_sig", Field::Text),
    ("import", Field::Object),
    ("export", Field::Object),
];
