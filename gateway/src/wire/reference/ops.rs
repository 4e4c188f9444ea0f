//! Operations as the reference parser yields them, and conversions of the real ones, for comparison.

use crate::wire::{ClientOp, Message, Publish, ServerOp};

/// An operation of either direction, in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Op {
    /// The verb in its canonical spelling.
    pub(in crate::wire) verb: &'static str,
    /// The arguments without sizes.
    pub(in crate::wire) args: Vec<Vec<u8>>,
    /// The sizes of a publish, as written, the last one first.
    pub(in crate::wire) sizes: Vec<Vec<u8>>,
    /// The header block of a message that has one.
    pub(in crate::wire) headers: Option<Vec<u8>>,
    /// The payload of a message.
    pub(in crate::wire) payload: Vec<u8>,
}

impl From<ClientOp<'_>> for Op {
    fn from(op: ClientOp<'_>) -> Self {
        let (verb, args): (_, Vec<&[u8]>) = match op {
            ClientOp::Publish(publish) => return publish.into(),
            ClientOp::Connect { json } => ("CONNECT", vec![json]),
            ClientOp::Subscribe {
                subject,
                queue,
                sid,
            } => {
                let args = [Some(subject), queue, Some(sid)];
                ("SUB", args.into_iter().flatten().collect())
            }
            ClientOp::Unsubscribe { sid, max } => {
                ("UNSUB", [Some(sid), max].into_iter().flatten().collect())
            }
            ClientOp::Ping => ("PING", vec![]),
            ClientOp::Pong => ("PONG", vec![]),
            ClientOp::Info { json } => ("INFO", vec![json]),
            ClientOp::Ok => ("+OK", vec![]),
            ClientOp::Err { text } => ("-ERR", vec![text]),
        };
        Self {
            verb,
            args: args.into_iter().map(<[u8]>::to_vec).collect(),
            ..Self::default()
        }
    }
}

impl From<Publish<'_>> for Op {
    fn from(publish: Publish<'_>) -> Self {
        let args = [Some(publish.subject), publish.reply];
        Self {
            verb: if publish.headers.is_some() {
                "HPUB"
            } else {
                "PUB"
            },
            args: args.into_iter().flatten().map(<[u8]>::to_vec).collect(),
            sizes: [Some(publish.size), publish.header_size]
                .into_iter()
                .flatten()
                .map(<[u8]>::to_vec)
                .collect(),
            headers: publish.headers.map(<[u8]>::to_vec),
            payload: publish.payload.to_vec(),
        }
    }
}

impl From<ServerOp<'_>> for Op {
    fn from(op: ServerOp<'_>) -> Self {
        let (verb, args): (_, Vec<&[u8]>) = match op {
            ServerOp::Message(message) => return message.into(),
            ServerOp::Info { json } => ("INFO", vec![json]),
            ServerOp::Ping => ("PING", vec![]),
            ServerOp::Pong => ("PONG", vec![]),
            ServerOp::Ok => ("+OK", vec![]),
            ServerOp::Err { text } => ("-ERR", vec![text]),
        };
        Self {
            verb,
            args: args.into_iter().map(<[u8]>::to_vec).collect(),
            ..Self::default()
        }
    }
}

impl From<Message<'_>> for Op {
    fn from(message: Message<'_>) -> Self {
        let args = [Some(message.subject), Some(message.sid), message.reply];
        Self {
            verb: if message.headers.is_some() {
                "HMSG"
            } else {
                "MSG"
            },
            args: args.into_iter().flatten().map(<[u8]>::to_vec).collect(),
            headers: message.headers.map(<[u8]>::to_vec),
            payload: message.payload.to_vec(),
            ..Self::default()
        }
    }
}
