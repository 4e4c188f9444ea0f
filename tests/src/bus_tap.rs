//! A subscriber of every subject, connected to the server itself, that shows what the bus carries.

use crate::frame::Frame;
use crate::raw_client::RawClient;
use std::net::SocketAddr;

/// A subscriber of `>` on the bare server, with a plain socket.
pub struct BusTap {
    raw: RawClient,
}

impl BusTap {
    /// Subscribes; on return every later message will be seen.
    pub fn open(server: SocketAddr) -> Self {
        Self::logged_in(server, "\"headers\":true")
    }

    /// The same with these members in its CONNECT.
    pub fn logged_in(server: SocketAddr, members: &str) -> Self {
        let mut raw = RawClient::handshake(server, members);
        raw.send(b"SUB > 1\r\n");
        raw.flush();
        raw.forget();
        Self { raw }
    }

    /// Waits until `enough` holds of the messages seen so far, and returns them.
    pub fn until(&mut self, what: &str, enough: impl Fn(&[Frame]) -> bool) -> Vec<Frame> {
        self.raw.until(what, |bytes| enough(&messages(bytes)));
        self.seen()
    }

    /// Waits for the first message on a subject.
    pub fn message(&mut self, subject: &str) -> Frame {
        let of = |frames: &[Frame]| {
            frames
                .iter()
                .find(|frame| frame.subject() == subject)
                .cloned()
        };
        let frames = self.until(&format!("a message on {subject}"), |frames| {
            of(frames).is_some()
        });
        of(&frames).unwrap()
    }

    /// The messages seen so far, without waiting.
    pub fn seen(&self) -> Vec<Frame> {
        messages(self.raw.received())
    }

    /// All messages that reached the server before this call.
    pub fn flush(&mut self) -> Vec<Frame> {
        self.raw.flush();
        self.seen()
    }

    /// Discards what was seen.
    pub fn forget(&mut self) {
        self.raw.forget();
    }
}

fn messages(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = crate::frame::split_frames(bytes).0;
    frames.retain(|frame| matches!(frame.verb(), "MSG" | "HMSG"));
    frames
}
