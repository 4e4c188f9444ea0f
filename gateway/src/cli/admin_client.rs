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
use crate::operations::Problem;
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
        let socket = self.socket.clone();
        let body = self.ask(Request::get(path), Vec::new()).await?;
        strict_json::from_slice(&body).map_err(|error| unreachable(&socket, &error))
    }

    /// GET, with a text answer.
    ///
    /// # Errors
    /// The gateway's refusal, or a failed exchange.
    pub(super) async fn text(self, path: &str) -> Result<String, Failure> {
        let body = self.ask(Request::get(path), Vec::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
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
        let socket = self.socket.clone();
        let broken = |error: &serde_json::Error| unreachable(&socket, error);
        let body = body.map_err(|error| broken(&error))?;
        let answer = self.ask(Request::post(path), body).await?;
        strict_json::from_slice(&answer).map_err(|error| broken(&error))
    }

    async fn ask(self, request: Builder, body: Vec<u8>) -> Result<Bytes, Failure> {
        let broken = |error: &dyn std::error::Error| unreachable(&self.socket, error);
        let request = request
            .header(header::HOST, "keyway")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let answer = tokio::time::timeout(TIMEOUT, Box::pin(exchange(self.stream, request))).await;
        let (status, body) = answer
            .map_err(|elapsed| broken(&elapsed))?
            .map_err(|error| broken(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let problem = strict_json::from_slice(&body).map_err(|error| broken(&error))?;
        Err(refused(problem))
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
    Failure::new(
        Exit::Unreachable,
        format!(
            "cannot speak to the gateway through {}: {error}",
            socket.display()
        ),
        "run this as the user that runs the gateway, and look at the gateway's log",
    )
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
