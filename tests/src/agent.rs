//! NATS operations of a client over a raw socket: subscribe, publish, request, receive.

use crate::frame::Frame;
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

impl RawClient {
    /// Connects with headers and no-responders enabled, as every official client does.
    pub fn agent(addr: SocketAddr) -> Self {
        Self::handshake(addr, "\"headers\":true,\"no_responders\":true")
    }

    /// Subscribes; on return the server has processed it.
    pub fn subscribe(&mut self, filter: &str) {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let sid = NEXT.fetch_add(1, Ordering::Relaxed);
        self.send(format!("SUB {filter} {sid}\r\n").as_bytes());
        self.flush();
    }

    /// Publishes; on return the server has processed it.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.send(&publish(subject, None, payload));
        self.flush();
    }

    /// Publishes with a reply subject.
    pub fn request(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        self.send(&publish(subject, Some(reply), payload));
        self.flush();
    }

    /// Publishes with this header block, which ends with an empty line.
    pub fn publish_with(&mut self, subject: &str, headers: &str, payload: &[u8]) {
        let total = headers.len() + payload.len();
        let line = format!("HPUB {subject} {} {total}\r\n{headers}", headers.len());
        self.send(&[line.as_bytes(), payload, b"\r\n"].concat());
        self.flush();
    }

    /// The messages received so far, without waiting.
    pub fn messages(&self) -> Vec<Frame> {
        let mut frames = self.frames();
        frames.retain(|frame| matches!(frame.verb(), "MSG" | "HMSG"));
        frames
    }

    /// The messages that the server had for this connection when this was called, after a PING and its PONG.
    pub fn arrived(&mut self) -> Vec<Frame> {
        self.flush();
        self.messages()
    }

    /// The same, and discards them: for traffic that goes on.
    pub fn take_arrived(&mut self) -> Vec<Frame> {
        self.flush();
        let mut frames = self.take();
        frames.retain(|frame| matches!(frame.verb(), "MSG" | "HMSG"));
        frames
    }

    /// Waits for the first message on a subject.
    pub fn message(&mut self, subject: &str) -> Frame {
        let of = |bytes: &[u8]| {
            let frames = crate::frame::split_frames(bytes).0;
            frames
                .into_iter()
                .find(|frame| matches!(frame.verb(), "MSG" | "HMSG") && frame.subject() == subject)
        };
        let what = format!("a message on {subject}");
        of(self.until(&what, |bytes| of(bytes).is_some())).unwrap()
    }

    /// The INFO that the connection began with.
    pub fn info(&self) -> serde_json::Value {
        let frames = self.frames();
        let info = frames.iter().find(|frame| frame.verb() == "INFO").unwrap();
        serde_json::from_str(info.line.split_once(' ').unwrap().1).unwrap()
    }
}

/// The bytes of a `PUB`.
pub fn publish(subject: &str, reply: Option<&str>, payload: &[u8]) -> Vec<u8> {
    let reply = reply.map_or_else(String::new, |reply| format!("{reply} "));
    let line = format!("PUB {subject} {reply}{}\r\n", payload.len());
    [line.as_bytes(), payload, b"\r\n"].concat()
}
