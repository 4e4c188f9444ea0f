//! What a parser yields: one operation, borrowed from the buffer that it was parsed from.

/// What one call of a parser came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<Op> {
    /// A whole operation.
    Op {
        /// The operation.
        op: Op,
        /// How many bytes of the buffer it took, payload and line ends included.
        len: usize,
    },
    /// Not all of it is here yet.
    More {
        /// The total buffer length, from the start of the operation, at which the answer is sure to differ when a payload is
        /// awaited; one more than the buffer holds when a line is. Calling earlier is cheap and correct.
        need: usize,
    },
}

/// An operation of the publish direction. Arguments are opaque bytes, as they are to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOp<'a> {
    /// `CONNECT {json}`; the JSON is not checked.
    Connect {
        /// The argument, as the client wrote it.
        json: &'a [u8],
    },
    /// `PUB` or `HPUB` with its body.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// The subject filter.
        subject: &'a [u8],
        /// The queue group.
        queue: Option<&'a [u8]>,
        /// The subscription id: a token of the client's choice.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// The subscription id.
        sid: &'a [u8],
        /// After how many messages; what is not a size means "now" to the server.
        max: Option<&'a [u8]>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `INFO {json}`: the server reads and ignores it, and closes when it is not JSON.
    Info {
        /// The argument, as the client wrote it.
        json: &'a [u8],
    },
    /// `+OK`: the server ignores it.
    Ok,
    /// `-ERR text`: the server closes the connection.
    Err {
        /// The argument.
        text: &'a [u8],
    },
}

/// `PUB` or `HPUB` with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The subject, never empty.
    pub subject: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// The size of the header block in digits, as the client wrote it: the server repeats it to receivers, leading zeros
    /// included. `None` for `PUB`.
    pub header_size: Option<&'a [u8]>,
    /// The size of headers and payload together, likewise.
    pub size: &'a [u8],
    /// The whole header block with its final blank line; `None` for `PUB`, empty for `HPUB` with a header length of 0.
    pub headers: Option<&'a [u8]>,
    /// What follows the header block, without the closing CRLF.
    pub payload: &'a [u8],
}

/// An operation of the deliver direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOp<'a> {
    /// `INFO {json}`.
    Info {
        /// The argument, as the server wrote it.
        json: &'a [u8],
    },
    /// `MSG` or `HMSG` with its body.
    Message(Message<'a>),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`.
    Ok,
    /// `-ERR 'text'`.
    Err {
        /// The argument, quotes included.
        text: &'a [u8],
    },
}

/// `MSG` or `HMSG` with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The control line as the server wrote it, CRLF included. Its last word is the size of headers and payload together.
    pub line: &'a [u8],
    /// The subject, never empty.
    pub subject: &'a [u8],
    /// The subscription id, as the client chose it.
    pub sid: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// The whole header block with its final blank line; `None` for `MSG`.
    pub headers: Option<&'a [u8]>,
    /// What follows the header block, without the closing CRLF.
    pub payload: &'a [u8],
}

/// How much of a peer's bytes a parser is willing to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument part of a client's control line, in bytes. At least the server's own `max_control_line` (4096 unless
    /// an operator says otherwise), so that the server is the one who judges.
    pub max_control_line: usize,
    /// The longest control line of a server, in bytes. An INFO with many `connect_urls` is the longest there is.
    pub max_server_line: usize,
    /// The largest message of a server, headers and payload, in bytes: a sanity cap, for a server may deliver more than the
    /// `max_payload` that it announces.
    pub max_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line: 65_536,
            max_server_line: 1 << 20,
            max_message: (64 << 20) + (64 << 10),
        }
    }
}
