//! Where requests come in. A connection carries one request; each of its parts that is the peer's has its time, and no number of
//! connections keeps the next one out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::serve::Listener;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::places::{Place, Places, Tenure};
use super::problem::Refusal;

/// Connections at a time that have sent nothing yet, and such that have, each; and how many of those whose request is the owner's, or
/// bears a token. What is left of the descriptors that are no clients' (`app::process`) is for logs and records.
const WAITING: usize = 8;
const ASKING: usize = 8;
const TRUSTED: usize = 8;

/// The longest body of a request, in bytes: a reason and a name.
const LONGEST: usize = 64 * 1024;

/// How long a peer may take for its parts. What the gateway does in between has no limit here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the first byte of the request.
    pub(super) silence: Duration,
    /// From there to its last byte, that of the body.
    pub(super) request: Duration,
    /// Until the answer is taken.
    pub(super) answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(10),
        }
    }
}

/// A socket that can tell whether something has come.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Waits for the first byte, or the end.
    fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send;
}

impl Stream for TcpStream {
    fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
        Self::readable(self)
    }
}

impl Stream for UnixStream {
    fn readable(&self) -> impl Future<Output = std::io::Result<()>> + Send {
        Self::readable(self)
    }
}

/// What all connections of a listener share.
struct Door {
    routes: TowerToHyperService<Router>,
    patience: Patience,
    waiting: Places,
    asking: Places,
    trusted: Arc<Semaphore>,
}

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The peer sends it.
    Asked,
    /// The gateway works.
    Whole,
    /// The peer takes the answer.
    Answered,
}

/// Serves `routes` to whoever connects; what is in them finds the peer's address and its [`Tenure`] among a request's extensions. Ends
/// when `closing` says so and every request that has begun has its answer.
pub(super) async fn serve<L>(
    mut listener: L,
    routes: Router,
    patience: Patience,
    mut closing: watch::Receiver<bool>,
) where
    L: Listener<Io: Stream, Addr: Clone + Sync + 'static>,
{
    let door = Arc::new(Door {
        routes: TowerToHyperService::new(routes),
        patience,
        waiting: Places::new(WAITING),
        asking: Places::new(ASKING),
        trusted: Arc::new(Semaphore::new(TRUSTED)),
    });
    let mut peers = JoinSet::new();
    loop {
        let closed = closing.clone();
        tokio::select! {
            (stream, addr) = listener.accept() => {
                let place = door.waiting.take();
                let door = Arc::clone(&door);
                peers.spawn(async move { door.attend((stream, addr), place, closed).await });
            }
            Some(_ended) = peers.join_next() => {}
            // A sender that is gone closes too.
            _closed = closing.wait_for(|closed| *closed) => break,
        }
        // Whoever has lost a place is gone, and what has arrived is seen, before the next is let in.
        tokio::task::yield_now().await;
    }
    drop(listener);
    while peers.join_next().await.is_some() {}
}

impl Door {
    /// A connection, from its first byte to the end of the answer.
    async fn attend<S: Stream, A: Clone + Send + Sync + 'static>(
        &self,
        (stream, addr): (S, A),
        place: Place,
        mut closing: watch::Receiver<bool>,
    ) {
        tokio::select! {
            ready = timeout(self.patience.silence, stream.readable()) => {
                if !matches!(ready, Ok(Ok(()))) {
                    return;
                }
            }
            () = place.lost() => return,
            _closed = closing.wait_for(|closed| *closed) => return,
        }
        let (place, tenure) = (self.asking.take(), Tenure::of(&self.trusted));
        let (stage, reached) = watch::channel(Stage::Asked);
        let (stage, mark) = (&stage, &tenure);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(addr.clone());
            extensions.insert(mark.clone());
            async move {
                let request = whole(request).await;
                stage.send_replace(Stage::Whole);
                let answer = match request {
                    Ok(request) => self.routes.call(request).await,
                    Err(refusal) => Ok(refusal.into_response()),
                };
                stage.send_replace(Stage::Answered);
                answer
            }
        });
        let mut http = http1::Builder::new();
        let connection = http
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "an administrative connection ended early");
            },
            () = self.overdue(reached) => tracing::debug!("an administrative connection took too long"),
            () = tenure.lost(place) => tracing::debug!("an administrative connection made room"),
        }
    }

    /// Waits until the peer has taken too long for something.
    async fn overdue(&self, mut reached: watch::Receiver<Stage>) {
        let asked = reached.wait_for(|stage| *stage != Stage::Asked);
        // The sender is as long there as anybody waits here.
        if timeout(self.patience.request, asked).await.is_err() {
            return;
        }
        drop(reached.wait_for(|stage| *stage == Stage::Answered).await);
        sleep(self.patience.answer).await;
    }
}

/// A request with all of its body.
async fn whole(request: Request<Incoming>) -> Result<Request<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let error = format!("the body has more than {LONGEST} bytes");
            return Refusal::misasked(StatusCode::PAYLOAD_TOO_LARGE, &error, "send less");
        }
        let help = "send as many bytes as the header says";
        Refusal::misasked(StatusCode::BAD_REQUEST, "the body breaks off", help)
    })?;
    Ok(Request::from_parts(head, Body::from(body.to_bytes())))
}
