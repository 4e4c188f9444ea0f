//! INFO: the fields that a session needs, and the rewrite of every INFO for the client.

use super::Buffer;
use super::json::{Member, Members, NotAnObject, key_is, number, quote, unquoted};
use super::write::Decimal;

/// What a server announces, borrowed from its INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of INFO")]
pub struct Info<'a> {
    /// Largest body in bytes, headers included; -1: any; 0: absent.
    pub max_payload: i64,
    /// From 2 on the server understands `proxy_sig` (ADR-55).
    pub api_lvl: i64,
    /// What the client, and a trusted proxy, must sign, without its quotes; its alphabet needs no escapes.
    pub nonce: Option<&'a [u8]>,
    /// The client's account without its quotes, escapes unresolved; in the INFO that follows an accepted CONNECT.
    pub remote_account: Option<&'a [u8]>,
    /// The server supports headers.
    pub headers: bool,
    /// The server requires credentials.
    pub auth_required: bool,
    /// The server requires TLS.
    pub tls_required: bool,
    /// The server allows TLS.
    pub tls_available: bool,
}

/// TLS of the gateway's own listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    #[default]
    None,
    /// Clients may use it.
    Available,
    /// Every client must use it.
    Required,
    /// Every client must use it, with a client certificate.
    Verified,
}

/// What a rewrite changes. Other keys pass byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Edits<'a> {
    /// Subtracted from a positive `max_payload`, in bytes; the result is 0 at least.
    pub overhead: usize,
    /// The gateway's host, as clients reach it.
    pub host: &'a str,
    /// The gateway's port.
    pub port: u16,
    /// Replaces the server's `connect_urls`, which would bypass the gateway; empty: no such key.
    pub connect_urls: &'a [String],
    /// Replaces `client_ip` where the server has one.
    pub client_ip: &'a str,
    /// The gateway's own TLS, which replaces the server's.
    pub tls: Tls,
    /// Whether the gateway enters lame duck mode; if not, the server's `ldm` passes.
    pub lame_duck: bool,
}

impl<'a> Info<'a> {
    /// Reads an INFO. A key of the wrong type counts as absent.
    ///
    /// # Errors
    /// [`NotAnObject`], which no server writes.
    pub fn read(json: &'a [u8]) -> Result<Self, NotAnObject> {
        Members::frame(json)?;
        let mut info = Self::default();
        for member in Members::new(json).flatten() {
            info.read_member(&member);
        }
        Ok(info)
    }

    fn read_member(&mut self, &Member { key, value, .. }: &Member<'a>) {
        let is = |name: &str| key_is(key, name.as_bytes());
        let flags = [
            ("headers", &mut self.headers),
            ("auth_required", &mut self.auth_required),
            ("tls_required", &mut self.tls_required),
            ("tls_available", &mut self.tls_available),
        ];
        if let Some((_, flag)) = flags.into_iter().find(|(name, _)| is(name)) {
            *flag = value == b"true";
        } else if is("max_payload") {
            self.max_payload = number(value).unwrap_or(self.max_payload);
        } else if is("api_lvl") {
            self.api_lvl = number(value).unwrap_or(self.api_lvl);
        } else if is("nonce") {
            self.nonce = unquoted(value).filter(|nonce| !nonce.is_empty());
        } else if is("remote_account") {
            self.remote_account = unquoted(value);
        }
    }

    /// Largest body in bytes for [`super::ClientParser::set_max_payload`]; `None`: no limit.
    #[must_use]
    pub fn payload_limit(&self) -> Option<usize> {
        usize::try_from(self.max_payload)
            .ok()
            .filter(|&max| max > 0)
    }
}

/// Appends `json` with `edits`. Keys are recognised in any letter case, as some clients do; an edited key given twice is written
/// once.
///
/// # Errors
/// [`NotAnObject`], with nothing appended; the session is over.
pub fn rewrite(json: &[u8], edits: &Edits<'_>, out: &mut Buffer) -> Result<(), NotAnObject> {
    let frame = Members::frame(json)?;
    out.put(frame.head);
    let mut writer = Writer {
        edits,
        out,
        members: 0,
        seen: [false; KEYS.len()],
    };
    for member in Members::new(json).flatten() {
        writer.member(&member);
    }
    writer.missing();
    out.put(frame.tail);
    Ok(())
}

/// Keys that are edited. Those that the server's INFO lacks are written in this order.
const KEYS: [&str; 10] = [
    "max_payload",
    "host",
    "port",
    "connect_urls",
    "ws_connect_urls",
    "tls_required",
    "tls_available",
    "tls_verify",
    "client_ip",
    "ldm",
];

struct Writer<'e, 'b> {
    edits: &'e Edits<'e>,
    out: &'b mut Buffer,
    /// Members written so far.
    members: usize,
    /// Which of [`KEYS`] the server's INFO has had so far.
    seen: [bool; KEYS.len()],
}

impl Writer<'_, '_> {
    fn member(&mut self, member: &Member<'_>) {
        let mut keys = KEYS.iter().zip(&mut self.seen);
        let Some((name, seen)) = keys.find(|(name, _)| key_is(member.key, name.as_bytes())) else {
            return self.keep(member);
        };
        if !std::mem::replace(seen, true) {
            self.edit(name, Some(member));
        }
    }

    /// Writes the gateway's keys that the server's INFO lacks.
    fn missing(&mut self) {
        for (name, seen) in KEYS.iter().zip(self.seen) {
            if !seen {
                self.edit(name, None);
            }
        }
    }

    /// Writes one of [`KEYS`]; `member` is the server's, if its INFO has the key.
    fn edit(&mut self, name: &str, member: Option<&Member<'_>>) {
        let edits = self.edits;
        match (name, member) {
            ("max_payload", Some(member)) => match number::<usize>(member.value) {
                Some(max @ 1..) if edits.overhead > 0 => {
                    self.number(name, max.saturating_sub(edits.overhead))
                }
                _ => self.keep(member),
            },
            ("port", Some(_)) => self.number(name, usize::from(edits.port)),
            ("host", Some(_)) => self.text(name, edits.host),
            ("client_ip", Some(_)) => self.text(name, edits.client_ip),
            ("connect_urls", _) if !edits.connect_urls.is_empty() => self.urls(name),
            ("tls_required", _) if matches!(edits.tls, Tls::Required | Tls::Verified) => {
                self.write_true(name)
            }
            ("tls_verify", _) if edits.tls == Tls::Verified => self.write_true(name),
            ("tls_available", _) if edits.tls == Tls::Available => self.write_true(name),
            ("ldm", _) if edits.lame_duck => self.write_true(name),
            ("ldm", Some(member)) => self.keep(member),
            _ => {}
        }
    }

    fn keep(&mut self, member: &Member<'_>) {
        self.comma();
        self.out.put(member.text);
    }

    fn comma(&mut self) {
        if self.members > 0 {
            self.out.put(b",");
        }
        self.members = self.members.saturating_add(1);
    }

    fn name(&mut self, name: &str) {
        self.comma();
        quote(name, self.out);
        self.out.put(b":");
    }

    fn number(&mut self, name: &str, value: usize) {
        self.name(name);
        self.out.put(Decimal::new(value).digits());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(value, self.out);
    }

    fn write_true(&mut self, name: &str) {
        self.name(name);
        self.out.put(b"true");
    }

    fn urls(&mut self, name: &str) {
        self.name(name);
        let mut opener: &[u8] = b"[";
        for url in self.edits.connect_urls {
            self.out.put(opener);
            quote(url, self.out);
            opener = b",";
        }
        self.out.put(b"]");
    }
}
