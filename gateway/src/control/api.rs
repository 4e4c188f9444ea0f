//! One request to JetStream's API, one answer, and the server's own words where there is none.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError};
use bytes::Bytes;
use tokio::sync::watch;

use super::config::{Config, LoginError};
use crate::clock::Clock;
use crate::fault::{Fault, Faulty, Retry, Who};
use crate::tls::{self, Dialer, ToServer};
use crate::wire::connect::CONTROL;

/// How long one server may take to greet, and one request to be answered. A cluster gathers a list of streams for some
/// seconds; who says nothing for ten is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connection of one question.
pub(super) struct Api {
    client: Client,
    /// What the server refused, in its words. It says so beside the requests, not in answer to them.
    refusals: watch::Receiver<Vec<String>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The credentials cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The certificates for servers cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// No server takes the connection.
    #[error(
        "no connection to {servers}: {why}; check `servers` of [control], and that a server runs there"
    )]
    Connect {
        /// Where.
        servers: String,
        /// The client's words.
        why: ConnectErrorKind,
    },
    /// The server does not know us.
    #[error(
        "the server at {servers} refuses the credentials of [control]; give a user of the agents' account"
    )]
    Unauthorised {
        /// Where.
        servers: String,
    },
    /// The server knows us, and does not let us ask.
    #[error(
        "the server refuses: {0}; allow the gateway's user to publish to $JS.API.> and to subscribe to _INBOX.>"
    )]
    Refused(String),
    /// Nobody answers for JetStream.
    #[error(
        "nobody answers {subject}; enable JetStream for the account of [control], or name its `domains`"
    )]
    NobodyThere {
        /// What was asked.
        subject: String,
    },
    /// Nothing came back.
    #[error("no answer to {subject}: {why}; ask again when JetStream has recovered")]
    Silent {
        /// What was asked.
        subject: String,
        /// The client's words.
        why: RequestErrorKind,
    },
    /// JetStream answers with an error.
    #[error("JetStream refuses {subject}: {description} ({code}); let it answer, and ask again")]
    Error {
        /// What was asked.
        subject: String,
        /// JetStream's words.
        description: String,
        /// Its number: `err_code`, or else `code`.
        code: u64,
    },
    /// JetStream answers with something else.
    #[error(
        "the answer to {subject} is not understood: {why}; report it, with the server's version"
    )]
    Unreadable {
        /// What was asked.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Api {
    /// Connects to the first server that answers.
    ///
    /// # Errors
    /// [`Failed::Login`], [`Failed::Tls`], [`Failed::Connect`], [`Failed::Unauthorised`].
    pub(super) async fn connect(config: &Config) -> Result<Self, Failed> {
        let (said, refusals) = watch::channel(Vec::new());
        let options = options(config, said)?;
        let servers = config.servers.join(", ");
        let connected = Box::pin(options.connect(config.servers.as_slice())).await;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation => Failed::Unauthorised { servers },
            why @ (ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects) => Failed::Connect { servers, why },
        })?;
        Ok(Self { client, refusals })
    }

    /// The answer's bytes.
    ///
    /// # Errors
    /// [`Failed::Refused`], [`Failed::NobodyThere`], [`Failed::Silent`].
    pub(super) async fn ask(&self, subject: &str, body: String) -> Result<Bytes, Failed> {
        let mut refusals = self.refusals.clone();
        let request = Box::pin(self.client.request(subject.to_owned(), body.into()));
        let refused = refusals.wait_for(|all| all.iter().any(|words| concerns(words, subject)));
        let answered = tokio::select! {
            biased;
            answered = request => answered,
            Ok(all) = refused => {
                let words = all.iter().find(|words| concerns(words, subject));
                return Err(Failed::Refused(words.cloned().unwrap_or_default()));
            }
        };
        let subject = subject.to_owned();
        answered
            .map(|message| message.payload)
            .map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Failed::NobodyThere { subject },
                why @ (RequestErrorKind::TimedOut
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other) => Failed::Silent { subject, why },
            })
    }
}

/// As whom, how patiently, and where the server's complaints go.
fn options(
    config: &Config,
    said: watch::Sender<Vec<String>>,
) -> Result<Box<ConnectOptions>, Failed> {
    let options = ConnectOptions::new()
        .name(CONTROL)
        .retain_servers_order()
        .connection_timeout(PATIENCE.min(config.deadline))
        .request_timeout(Some(PATIENCE))
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(words)) = event {
                said.send_modify(|all| all.push(words));
            }
            std::future::ready(())
        });
    let options = match &config.tls {
        Some(settings) => with_tls(options, settings)?,
        None => options,
    };
    Ok(Box::new(match &config.login {
        Some(login) => login.show(options)?,
        None => options,
    }))
}

/// Adds what the files say now. The client looks for the host that it dials in the server's certificate, whatever `server_name` says.
fn with_tls(options: ConnectOptions, settings: &ToServer) -> Result<ConnectOptions, tls::Error> {
    let dialer = Dialer::load(settings.clone(), &Clock::system())?;
    let options = options.tls_client_config(dialer.config().as_ref().clone());
    Ok(if settings.handshake_first {
        options.tls_first()
    } else {
        options
    })
}

/// Whether the server's words are about a request to `subject`: about its publish, or about the inbox of every answer.
pub(super) fn concerns(words: &str, subject: &str) -> bool {
    words.contains(&format!("\"{subject}\"")) || words.contains("for Subscription to")
}

impl Faulty for Failed {
    fn fault(&self) -> Fault {
        let (who, retry) = match self {
            Self::Login(error) => return error.fault(),
            Self::Tls(error) => return error.fault(),
            Self::Unauthorised { .. } | Self::Refused(_) | Self::NobodyThere { .. } => {
                (Who::Operator, Retry::Never)
            }
            Self::Connect { .. } | Self::Silent { .. } | Self::Error { .. } => {
                (Who::Server, Retry::Later)
            }
            Self::Unreadable { .. } => (Who::Us, Retry::Never),
        };
        Fault { who, retry }
    }
}
