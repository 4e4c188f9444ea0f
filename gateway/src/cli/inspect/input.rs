//! Reads an envelope: raw, hex or base64, from a file or standard input.

use std::io::{self, Read};
use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use crate::cli::args::Inspect;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::envelope::{EnvelopeId, Header, OVERHEAD, looks_sealed};

/// The longest input, in bytes: the largest payload of a server (64 MiB) in an envelope, in hex, with room for line ends.
const MAX_INPUT: u64 = 130 * 1024 * 1024;

/// Reads and decodes the envelope.
pub(super) fn read(args: &Inspect) -> Result<Vec<u8>, Failure> {
    let source = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let bytes = read_all(source)?;
    match (args.hex, args.base64) {
        (true, _) => hex(&compact(&bytes)).ok_or_else(|| not_an_envelope("it is not hex")),
        (_, true) => base64(&compact(&bytes)).ok_or_else(|| not_an_envelope("it is not base64")),
        (false, false) => decode(&bytes),
    }
}

/// The envelope without a line end that a tool may have appended; `None`: there is none, or the rest would be too short.
pub(super) fn without_line_end(envelope: &[u8]) -> Option<&[u8]> {
    let shorter = envelope.strip_suffix(b"\n")?;
    (shorter.len() >= OVERHEAD).then_some(shorter)
}

/// The id of the request's envelope, if one is given.
pub(super) fn request(args: &Inspect) -> Result<Option<EnvelopeId>, Failure> {
    let Some(path) = &args.request else {
        return Ok(None);
    };
    let envelope = decode(&read_all(Some(path))?)?;
    let header = Header::parse(&envelope).map_err(|error| Failure::of(&error))?;
    Ok(Some(header.id()))
}

fn read_all(source: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let bytes = match source {
        Some(path) => std::fs::File::open(path).and_then(|file| read_limited(file, MAX_INPUT)),
        None => read_limited(io::stdin().lock(), MAX_INPUT),
    };
    let bytes = bytes.map_err(|error| read_error(source, &error))?;
    bytes.ok_or_else(|| {
        let most = MAX_INPUT >> 20;
        let why = format!("it has more than {most} MiB, and no server carries so large a payload");
        not_an_envelope(&why)
    })
}

/// Reads to the end; `None` when there are more than `limit` bytes.
fn read_limited(from: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut from = from.take(limit);
    from.read_to_end(&mut bytes)?;
    let more = from.into_inner().read(&mut [0])?;
    Ok((more == 0).then_some(bytes))
}

fn read_error(source: Option<&Path>, error: &io::Error) -> Failure {
    let name = source.map_or_else(|| "standard input".into(), Path::to_string_lossy);
    let what = format!("cannot read {name}: {error}");
    let help = "name a readable file, or `-` for standard input";
    Failure::new(Exit::Operator, what, help)
}

/// Detects the notation: raw, hex or base64, whichever begins with the magic.
fn decode(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    if looks_sealed(bytes) {
        return Ok(bytes.to_vec());
    }
    let text = compact(bytes);
    let sealed = |bytes: &Vec<u8>| looks_sealed(bytes);
    let decoded = hex(&text).filter(sealed);
    let decoded = decoded.or_else(|| base64(&text).filter(sealed));
    decoded.ok_or_else(|| {
        not_an_envelope("neither raw, nor as hex, nor as base64, does it start with FA 4B")
    })
}

/// Without white space, a `0x` prefix and colons.
fn compact(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.trim_ascii();
    let bytes = bytes.strip_prefix(b"0x").unwrap_or(bytes);
    let kept = bytes
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace() && **byte != b':');
    kept.copied().collect()
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text).ok()
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=');
    let text = end.and_then(|end| text.get(..=end)).unwrap_or_default();
    let decoded = BASE64_NOPAD.decode(text);
    decoded.or_else(|_| BASE64URL_NOPAD.decode(text)).ok()
}

fn not_an_envelope(why: &str) -> Failure {
    Failure::new(
        Exit::Data,
        format!("this is not an envelope: {why}"),
        "give the whole payload of one message, as raw bytes, hex or base64",
    )
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, HEXUPPER};

    use super::*;

    #[test]
    fn every_notation_is_told_apart() {
        let mut bytes = b"\xFA\x4B\x11\x01".to_vec();
        bytes.extend(0..=61);
        let hex = HEXUPPER.encode(&bytes);
        let (head, tail) = hex.split_at(20);
        let spaced = format!("0x{head}\n {tail}\n");
        let base64 = BASE64.encode(&bytes);
        let url = BASE64URL_NOPAD.encode(&bytes);
        for text in [spaced, hex, base64, url] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        assert_eq!(decode(&bytes).unwrap(), bytes);
    }

    #[test]
    fn input_is_read_to_its_limit_and_no_further() {
        assert_eq!(read_limited(&b"1234"[..], 4).unwrap().unwrap(), b"1234");
        assert!(read_limited(&b"12345"[..], 4).unwrap().is_none());
        assert!(read_limited(io::repeat(0), 4).unwrap().is_none());
    }

    #[test]
    fn plaintext_is_refused_with_the_exit_code_for_data() {
        assert_eq!(decode(b"hello, world!").unwrap_err().exit, Exit::Data);
    }
}
