//! A property that holds for any bytes, for fuzzers and property tests.

use super::header::{Header, LONGEST, ProxyHeaderError, Version, write};

/// Reads every prefix of `data`: the result for a prefix agrees with that for the whole, a header is never longer than allowed,
/// and survives being written and read again.
///
/// # Panics
/// When it is not so.
pub fn header_is_read_alike_in_parts(data: &[u8]) {
    let whole = Header::read(data);
    if let Ok(None) = whole {
        assert!(data.len() < LONGEST);
    }
    for cut in 0..data.len().min(LONGEST) {
        match Header::read(data.get(..cut).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(header)) => {
                assert!(header.len <= cut);
                assert_eq!(whole, Ok(Some(header)));
            }
            Err(wrong) => assert!(whole == Err(wrong) || wrong == ProxyHeaderError::Absent),
        }
    }
    let Ok(Some(header)) = whole else {
        return;
    };
    assert!(Header::begins(data));
    assert!(header.len <= data.len().min(LONGEST));
    for version in [Version::V1, Version::V2] {
        let mut written = Vec::new();
        write(
            version,
            header.client.map(|client| (client, client)),
            &mut written,
        );
        let len = written.len();
        let again = Header {
            len,
            client: header.client,
        };
        written.extend(b"INFO");
        assert_eq!(Header::read(&written), Ok(Some(again)));
    }
}
