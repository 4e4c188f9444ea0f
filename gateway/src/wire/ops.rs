//! What a parser yields: one operation, borrowed from the buffer that it was parsed from.

/// The result of one call of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<Op> {
    /// A complete operation.
    Op {
        /// The operation.
        op: Op,
        /// Its length in the buffer in bytes, payload and line ends included.
        len: usize,
    },
    /// The buffer does not hold a complete operation yet.
    Incomplete {
        /// Buffer length in bytes, from the start of the operation, at which to call again: the whole message while a payload is
        /// incomplete, one byte more while a line is. Calling earlier is cheap and correct.
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
        /// After how many messages; the server takes anything but a size for "now".
        max: Option<&'a [u8]>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `INFO {json}`: the server ignores it, and closes the connection if it is not JSON.
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
    /// The size of headers and payload together, in digits as the client wrote it.
    pub size: &'a [u8],
    /// The header block with its final empty line; `None` for `PUB`, empty for `HPUB` with a header size of 0.
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
    /// The control line as the server wrote it, CRLF included. Its last argument is the size of headers and payload together.
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

/// The longest lines and messages that a parser accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument part of a client's control line, in bytes. At least the server's `max_control_line` (default 4096), so
    /// that the server is the one that rejects a line.
    pub max_control_line: usize,
    /// Longest control line of a server, in bytes. An INFO with many `connect_urls` is the longest there is.
    pub max_server_line: usize,
    /// Largest message of a server, headers and payload, in bytes: a sanity cap, as servers may deliver more than their
    /// `max_payload`.
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
