//! INFO: the fields that a session needs, and the rewrite of every INFO for the client.

use super::Buffer;
use super::json::{Member, Members, NotAnObject, key_is, quote};
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
    pub client_ip: Option<&'a str>,
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
            self.nonce = text(value).filter(|nonce| !nonce.is_empty());
        } else if is("remote_account") {
            self.remote_account = text(value);
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

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A string without its quotes.
fn text(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
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
        seen: 0,
    };
    for member in Members::new(json).flatten() {
        writer.member(&member);
    }
    writer.missing();
    out.put(frame.tail);
    Ok(())
}

/// Keys that are edited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    MaxPayload,
    Host,
    Port,
    ConnectUrls,
    WsConnectUrls,
    TlsRequired,
    TlsAvailable,
    TlsVerify,
    ClientIp,
    LameDuck,
}

const KEYS: [(&str, Key); 10] = [
    ("max_payload", Key::MaxPayload),
    ("host", Key::Host),
    ("port", Key::Port),
    ("connect_urls", Key::ConnectUrls),
    ("ws_connect_urls", Key::WsConnectUrls),
    ("tls_required", Key::TlsRequired),
    ("tls_available", Key::TlsAvailable),
    ("tls_verify", Key::TlsVerify),
    ("client_ip", Key::ClientIp),
    ("ldm", Key::LameDuck),
];

struct Writer<'e, 'b> {
    edits: &'e Edits<'e>,
    out: &'b mut Buffer,
    /// Members written so far.
    members: usize,
    /// One bit per index into [`KEYS`].
    seen: u16,
}

impl Writer<'_, '_> {
    fn member(&mut self, member: &Member<'_>) {
        let found = KEYS
            .iter()
            .enumerate()
            .find(|(_, (name, _))| key_is(member.key, name.as_bytes()));
        let Some((at, (name, key))) = found else {
            return self.keep(member);
        };
        let bit = 1_u16
            .checked_shl(u32::try_from(at).unwrap_or(u32::MAX))
            .unwrap_or_default();
        if self.seen & bit == 0 {
            self.seen |= bit;
            self.edit(name, *key, member);
        }
    }

    fn edit(&mut self, name: &str, key: Key, member: &Member<'_>) {
        match key {
            Key::MaxPayload => match number::<usize>(member.value).filter(|&max| max > 0) {
                Some(max) if self.edits.overhead > 0 => {
                    self.number(name, max.saturating_sub(self.edits.overhead))
                }
                _ => self.keep(member),
            },
            Key::Port => self.number(name, usize::from(self.edits.port)),
            Key::Host => self.text(name, self.edits.host),
            Key::ClientIp => match self.edits.client_ip {
                Some(address) => self.text(name, address),
                None => self.keep(member),
            },
            Key::LameDuck if !self.edits.lame_duck => self.keep(member),
            Key::LameDuck
            | Key::ConnectUrls
            | Key::TlsRequired
            | Key::TlsAvailable
            | Key::TlsVerify => self.gateway_key(name, key),
            Key::WsConnectUrls => {}
        }
    }

    /// Writes a key that does not depend on the server's value, if the gateway has one.
    fn gateway_key(&mut self, name: &str, key: Key) {
        let says = match key {
            Key::ConnectUrls => !self.edits.connect_urls.is_empty(),
            Key::TlsRequired => matches!(self.edits.tls, Tls::Required | Tls::Verified),
            Key::TlsVerify => self.edits.tls == Tls::Verified,
            Key::TlsAvailable => self.edits.tls == Tls::Available,
            Key::LameDuck => self.edits.lame_duck,
            Key::MaxPayload | Key::Host | Key::Port | Key::ClientIp => false,
            Key::WsConnectUrls => false,
        };
        match says {
            true if key == Key::ConnectUrls => self.urls(name),
            true => self.write_true(name),
            false => {}
        }
    }

    /// Writes the gateway's keys that the server's INFO lacks.
    fn missing(&mut self) {
        for (at, (name, key)) in (0_u32..).zip(KEYS) {
            if self.seen & 1_u16.checked_shl(at).unwrap_or_default() == 0 {
                self.gateway_key(name, key);
            }
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
