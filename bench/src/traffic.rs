//! The bytes of messages: as a client publishes them, as a server delivers them.

use keyway::envelope::{Binding, OVERHEAD, Sealer};
use keyway::keyring::Snapshot;
use keyway::wire::Buffer;
use keyway::wire::write::{self, Decimal, PublishLine};

use crate::SUBJECT;

/// Bytes of one read of a socket at most: a batch.
pub const READ: usize = 64 * 1024;

/// Reply subject and headers of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape<'a> {
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// The header block, final blank line included.
    pub headers: Option<&'a [u8]>,
}

/// `size` bytes that look like text and never like an envelope.
#[must_use]
pub fn payload(size: usize) -> Vec<u8> {
    b"{\"task\":\"measure\",\"step\":42}"
        .iter()
        .copied()
        .cycle()
        .take(size)
        .collect()
}

/// `count` publishes of `payload` on [`SUBJECT`].
#[must_use]
pub fn publishes(count: usize, payload: &[u8], shape: Shape<'_>) -> Vec<u8> {
    let mut out = Buffer::new();
    let (header_size, size) = sizes(shape, payload);
    for _ in 0..count {
        let line = PublishLine {
            subject: SUBJECT,
            reply: shape.reply,
            header_size: header_size.as_ref().map(Decimal::digits),
            size: size.digits(),
            arg_len: 0,
        };
        write::publish(&mut out, &line);
        body(&mut out, shape, payload);
    }
    out.filled().to_vec()
}

/// One delivery on [`SUBJECT`] for each of `payloads`.
#[must_use]
pub fn messages<'p>(payloads: impl Iterator<Item = &'p [u8]>, shape: Shape<'_>) -> Vec<u8> {
    let mut out = Buffer::new();
    for payload in payloads {
        let (header_size, size) = sizes(shape, payload);
        out.put(header_size.map_or(b"MSG ", |_| b"HMSG "));
        let header_size = header_size.as_ref().map(Decimal::digits);
        let words = [
            Some(SUBJECT),
            Some(b"9"),
            shape.reply,
            header_size,
            Some(size.digits()),
        ];
        out.put(&words.into_iter().flatten().collect::<Vec<_>>().join(&b' '));
        out.put(b"\r\n");
        body(&mut out, shape, payload);
    }
    out.filled().to_vec()
}

/// The digits of a message's sizes: of its headers, and of headers and payload together.
fn sizes(shape: Shape<'_>, payload: &[u8]) -> (Option<Decimal>, Decimal) {
    let headers = shape.headers.map(<[u8]>::len);
    let total = payload.len() + headers.unwrap_or(0);
    (headers.map(Decimal::new), Decimal::new(total))
}

fn body(out: &mut Buffer, shape: Shape<'_>, payload: &[u8]) {
    out.put(shape.headers.unwrap_or_default());
    out.put(payload);
    out.put(b"\r\n");
}

/// Envelopes of `payload`, bound to [`SUBJECT`]: one of each of `lanes` lanes of every version, then the next of each, until there are `count`.
#[must_use]
pub fn envelopes(snapshot: &Snapshot, lanes: usize, count: usize, payload: &[u8]) -> Vec<Vec<u8>> {
    let versions: Vec<_> = snapshot.versions().collect();
    let mut sealers: Vec<Sealer> = (0..lanes)
        .flat_map(|_| &versions)
        .map(|version| Sealer::new(&version.key, version.suite).unwrap())
        .collect();
    let places = sealers.len();
    (0..count)
        .map(|number| {
            let mut envelope = vec![0; payload.len() + OVERHEAD];
            // A step that shares no factor with the number of lanes visits all of them in an order that no prefetcher knows.
            let place = number * 37 % places;
            let sealer = sealers.get_mut(place).unwrap();
            // Each may name a reply subject that the others name too.
            let binding = Binding {
                passes_on: true,
                ..Binding::to(Some(SUBJECT))
            };
            sealer.seal(binding, payload, &mut envelope).unwrap();
            envelope
        })
        .collect()
}
