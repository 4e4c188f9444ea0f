//! The file `kek`: one line, `keyway-kek-1:` and the base64 of 32 random bytes and 4 bytes of checksum.
//!
//! The checksum tells a damaged file from the KEK of another state directory; the remedies differ.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::error::OpenError;
use crate::secret::Secret;

const NAME: &str = "keyway-kek-";
const FORMAT: &str = "1";

pub(super) fn write(secret: &Secret) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(36));
    bytes.extend_from_slice(secret.expose());
    bytes.extend_from_slice(&checksum(secret));
    let text = Zeroizing::new(BASE64.encode(&bytes));
    // Allocated up front: growing would leave a copy behind.
    let mut line = Zeroizing::new(String::with_capacity(80));
    for part in [NAME, FORMAT, ":", &text, "\n"] {
        line.push_str(part);
    }
    line
}

pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Secret, OpenError> {
    let damaged = |what: &str| OpenError::Damaged(path.to_owned(), what.to_owned());
    let text = std::str::from_utf8(text).map_err(|_invalid| damaged("it is not text"))?;
    let (format, value) = text
        .trim_ascii()
        .strip_prefix(NAME)
        .and_then(|rest| rest.split_once(':'))
        .ok_or_else(|| damaged("it does not start with `keyway-kek-1:`"))?;
    if format != FORMAT {
        return Err(match format.parse() {
            Ok(found) => OpenError::Newer(path.to_owned(), found),
            Err(_) => damaged("it does not start with `keyway-kek-1:`"),
        });
    }
    // Decoded into memory that is wiped, even when the text turns out to be wrong.
    let mut bytes = Zeroizing::new([0; 36]);
    if BASE64.decode_len(value.len()) != Ok(bytes.len()) {
        return Err(damaged("the key is not base64 of 36 bytes"));
    }
    BASE64
        .decode_mut(value.as_bytes(), &mut *bytes)
        .map_err(|_where| damaged("the key is not base64"))?;
    let (key, sum) = bytes
        .split_first_chunk::<32>()
        .ok_or_else(|| damaged("the key is cut short"))?;
    let secret = Secret::build(|out| {
        out.copy_from_slice(key);
        Ok::<_, OpenError>(())
    })?;
    if sum == checksum(&secret) {
        Ok(secret)
    } else {
        Err(damaged("its checksum does not fit"))
    }
}

fn checksum(secret: &Secret) -> [u8; 4] {
    let mut input = Zeroizing::new([0; 48]);
    for (byte, from) in input
        .iter_mut()
        .zip(b"keyway/1 kek sum".iter().chain(secret.expose()))
    {
        *byte = *from;
    }
    let digest = digest(&SHA256, &*input);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
