//! HTTP requests to a running gateway, through its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::fault::Who;
use crate::operations::{Problem, Status};
use crate::rotation::KeyringStatus;
use crate::strict_json;

use super::exit::Exit;
use super::failure::Failure;

/// How long an answer may take: a switch waits for the disk.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the admin socket, for one request.
pub(super) struct AdminClient {
    socket: PathBuf,
    stream: UnixStream,
}

/// What the gateway says of its state, and its Prometheus page.
pub(super) struct Answers {
    pub(super) status: Status,
    pub(super) keyrings: Vec<KeyringStatus>,
    pub(super) metrics: String,
}

impl AdminClient {
    /// Connects; `None` when no gateway runs.
    ///
    /// # Errors
    /// The socket exists, but cannot be connected to.
    pub(super) async fn connect(socket: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Some(Self {
                socket: socket.to_owned(),
                stream,
            })),
            Err(error) if is_not_running(&error) => Ok(None),
            Err(error) => Err(unreachable(socket, &error)),
        }
    }

    /// Connects; an error with `help` when no gateway runs.
    ///
    /// # Errors
    /// None runs, or its socket cannot be connected to.
    pub(super) async fn required(socket: &Path, help: &str) -> Result<Self, Failure> {
        let connected = Self::connect(socket).await?;
        connected.ok_or_else(|| {
            let what = format!("no gateway answers at {}", socket.display());
            Failure::new(Exit::Unreachable, what, help)
        })
    }

    /// GET, with a JSON answer.
    ///
    /// # Errors
    /// The gateway's refusal, or a failed exchange.
    pub(super) async fn get<T: DeserializeOwned>(self, path: &str) -> Result<T, Failure> {
        let read = |body: &[u8]| strict_json::from_slice(body);
        self.ask(Request::get(path), Ok(Vec::new()), read).await
    }

    /// GET, with a text answer.
    ///
    /// # Errors
    /// The gateway's refusal, or a failed exchange.
    pub(super) async fn text(self, path: &str) -> Result<String, Failure> {
        let read = |body: &[u8]| Ok(String::from_utf8_lossy(body).into_owned());
        self.ask(Request::get(path), Ok(Vec::new()), read).await
    }

    /// POST, with JSON in both directions.
    ///
    /// # Errors
    /// The gateway's refusal, or a failed exchange.
    pub(super) async fn post<T: DeserializeOwned>(
        self,
        path: &str,
        body: serde_json::Result<Vec<u8>>,
    ) -> Result<T, Failure> {
        let read = |body: &[u8]| strict_json::from_slice(body);
        self.ask(Request::post(path), body, read).await
    }

    async fn ask<T>(
        self,
        request: Builder,
        body: serde_json::Result<Vec<u8>>,
        read: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T, Failure> {
        let Self { socket, stream } = self;
        let broken = |error: &dyn std::error::Error| unreachable(&socket, error);
        let body = body.map_err(|error| broken(&error))?;
        let request = request
            .header(header::HOST, "keyway")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let answer = tokio::time::timeout(TIMEOUT, Box::pin(exchange(stream, request))).await;
        let (status, body) = answer
            .map_err(|elapsed| broken(&elapsed))?
            .map_err(|error| broken(&error))?;
        if status.is_success() {
            return read(&body).map_err(|error| broken(&error));
        }
        let problem = strict_json::from_slice(&body).map_err(|error| broken(&error))?;
        Err(refused(problem))
    }
}

impl Answers {
    /// Asks on this connection and on two more; `help` is for the case that the gateway ends meanwhile.
    ///
    /// # Errors
    /// As of each question.
    pub(super) async fn of(client: AdminClient, help: &str) -> Result<Self, Failure> {
        let socket = client.socket.clone();
        let again = async || AdminClient::required(&socket, help).await;
        Ok(Self {
            status: client.get("/v1/status").await?,
            keyrings: again().await?.get("/v1/keyrings").await?,
            metrics: again().await?.text("/metrics").await?,
        })
    }
}

/// A problem from the API, or from an operation without a gateway, as a failure.
pub(super) fn refused(problem: Problem) -> Failure {
    let exit = if problem.mistakes.is_empty() {
        exit(&problem.who)
    } else {
        Exit::Config
    };
    Failure::new(exit, problem.error, problem.help).with_mistakes(problem.mistakes)
}

async fn exchange(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let ask = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(ask);
    tokio::select! {
        answer = &mut ask => answer,
        // The answer may have arrived together with the end of the connection.
        ended = connection => match ended {
            Ok(()) => ask.await,
            Err(error) => Err(error),
        },
    }
}

/// No socket, or a stale one.
fn is_not_running(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn unreachable(socket: &Path, error: &dyn std::error::Error) -> Failure {
    let socket = socket.display();
    let what = format!("cannot speak to the gateway through {socket}: {error}");
    let help = "run this as the user that runs the gateway, and look at the gateway's log";
    Failure::new(Exit::Unreachable, what, help)
}

/// The exit code for `who` of a problem. `client` means the caller of the API here, not a NATS client.
fn exit(who: &str) -> Exit {
    if who == <&str>::from(Who::Client) {
        return Exit::Refused;
    }
    let whos = [Who::Server, Who::Custodian, Who::Operator, Who::Internal];
    let who = whos.into_iter().find(|known| <&str>::from(known) == who);
    Exit::of(who.unwrap_or(Who::Internal))
}
