//! A minimal NATS client for probing a server, with or without credentials and a proxy's signature (`proxy_sig`), which the
//! client library does not support.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a client waits for one operation and passes over all others, whatever they are"
)]

use std::io::{self, Read, Write};

use data_encoding::BASE32_NOPAD;
use serde_json::{Map, Value, json};

use crate::printable;
use crate::proxy::Key;
use crate::tls::Failure;
use crate::wire::info::Info;
use crate::wire::{Buffer, Limits, Parsed, ServerOp, ServerParser};

use super::connection::{Connection, DialOptions, TlsOffer};
use super::login::Login;

/// What a CONNECT proves.
#[derive(Clone, Copy, Default)]
pub(super) struct Credentials<'a> {
    pub(super) login: Option<&'a Login>,
    /// The proxy key, which signs the nonce as a gateway does.
    pub(super) key: Option<&'a Key>,
}

/// A server's INFO.
#[derive(Clone, Debug)]
pub(super) struct ServerInfo {
    pub(super) info: Map<String, Value>,
    /// The nonce to be signed.
    pub(super) nonce: Option<Vec<u8>>,
}

/// A connection that has received INFO.
pub(super) struct ProbeClient {
    socket: Connection,
    input: Buffer,
    parser: ServerParser,
    pub(super) server_info: ServerInfo,
}

/// The server's answer to a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectOutcome {
    /// PONG.
    Accepted,
    /// `-ERR` with this text, or the end of the connection.
    Refused(String),
}

impl ProbeClient {
    /// Connects and reads INFO, with TLS where the gateway would have it.
    ///
    /// # Errors
    /// The connection or the TLS handshake failed, or the peer is no NATS server.
    pub(super) fn connect(dial_options: DialOptions<'_>) -> io::Result<Self> {
        let mut client = Self {
            socket: Connection::open(dial_options)?,
            input: Buffer::new(),
            parser: ServerParser::new(Limits::default()),
            server_info: ServerInfo {
                info: Map::new(),
                nonce: None,
            },
        };
        let first = client.next(|op| match op {
            ServerOp::Info { json } => Some(server_info(json)),
            _ => Some(None),
        })?;
        let no_info = || io::Error::other("it does not begin with INFO");
        client.server_info = first.ok_or_else(no_info)?;
        let socket = client
            .socket
            .upgrade_to_tls(dial_options, client.server_info.tls())?;
        if matches!(socket, Connection::Tls(_))
            && !client.input.is_empty()
            && !dial_options.is_handshake_first()
        {
            return Err(io::Error::other("it says more than INFO before TLS"));
        }
        Ok(Self { socket, ..client })
    }

    pub(super) const fn is_encrypted(&self) -> bool {
        matches!(self.socket, Connection::Tls(_))
    }

    /// Sends CONNECT and PING, and waits for PONG or `-ERR`.
    ///
    /// # Errors
    /// The server does not answer in time.
    pub(super) fn authenticate(
        &mut self,
        credentials: Credentials<'_>,
    ) -> io::Result<ConnectOutcome> {
        let nonce = self.server_info.nonce.clone().unwrap_or_default();
        let mut connect = Map::new();
        let mut set = |name: &str, value: Value| drop(connect.insert(name.to_owned(), value));
        set("verbose", json!(false));
        set("name", json!("keyway doctor"));
        set("lang", json!("rust"));
        set("version", json!(env!("CARGO_PKG_VERSION")));
        set("headers", json!(true));
        set("no_responders", json!(true));
        if let Some(key) = credentials.key.filter(|_| !nonce.is_empty()) {
            set("proxy_sig", json!(key.sign(&nonce)));
        }
        if let Some(login) = credentials.login {
            login.show(&nonce, &mut connect);
        }
        let line = format!("CONNECT {}\r\nPING\r\n", Value::Object(connect));
        if self.socket.write_all(line.as_bytes()).is_err() {
            return Ok(ConnectOutcome::Refused("connection closed".to_owned()));
        }
        let said = self.next(|op| match op {
            ServerOp::Pong => Some(ConnectOutcome::Accepted),
            ServerOp::Err { text } => Some(ConnectOutcome::Refused(error_text(text))),
            _ => None,
        });
        let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
        match said {
            Err(error) if gone.contains(&error.kind()) => {
                Ok(ConnectOutcome::Refused("connection closed".to_owned()))
            }
            // With TLS 1.3 a server refuses a client certificate, or its absence, only after the handshake (RFC 8446).
            Err(error) if Failure::of(&error) == Failure::Declined => {
                Ok(ConnectOutcome::Refused(error.to_string()))
            }
            said => said,
        }
    }

    /// Sends a request and waits for one reply; `None` without responders or permission.
    pub(super) fn request(&mut self, subject: &str) -> Option<Vec<u8>> {
        let inbox = format!("_INBOX.{}", token()?);
        let line = format!("SUB {inbox} 1\r\nPUB {subject} {inbox} 0\r\n\r\n");
        self.socket.write_all(line.as_bytes()).ok()?;
        let answer = self.next(|op| match op {
            ServerOp::Message(message) => Some(Some(message.payload.to_owned())),
            ServerOp::Err { .. } => Some(None),
            _ => None,
        });
        answer.ok()?.filter(|payload| !payload.is_empty())
    }

    /// Subscribes to `pattern` and publishes; yields the subjects on which the message arrives. `None` where the server refuses.
    pub(super) fn echo(
        &mut self,
        pattern: &str,
        (subject, payload): (&str, &str),
    ) -> Option<Vec<String>> {
        let len = payload.len();
        let line =
            format!("SUB {pattern} 7\r\nPUB {subject} {len}\r\n{payload}\r\nUNSUB 7\r\nPING\r\n");
        self.socket.write_all(line.as_bytes()).ok()?;
        let (mut delivered, mut refused) = (Vec::new(), false);
        self.next(|op| match op {
            ServerOp::Message(message) if message.payload == payload.as_bytes() => {
                delivered.push(printable::bytes(message.subject));
                None
            }
            ServerOp::Err { .. } => {
                refused = true;
                None
            }
            ServerOp::Pong => Some(()),
            _ => None,
        })
        .ok()?;
        (!refused).then_some(delivered)
    }

    /// Reads operations until `pick` yields something, or the stream ends; answers PING.
    fn next<T>(&mut self, mut pick: impl FnMut(ServerOp<'_>) -> Option<T>) -> io::Result<T> {
        loop {
            let step = self.parser.next(self.input.filled());
            let step = step.map_err(|_malformed| {
                io::Error::other("it does not speak as a NATS server does")
            })?;
            let Parsed::Op { op, len } = step else {
                self.read()?;
                continue;
            };
            let is_ping = matches!(op, ServerOp::Ping);
            let picked = pick(op);
            self.input.consume(len);
            if is_ping {
                self.socket.write_all(b"PONG\r\n")?;
            }
            if let Some(picked) = picked {
                return Ok(picked);
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut more = [0; 4096];
        let got = self.socket.read(&mut more)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.put(more.get(..got).unwrap_or_default());
        Ok(())
    }
}

impl ServerInfo {
    fn tls(&self) -> TlsOffer {
        if self.flag("tls_required") {
            TlsOffer::Required
        } else if self.flag("tls_available") {
            TlsOffer::Available
        } else {
            TlsOffer::Unavailable
        }
    }

    /// A number of INFO, or 0.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.info.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    /// A text of INFO, or an empty one.
    pub(super) fn text(&self, name: &str) -> &str {
        self.info.get(name).and_then(Value::as_str).unwrap_or("")
    }

    /// Whether a flag of INFO is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.info.get(name).and_then(Value::as_bool) == Some(true)
    }
}

fn server_info(json: &[u8]) -> Option<ServerInfo> {
    let nonce = Info::read(json).ok()?.nonce.map(<[u8]>::to_owned);
    let info = serde_json::from_slice(json).ok()?;
    Some(ServerInfo { info, nonce })
}

fn error_text(text: &[u8]) -> String {
    printable::bytes(text).trim_matches('\'').to_owned()
}

/// A random subject token.
pub(super) fn token() -> Option<String> {
    let mut bytes = [0; 10];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(BASE32_NOPAD.encode(&bytes))
}
