//! A property that holds for any bytes, for fuzzers and property tests.

use super::Identity;
use crate::clock::Clock;
use crate::dataplane::Credential;
use crate::wire::Buffer;
use crate::wire::connect::Connect;

/// Without a signature over the nonce and without a password, no CONNECT proves a name.
///
/// # Panics
/// When one does.
pub fn nothing_proves_itself(data: &[u8]) {
    let (nonce, json) = data.split_at_checked(8).unwrap_or((data, b"{}"));
    let mut options = Connect::default();
    let Ok(credentials) = options.apply(json, None, &mut Buffer::new()) else {
        return;
    };
    let mut identity = Identity::default();
    nonce.clone_into(&mut identity.server.nonce);
    identity.server.auth_required = true;
    let signs = [Credential::Nkey, Credential::Jwt];
    identity.read_connect(&credentials, &signs, &Clock::system());
    assert_eq!(identity.names().count(), 0);
}
