//! A conversation with a running gateway, through its unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::admin::api::Problem;
use crate::fault::{Fault, Retry, Who};
use crate::objects;

use super::exit::Exit;
use super::failure::Failure;

/// How long the gateway may take: a switch waits for its disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to a running gateway.
pub(super) struct Client {
    socket: PathBuf,
    stream: UnixStream,
}

impl Client {
    /// Connects; `None` when no gateway runs.
    ///
    /// # Errors
    /// When one may run and cannot be spoken to.
    pub(super) async fn connect(socket: &Path) -> Result<Option<Self>, Failure> {
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Some(Self {
                socket: socket.to_owned(),
                stream,
            })),
            Err(error) if nobody_there(&error) => Ok(None),
            Err(error) => Err(unreachable(socket, &error)),
        }
    }

    /// The same for what only a running gateway can do.
    ///
    /// # Errors
    /// When none runs, or one cannot be spoken to.
    pub(super) async fn required(socket: &Path, help: &str) -> Result<Self, Failure> {
        let connected = Self::connect(socket).await?;
        connected.ok_or_else(|| {
            let what = format!("no gateway answers at {}", socket.display());
            Failure::new(Exit::Unreachable, what, help)
        })
    }

    /// What is at `path`, as JSON.
    ///
    /// # Errors
    /// What the gateway said, or why it said nothing.
    pub(super) async fn get<T: DeserializeOwned>(self, path: &str) -> Result<T, Failure> {
        let socket = self.socket.clone();
        let body = self.ask(Request::get(path), Vec::new()).await?;
        objects::from_slice(&body).map_err(|error| unreachable(&socket, &error))
    }

    /// What is at `path`, as text.
    ///
    /// # Errors
    /// What the gateway said, or why it said nothing.
    pub(super) async fn text(self, path: &str) -> Result<String, Failure> {
        let body = self.ask(Request::get(path), Vec::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends `body` to `path` and reads the answer.
    ///
    /// # Errors
    /// What the gateway said, or why it said nothing.
    pub(super) async fn post<T: DeserializeOwned>(
        self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let socket = self.socket.clone();
        let broken = |error: &serde_json::Error| unreachable(&socket, error);
        let body = serde_json::to_vec(body).map_err(|error| broken(&error))?;
        let answer = self.ask(Request::post(path), body).await?;
        objects::from_slice(&answer).map_err(|error| broken(&error))
    }

    async fn ask(self, request: Builder, body: Vec<u8>) -> Result<Bytes, Failure> {
        let broken = |error: &dyn std::error::Error| unreachable(&self.socket, error);
        let request = request
            .header(header::HOST, "keyway")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let answer = tokio::time::timeout(PATIENCE, Box::pin(exchange(self.stream, request))).await;
        let (status, body) = answer
            .map_err(|elapsed| broken(&elapsed))?
            .map_err(|error| broken(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let problem = objects::from_slice(&body).map_err(|error| broken(&error))?;
        Err(refused(problem))
    }
}

/// What the gateway, or rotation without one, said to an order.
pub(super) fn refused(problem: Problem) -> Failure {
    let exit = if problem.mistakes.is_empty() {
        exit(&problem.who)
    } else {
        Exit::Config
    };
    Failure::new(exit, problem.error, problem.help).because_of(problem.mistakes)
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
        // What arrived with the end of the connection is still to be read.
        ended = connection => match ended {
            Ok(()) => ask.await,
            Err(error) => Err(error),
        },
    }
}

/// No socket, or one whose gateway is gone.
fn nobody_there(error: &io::Error) -> bool {
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

/// The gateway's word for who must act, as an exit code. Here a client is whoever asked.
fn exit(who: &str) -> Exit {
    if who == Who::Client.word() {
        return Exit::Refused;
    }
    let whos = [Who::Server, Who::Custodian, Who::Operator, Who::Us];
    let who = whos.into_iter().find(|known| known.word() == who);
    Exit::of(Fault {
        who: who.unwrap_or(Who::Us),
        retry: Retry::Never,
    })
}
