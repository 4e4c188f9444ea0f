//! Requests to JetStream's API, and why one has no answer.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError};
use bytes::Bytes;
use tokio::sync::watch;

use super::config::{Config, LoginError};
use crate::clock::Clock;
use crate::fault::{Fault, faults};
use crate::tls::{self, Dialer, ServerTls};
use crate::wire::connect::CONTROL_CLIENT_NAME;

/// The timeout of connecting to a server, and of a request. A cluster takes up to some seconds to list its streams.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection for one question.
pub(super) struct Api {
    client: Client,
    /// The server's `-ERR` texts. It sends permissions violations as `-ERR`, not in answer to the request.
    server_errors: watch::Receiver<Vec<String>>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The credentials cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The certificates for servers cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// No server accepts the connection.
    #[error("no connection to {servers}: {why}")]
    Connect {
        /// The servers.
        servers: String,
        /// The kind of async-nats' error.
        why: ConnectErrorKind,
    },
    /// The server refuses the credentials.
    #[error("the server at {0} refuses the credentials of [control]")]
    Unauthorised(String),
    /// A permissions violation, in the server's words.
    #[error("the server refuses: {0}")]
    PermissionsViolation(String),
    /// No responders: JetStream is not enabled there.
    #[error("nobody answers {0}")]
    NoResponders(String),
    /// No answer came.
    #[error("no answer to {subject}: {why}")]
    NoAnswer {
        /// The request's subject.
        subject: String,
        /// The kind of async-nats' error.
        why: RequestErrorKind,
    },
    /// JetStream answers with an error.
    #[error("JetStream refuses {subject}: {description} ({code})")]
    Error {
        /// The request's subject.
        subject: String,
        /// JetStream's description.
        description: String,
        /// `err_code`, or else `code`.
        code: u64,
    },
    /// The answer is not the expected JSON.
    #[error("the answer to {subject} is not understood: {why}")]
    Unreadable {
        /// The request's subject.
        subject: String,
        /// What is wrong with the answer.
        why: String,
    },
}

impl ApiError {
    /// Of an answer that cannot be read.
    pub(super) fn unreadable(subject: &str, why: impl ToString) -> Self {
        Self::Unreadable {
            subject: subject.to_owned(),
            why: why.to_string(),
        }
    }
}

impl Api {
    /// Connects to the first server that answers.
    pub(super) async fn connect(config: &Config) -> Result<Self, ApiError> {
        let (said, server_errors) = watch::channel(Vec::new());
        let options = options(config, said)?;
        let servers = config.servers.join(", ");
        let connected = Box::pin(options.connect(config.servers.as_slice())).await;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation => ApiError::Unauthorised(servers),
            why @ (ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects) => ApiError::Connect { servers, why },
        })?;
        Ok(Self {
            client,
            server_errors,
        })
    }

    /// Sends a request; returns the answer's payload.
    pub(super) async fn ask(&self, subject: &str, body: String) -> Result<Bytes, ApiError> {
        let mut server_errors = self.server_errors.clone();
        let request = Box::pin(self.client.request(subject.to_owned(), body.into()));
        let refused =
            server_errors.wait_for(|all| all.iter().any(|words| concerns(words, subject)));
        let answered = tokio::select! {
            biased;
            answered = request => answered,
            Ok(all) = refused => {
                let words = all.iter().find(|words| concerns(words, subject));
                return Err(ApiError::PermissionsViolation(words.cloned().unwrap_or_default()));
            }
        };
        let subject = subject.to_owned();
        answered
            .map(|message| message.payload)
            .map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => ApiError::NoResponders(subject),
                why @ (RequestErrorKind::TimedOut
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other) => ApiError::NoAnswer { subject, why },
            })
    }
}

/// Credentials, TLS, timeouts, and where the server's `-ERR` texts go.
fn options(
    config: &Config,
    said: watch::Sender<Vec<String>>,
) -> Result<Box<ConnectOptions>, ApiError> {
    let options = ConnectOptions::new()
        .name(CONTROL_CLIENT_NAME)
        .retain_servers_order()
        .connection_timeout(REQUEST_TIMEOUT.min(config.deadline))
        .request_timeout(Some(REQUEST_TIMEOUT))
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
        Some(login) => login.add_to(options)?,
        None => options,
    }))
}

/// Adds TLS from its files. async-nats verifies the certificate against the host that it dials, whatever `server_name` is.
fn with_tls(options: ConnectOptions, settings: &ServerTls) -> Result<ConnectOptions, tls::Error> {
    let dialer = Dialer::load(settings.clone(), &Clock::system())?;
    let options = options.tls_client_config(dialer.config().as_ref().clone());
    Ok(if settings.handshake_first {
        options.tls_first()
    } else {
        options
    })
}

/// Whether an `-ERR` is about a request to `subject`: about its publish, or about the inbox of all answers.
pub(super) fn concerns(words: &str, subject: &str) -> bool {
    words.contains(&format!("\"{subject}\"")) || words.contains("for Subscription to")
}

faults! { ApiError {
    Self::Login(error) => error.fault(),
    Self::Tls(error) => error.fault(),
    Self::Connect { .. } => Fault::server("check `servers` of [control], and that a server runs there"),
    Self::Unauthorised(_) => Fault::operator("give a user of the agents' account"),
    Self::PermissionsViolation(_) => Fault::operator("allow the gateway's user to publish to $JS.API.> and to subscribe to _INBOX.>"),
    Self::NoResponders(_) => Fault::operator("enable JetStream for the account of [control], or name its `domains`"),
    Self::NoAnswer { .. } => Fault::server("ask again when JetStream has recovered"),
    Self::Error { .. } => Fault::server("let it answer, and ask again"),
    Self::Unreadable { .. } => Fault::defect("report it, with the server's version"),
} }
