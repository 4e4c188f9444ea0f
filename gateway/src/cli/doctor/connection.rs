//! A blocking connection to a server, with TLS and PROXY header as the gateway has them.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::clock::Clock;
use crate::dataplane::ServerAddr;
use crate::proxy::{self, Version};
use crate::tls::{self, Dialer, Failure, ServerTls};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How to connect to a server.
#[derive(Clone, Copy)]
pub(super) struct DialOptions<'a> {
    pub(super) server: &'a ServerAddr,
    /// The connect timeout of each address.
    pub(super) timeout: Duration,
    /// `None`: no TLS.
    pub(super) tls: Option<&'a Dialer>,
    /// Sends a PROXY protocol header of this version first.
    pub(super) header: Option<Version>,
}

/// TLS with servers, with and without the gateway's client certificate.
#[derive(Default)]
pub(super) struct Dialers {
    /// As the gateway connects.
    pub(super) gateway: Option<Dialer>,
    /// As a client without certificate connects.
    pub(super) anonymous: Option<Dialer>,
}

/// A connection.
pub(super) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// TLS by a server's INFO: `tls_required`, `tls_available`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsOffer {
    Required,
    Available,
    Unavailable,
}

impl Dialers {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// [`tls::Error`].
    pub(super) fn load(settings: Option<&ServerTls>, clock: &Clock) -> Result<Self, tls::Error> {
        let Some(settings) = settings else {
            return Ok(Self::default());
        };
        let bare = ServerTls {
            own: None,
            ..settings.clone()
        };
        Ok(Self {
            gateway: Some(Dialer::load(settings.clone(), clock)?),
            anonymous: Some(Dialer::load(bare, clock)?),
        })
    }

    /// Whether the gateway has a client certificate.
    pub(super) fn has_client_certificate(&self) -> bool {
        let settings = self.gateway.as_ref().map(Dialer::settings);
        settings.is_some_and(|settings| settings.own.is_some())
    }

    /// An addition to findings about connections that bypass the gateway, where a certificate makes the difference.
    pub(super) fn without_certificate_note(&self) -> &'static str {
        if self.has_client_certificate() {
            " (without a certificate)"
        } else {
            ""
        }
    }

    /// The remedy for a TLS error; none for other errors.
    pub(super) fn help(&self, error: &io::Error) -> Option<String> {
        let settings = self.gateway.as_ref()?.settings();
        let is_tls = error.get_ref()?.is::<rustls::Error>();
        let help = settings.help(Failure::of(error));
        (is_tls && !help.is_empty()).then_some(help)
    }
}

impl DialOptions<'_> {
    /// Whether the TLS handshake comes before INFO (`handshake_first` of nats-server).
    pub(super) fn is_handshake_first(&self) -> bool {
        let settings = self.tls.map(Dialer::settings);
        settings.is_some_and(|settings| settings.handshake_first)
    }
}

impl Connection {
    /// Connects, up to where the server sends INFO.
    ///
    /// # Errors
    /// The connection or the TLS handshake failed.
    pub(super) fn open(dial_options: DialOptions<'_>) -> io::Result<Self> {
        let mut socket = dial(dial_options)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        if let Some(version) = dial_options.header {
            let mut bytes = Vec::new();
            proxy::write(version, None, &mut bytes);
            socket.write_all(&bytes)?;
        }
        match dial_options.tls {
            Some(dialer) if dial_options.is_handshake_first() => {
                tls_handshake(dial_options, dialer, socket)
            }
            Some(_) | None => Ok(Self::Plain(socket)),
        }
    }

    /// Upgrades to TLS after INFO, where the server or the gateway demands it.
    ///
    /// # Errors
    /// The handshake failed, or the server does not offer TLS.
    pub(super) fn upgrade_to_tls(
        self,
        dial_options: DialOptions<'_>,
        offer: TlsOffer,
    ) -> io::Result<Self> {
        let socket = match self {
            Self::Plain(socket) => socket,
            secured @ Self::Tls(_) => return Ok(secured),
        };
        match (dial_options.tls, offer) {
            (Some(dialer), TlsOffer::Required) => tls_handshake(dial_options, dialer, socket),
            (Some(dialer), TlsOffer::Available) if dial_options.server.tls => {
                tls_handshake(dial_options, dialer, socket)
            }
            (_, TlsOffer::Available | TlsOffer::Unavailable) if dial_options.server.tls => {
                Err(io::Error::other("it does not offer TLS"))
            }
            (_, _) => Ok(Self::Plain(socket)),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn dial(dial_options: DialOptions<'_>) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for addr in (dial_options.server.host.as_str(), dial_options.server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, dial_options.timeout) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tls_handshake(
    dial_options: DialOptions<'_>,
    dialer: &Dialer,
    mut socket: TcpStream,
) -> io::Result<Connection> {
    let name = dialer.settings().name(&dial_options.server.host);
    let name = name.map_err(io::Error::other)?;
    let session = ClientConnection::new(dialer.config(), name);
    let mut session = session.map_err(io::Error::other)?;
    while session.is_handshaking() {
        let _moved = session.complete_io(&mut socket)?;
    }
    Ok(Connection::Tls(Box::new(StreamOwned::new(session, socket))))
}
