//! Reads a private key from PEM without leaving copies in memory: the library's reader does not wipe its buffers.

use data_encoding::BASE64;
use rustls::pki_types::pem;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::secret;

/// Bytes of stack that are wiped after a signature. Small, because a handshake waits for it.
const SIGN_DEPTH: usize = 64 * 1024;

/// A signing key that wipes the stack after each use.
#[derive(Debug)]
struct WipingKey<Key>(Key);

/// The format of a key's section.
#[derive(Clone, Copy)]
enum Kind {
    Pkcs1,
    Pkcs8,
    Sec1,
}

/// The first private key in `text`, which the caller wipes.
///
/// # Errors
/// As the library's reader: `NoItemsFound`, `MissingSectionEnd`, `Base64Decode`; never quotes the text.
pub(super) fn from_pem(text: &[u8]) -> Result<PrivateKeyDer<'static>, pem::Error> {
    let mut lines = text
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii);
    let kind = lines.find_map(Kind::begun_by);
    let kind = kind.ok_or(pem::Error::NoItemsFound)?;
    // Growing would leave a copy in memory.
    let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
    loop {
        let line = lines.next().ok_or(pem::Error::MissingSectionEnd {
            end_marker: Vec::new(),
        })?;
        if line.starts_with(b"-----END ") {
            break;
        }
        base64.extend_from_slice(line);
    }
    decode(&base64)
        .map(|der| kind.key(der))
        .ok_or_else(|| pem::Error::Base64Decode(String::new()))
}

fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    let mut der = Zeroizing::new(vec![0; BASE64.decode_len(base64.len()).ok()?]);
    let length = BASE64.decode_mut(base64, &mut der).ok()?;
    der.truncate(length);
    Some(std::mem::take(&mut *der))
}

pub(super) fn wiped(key: Arc<dyn SigningKey>) -> Arc<dyn SigningKey> {
    Arc::new(WipingKey(key))
}

impl SigningKey for WipingKey<Arc<dyn SigningKey>> {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        Some(Box::new(WipingKey(signer)))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl Signer for WipingKey<Box<dyn Signer>> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        secret::with_wiped_stack::<SIGN_DEPTH, _>(|| self.0.sign(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

impl Kind {
    /// The labels of RFC 7468 and of OpenSSL.
    fn begun_by(line: &[u8]) -> Option<Self> {
        match line {
            b"-----BEGIN RSA PRIVATE KEY-----" => Some(Self::Pkcs1),
            b"-----BEGIN PRIVATE KEY-----" => Some(Self::Pkcs8),
            b"-----BEGIN EC PRIVATE KEY-----" => Some(Self::Sec1),
            _ => None,
        }
    }

    fn key(self, der: Vec<u8>) -> PrivateKeyDer<'static> {
        match self {
            Self::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
            Self::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
            Self::Sec1 => PrivateKeyDer::Sec1(der.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// A key with various line ends and blanks, after another section.
    fn text(label: &str, end: &str) -> String {
        let body = format!("MIIBAAEC{end}  AwQFBgc= {end}");
        format!(
            "-----BEGIN CERTIFICATE-----{end}AAAA{end}-----END CERTIFICATE-----{end}\
             -----BEGIN {label}-----{end}{body}-----END {label}-----{end}"
        )
    }

    #[test]
    fn key_is_what_the_library_would_read() {
        for label in ["RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"] {
            for end in ["\n", "\r\n"] {
                let text = text(label, end);
                let theirs = PrivateKeyDer::from_pem_slice(text.as_bytes());
                assert_eq!(from_pem(text.as_bytes()).unwrap(), theirs.unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let whole = text("PRIVATE KEY", "\n");
        let cut = whole.split("-----END PRIVATE").next().unwrap();
        assert!(matches!(
            from_pem(cut.as_bytes()),
            Err(pem::Error::MissingSectionEnd { .. })
        ));
        let broken = whole.replace("MIIB", "MI!B");
        assert!(matches!(
            from_pem(broken.as_bytes()),
            Err(pem::Error::Base64Decode(_))
        ));
        let other = text("ENCRYPTED PRIVATE KEY", "\n");
        for none in [other.as_str(), ""] {
            assert!(matches!(
                from_pem(none.as_bytes()),
                Err(pem::Error::NoItemsFound)
            ));
        }
    }
}
