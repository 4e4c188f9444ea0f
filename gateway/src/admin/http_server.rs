//! The HTTP server of a listener. A connection carries one request, each step of the peer has a timeout, and open connections
//! never keep a new one out: the oldest is evicted.

use std::io;
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
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::api_error::ApiError;
use super::slots::{ConnectionSlot, ConnectionSlots, EvictionGuard};

/// Concurrent connections: that have sent nothing yet, that have sent something, and that are authenticated (never evicted). The
/// other descriptors that are reserved (`app::process`) are for logs and records.
const MAX_IDLE: usize = 8;
const MAX_ACTIVE: usize = 8;
const MAX_TRUSTED: usize = 8;

/// The longest request body, in bytes: it holds a reason and a name.
const MAX_BODY: usize = 64 * 1024;

/// How long a peer may take for each step. The gateway's own work in between is not limited here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Until the first byte of the request.
    pub(super) first_byte: Duration,
    /// From there to the last byte of its body.
    pub(super) request: Duration,
    /// Until the peer has read the response.
    pub(super) answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            request: Duration::from_secs(10),
            answer: Duration::from_secs(10),
        }
    }
}

/// A socket whose first byte can be awaited without reading it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Waits for the first byte, or the end of the stream.
    fn readable_or_closed(&self) -> impl Future<Output = io::Result<()>> + Send;
}

macro_rules! stream {
    ($socket:ty) => {
        impl Stream for $socket {
            async fn readable_or_closed(&self) -> io::Result<()> {
                // Readiness can be spurious.
                let peek = || Ok(recv(self, &mut [0; 1], RecvFlags::PEEK)?);
                loop {
                    self.readable().await?;
                    match self.try_io(Interest::READABLE, peek) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        ended => return ended.map(drop),
                    }
                }
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// What all connections of a listener share: routes, timeouts, limits.
struct HttpServer {
    routes: TowerToHyperService<Router>,
    timeouts: Timeouts,
    idle: ConnectionSlots,
    active: ConnectionSlots,
    trusted: Arc<Semaphore>,
}

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestPhase {
    /// The peer sends the request.
    Receiving,
    /// The gateway handles it.
    Processing,
    /// The peer reads the response.
    Responding,
}

/// Serves `routes` until `closing` is true and all requests in progress are answered. Each request has the peer's address and a
/// [`EvictionGuard`] among its extensions.
pub(super) async fn serve<L>(
    mut listener: L,
    (routes, timeouts): (Router, Timeouts),
    mut closing: watch::Receiver<bool>,
) where
    L: Listener<Io: Stream, Addr: Clone + Sync + 'static>,
{
    let server = Arc::new(HttpServer {
        routes: TowerToHyperService::new(routes),
        timeouts,
        idle: ConnectionSlots::new(MAX_IDLE),
        active: ConnectionSlots::new(MAX_ACTIVE),
        trusted: Arc::new(Semaphore::new(MAX_TRUSTED)),
    });
    let mut peers = JoinSet::new();
    loop {
        let closed = closing.clone();
        tokio::select! {
            (stream, addr) = listener.accept() => {
                let slot = server.idle.acquire();
                let server = Arc::clone(&server);
                peers.spawn(async move { server.handle_connection((stream, addr), slot, closed).await });
            }
            Some(_ended) = peers.join_next() => {}
            // A dropped sender closes as well.
            _closed = closing.wait_for(|closed| *closed) => break,
        }
        // Evicted connections end, and bytes that have arrived are noticed, before the next one is accepted.
        tokio::task::yield_now().await;
    }
    drop(listener);
    while peers.join_next().await.is_some() {}
}

impl HttpServer {
    /// A connection, from its first byte to the end of the answer.
    async fn handle_connection<S: Stream, A: Clone + Send + Sync + 'static>(
        &self,
        (stream, addr): (S, A),
        slot: ConnectionSlot,
        mut closing: watch::Receiver<bool>,
    ) {
        tokio::select! {
            ready = timeout(self.timeouts.first_byte, stream.readable_or_closed()) => {
                if !matches!(ready, Ok(Ok(()))) {
                    return;
                }
            }
            () = slot.evicted() => return,
            _closed = closing.wait_for(|closed| *closed) => return,
        }
        let ended = Box::pin(self.handle_request((stream, addr), self.active.acquire())).await;
        tracing::debug!(ended, "an administrative connection");
    }

    /// One request and its response; yields how that ended, for the log.
    async fn handle_request<S: Stream, A: Clone + Send + Sync + 'static>(
        &self,
        (stream, addr): (S, A),
        slot: ConnectionSlot,
    ) -> &'static str {
        let eviction_guard = EvictionGuard::of(&self.trusted);
        let (phase, reached) = watch::channel(RequestPhase::Receiving);
        let (phase, guard) = (&phase, &eviction_guard);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(addr.clone());
            extensions.insert(guard.clone());
            async move {
                let request = read_body(request).await;
                phase.send_replace(RequestPhase::Processing);
                let answer = match request {
                    Ok(request) => self.routes.call(request).await,
                    Err(refusal) => Ok(refusal.into_response()),
                };
                phase.send_replace(RequestPhase::Responding);
                answer
            }
        });
        let mut http = http1::Builder::new();
        let connection = http
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = connection => if ended.is_ok() { "answered" } else { "broken off" },
            () = self.timed_out(reached) => "took too long",
            () = eviction_guard.evicted(slot) => "made room",
        }
    }

    /// Completes when the peer exceeds a timeout.
    async fn timed_out(&self, mut reached: watch::Receiver<RequestPhase>) {
        let asked = reached.wait_for(|phase| *phase != RequestPhase::Receiving);
        // The sender outlives this future.
        if timeout(self.timeouts.request, asked).await.is_err() {
            return;
        }
        let responding = reached.wait_for(|phase| *phase == RequestPhase::Responding);
        drop(responding.await);
        sleep(self.timeouts.answer).await;
    }
}

/// Reads all of the body.
async fn read_body(request: Request<Incoming>) -> Result<Request<Body>, ApiError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let error = format!("the body has more than {MAX_BODY} bytes");
            return ApiError::request_error(StatusCode::PAYLOAD_TOO_LARGE, &error, "send less");
        }
        let help = "send as many bytes as the header says";
        ApiError::request_error(StatusCode::BAD_REQUEST, "the body breaks off", help)
    })?;
    Ok(Request::from_parts(head, Body::from(body.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    /// A listener that accepts connections from a channel.
    struct Sockets(mpsc::UnboundedReceiver<UnixStream>);

    impl Listener for Sockets {
        type Io = UnixStream;
        type Addr = ();

        async fn accept(&mut self) -> (UnixStream, ()) {
            match self.0.recv().await {
                Some(stream) => (stream, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A running server: connects to it, closes it, waits for its end.
    struct TestServer(
        mpsc::UnboundedSender<UnixStream>,
        watch::Sender<bool>,
        tokio::task::JoinHandle<()>,
    );

    impl TestServer {
        fn new() -> Self {
            let routes = Router::new()
                .route("/", get(async || "here\n"))
                .route("/", post(async |body: String| body))
                .route("/big", get(async || "x".repeat(1 << 24)));
            let (connect, sockets) = mpsc::unbounded_channel();
            let (closing, closed) = watch::channel(false);
            let timeouts = Timeouts::default();
            let served = tokio::spawn(serve(Sockets(sockets), (routes, timeouts), closed));
            Self(connect, closing, served)
        }

        fn connect(&self) -> UnixStream {
            let (ours, theirs) = UnixStream::pair().unwrap();
            self.0.send(theirs).unwrap();
            ours
        }
    }

    /// Writes byte by byte, until the peer closes.
    async fn drip(socket: &mut UnixStream, request: &str, pause: Duration) {
        for byte in request.bytes() {
            sleep(pause).await;
            if socket.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    }

    async fn rest(socket: &mut UnixStream) -> String {
        let mut answer = Vec::new();
        // A timed-out connection may also be reset.
        drop(socket.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_sends_nothing_or_half_a_request_is_closed_in_its_time() {
        let server = TestServer::new();
        for sent in [
            "",
            "GET",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        ] {
            let (began, mut socket) = (Instant::now(), server.connect());
            socket.write_all(sent.as_bytes()).await.unwrap();
            assert_eq!(rest(&mut socket).await, "", "{sent}");
            let timeouts = Timeouts::default();
            assert!(
                began.elapsed() <= timeouts.first_byte + timeouts.request,
                "{sent}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_drips_beyond_its_time_is_given_up_and_one_within_it_is_answered() {
        let server = TestServer::new();
        let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        for (pause, answered) in [(100, true), (1000, false)] {
            let mut socket = server.connect();
            drip(&mut socket, request, Duration::from_millis(pause)).await;
            let answer = rest(&mut socket).await;
            assert_eq!(answer.ends_with("hello"), answered, "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_nobody_takes_is_given_up_in_its_time() {
        let server = TestServer::new();
        let mut socket = server.connect();
        socket
            .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        sleep(Timeouts::default().answer * 2).await;
        assert!(rest(&mut socket).await.len() < 1 << 24);
    }

    #[tokio::test]
    async fn connection_ends_after_one_request_and_says_so() {
        let server = TestServer::new();
        let mut socket = server.connect();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        socket
            .write_all(&[*request, *request].concat())
            .await
            .unwrap();
        let answer = rest(&mut socket).await.to_ascii_lowercase();
        assert_eq!(answer.matches("here").count(), 1, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn body_of_any_other_length_than_it_says_or_than_is_allowed_is_refused() {
        let server = TestServer::new();
        let mut socket = server.connect();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = "x".repeat(MAX_BODY + 1);
        let body = format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
        socket
            .write_all((head.to_owned() + &body).as_bytes())
            .await
            .unwrap();
        let answer = rest(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    #[tokio::test]
    async fn server_that_closes_lets_go_of_whoever_has_sent_nothing() {
        let TestServer(connect, closing, served) = TestServer::new();
        let (ours, theirs) = UnixStream::pair().unwrap();
        connect.send(theirs).unwrap();
        closing.send_replace(true);
        served.await.unwrap();
        drop(ours);
    }
}
