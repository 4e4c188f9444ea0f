//! A connection to a server, with TLS where and as the gateway has it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::clock::Clock;
use crate::dataplane::ServerAddr;
use crate::proxy::{self, Version};
use crate::tls::{self, Dialer, Failure, ToServer};

/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which server, and in what manner.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) server: &'a ServerAddr,
    /// How long a connection may take.
    pub(super) within: Duration,
    /// For TLS; `None`: none is spoken.
    pub(super) tls: Option<&'a Dialer>,
    /// Sends a PROXY header first, as a gateway does.
    pub(super) header: Option<Version>,
}

/// TLS with servers.
#[derive(Default)]
pub(super) struct Dialers {
    /// As the gateway has it.
    pub(super) gateway: Option<Dialer>,
    /// As whoever has no certificate would have it.
    pub(super) stranger: Option<Dialer>,
}

/// A connection.
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What a server's INFO says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Required,
    Available,
    Nothing,
}

impl Dialers {
    /// As the configuration says. Reads its files.
    ///
    /// # Errors
    /// [`tls::Error`].
    pub(super) fn load(settings: Option<&ToServer>, clock: &Clock) -> Result<Self, tls::Error> {
        let Some(settings) = settings else {
            return Ok(Self::default());
        };
        let bare = ToServer {
            own: None,
            ..settings.clone()
        };
        Ok(Self {
            gateway: Some(Dialer::load(settings.clone(), clock)?),
            stranger: Some(Dialer::load(bare, clock)?),
        })
    }

    /// Whether the gateway shows servers a certificate.
    pub(super) fn show_a_certificate(&self) -> bool {
        let settings = self.gateway.as_ref().map(Dialer::settings);
        settings.is_some_and(|settings| settings.own.is_some())
    }

    /// What is to be said of whoever comes past the gateway, where that makes a difference.
    pub(super) fn unless(&self) -> &'static str {
        if self.show_a_certificate() {
            " (without a certificate)"
        } else {
            ""
        }
    }

    /// What would help where TLS with a server has failed; none for other errors.
    pub(super) fn help(&self, error: &io::Error) -> Option<String> {
        let settings = self.gateway.as_ref()?.settings();
        let is_tls = error.get_ref()?.is::<rustls::Error>();
        let help = settings.help(Failure::of(error));
        (is_tls && !help.is_empty()).then_some(help)
    }
}

impl Way<'_> {
    /// Whether the handshake comes before INFO.
    pub(super) fn is_first(&self) -> bool {
        let settings = self.tls.map(Dialer::settings);
        settings.is_some_and(|settings| settings.handshake_first)
    }
}

impl Line {
    /// Up to the server's INFO, which may come behind a handshake.
    ///
    /// # Errors
    /// What the system says, or why there is no TLS.
    pub(super) fn open(way: Way<'_>) -> io::Result<Self> {
        let mut socket = dial(way)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        if let Some(version) = way.header {
            let mut bytes = Vec::new();
            proxy::write(version, None, &mut bytes);
            socket.write_all(&bytes)?;
        }
        match way.tls {
            Some(dialer) if way.is_first() => shake(way, dialer, socket),
            Some(_) | None => Ok(Self::Plain(socket)),
        }
    }

    /// Behind the server's INFO, which says this of TLS.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn secure(self, way: Way<'_>, says: Says) -> io::Result<Self> {
        let socket = match self {
            Self::Plain(socket) => socket,
            secured @ Self::Tls(_) => return Ok(secured),
        };
        match (way.tls, says) {
            (Some(dialer), Says::Required) => shake(way, dialer, socket),
            (Some(dialer), Says::Available) if way.server.tls => shake(way, dialer, socket),
            (_, Says::Available | Says::Nothing) if way.server.tls => {
                Err(io::Error::other("it does not offer TLS"))
            }
            (_, _) => Ok(Self::Plain(socket)),
        }
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Line {
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

fn dial(way: Way<'_>) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for addr in (way.server.host.as_str(), way.server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, way.within) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn shake(way: Way<'_>, dialer: &Dialer, mut socket: TcpStream) -> io::Result<Line> {
    let name = dialer.settings().name(&way.server.host);
    let name = name.map_err(io::Error::other)?;
    let session = ClientConnection::new(dialer.config(), name);
    let mut session = session.map_err(io::Error::other)?;
    while session.is_handshaking() {
        let _moved = session.complete_io(&mut socket)?;
    }
    Ok(Line::Tls(Box::new(StreamOwned::new(session, socket))))
}
