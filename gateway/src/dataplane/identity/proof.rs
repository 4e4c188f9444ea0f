//! The names that a CONNECT proves.
//!
//! A server's acceptance alone proves nothing, since it ignores credentials that it does not ask for; nor does a signature alone,
//! since anybody can make a key. So a name counts only where the servers are stated to check credentials of its kind, this server
//! requires some, and CONNECT has no others by which the client might have been accepted. Signatures are verified here, too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde::Deserialize;

use crate::dataplane::config::Credential;
use crate::policy::{ClientName, IdentityKind, is_account_key, is_user_key};
use crate::wire::Credentials;

/// What the server's INFO says of authentication.
#[derive(Debug, Default)]
pub(super) struct ServerInfo {
    /// The newest nonce, which a client has to sign.
    pub(super) nonce: Vec<u8>,
    /// Whether clients without credentials are rejected; false with `no_auth_user`.
    pub(super) auth_required: bool,
}

/// The names that credentials prove.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) names: Vec<ClientName>,
    /// From now on; `None`: no limit. Applies to the account named by the server, too.
    pub(super) valid_for: Option<Duration>,
}

/// The `alg` of NATS JWTs: Ed25519 over the first two parts as text.
const ALGORITHM: &str = "ed25519-nkey";

/// What `credentials` prove at this server, where the servers check the kinds in `verified`.
pub(super) fn proof(
    credentials: &Credentials<'_>,
    server: &ServerInfo,
    verified: &[Credential],
    now: SystemTime,
) -> Proof {
    let valid_for = credentials.jwt.as_deref().map(|jwt| lifetime(jwt, now));
    let valid_for = valid_for.unwrap_or_default();
    let may =
        valid_for != Some(Duration::ZERO) && server.auth_required && !credentials.has_invalid_utf8;
    let names = may.then(|| names(credentials, &server.nonce, verified));
    Proof {
        names: names.flatten().unwrap_or_default(),
        valid_for,
    }
}

fn names(
    credentials: &Credentials<'_>,
    nonce: &[u8],
    verified: &[Credential],
) -> Option<Vec<ClientName>> {
    let Credentials {
        user,
        pass,
        token,
        nkey,
        jwt,
        signature,
        has_invalid_utf8: _,
    } = credentials;
    let spoken = user.is_some() || pass.is_some() || token.is_some();
    let counts = |credential| verified.contains(&credential);
    match (jwt, nkey, signature) {
        (Some(jwt), nkey, Some(signature)) if counts(Credential::Jwt) && !spoken => {
            let jwt = read_jwt(jwt)?;
            let same = nkey.as_ref().is_none_or(|nkey| **nkey == jwt.user);
            let user = signed_by(&jwt.user, nonce, signature).filter(|_| same)?;
            let account = ClientName::proven(IdentityKind::Account, &jwt.account)?;
            Some(vec![user, account])
        }
        (None, Some(nkey), Some(signature)) if counts(Credential::Nkey) && !spoken => {
            signed_by(nkey, nonce, signature).map(|user| vec![user])
        }
        (None, None, None) if counts(Credential::User) && pass.is_some() && token.is_none() => {
            ClientName::proven(IdentityKind::User, user.as_deref()?).map(|user| vec![user])
        }
        _ => None,
    }
}

/// The user with this nkey, who has signed the nonce.
fn signed_by(user: &str, nonce: &[u8], signature: &str) -> Option<ClientName> {
    let signature = signature.as_bytes();
    let signature = BASE64URL_NOPAD
        .decode(signature)
        .or_else(|_other_alphabet| BASE64.decode(signature))
        .ok()?;
    let proves = !nonce.is_empty() && is_user_key(user) && has_signed(user, nonce, &signature);
    ClientName::proven(IdentityKind::Nkey, user).filter(|_| proves)
}

/// A user JWT, signed by an account key.
struct Jwt {
    /// `sub`.
    user: String,
    /// `iss`: the account's key or one of its signing keys.
    account: String,
}

#[derive(Deserialize)]
struct JwtHeader<'a> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct JwtClaims {
    iss: String,
    sub: String,
    nats: NatsClaims,
}

#[derive(Deserialize)]
struct NatsClaims {
    r#type: String,
}

/// Validity in seconds since 1970; 0: no limit.
#[derive(Deserialize)]
struct ValidityClaims {
    #[serde(default)]
    nbf: i64,
    #[serde(default)]
    exp: i64,
}

/// How long a JWT is still valid, whoever has signed it; zero when it cannot be read.
fn lifetime(jwt: &str, now: SystemTime) -> Option<Duration> {
    let none = Some(Duration::ZERO);
    let Some(ValidityClaims { nbf, exp }) = jwt.split('.').nth(1).and_then(decoded) else {
        return none;
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    match exp {
        _ if now < at(nbf) => none,
        ..=0 => None,
        exp => Some(at(exp).saturating_sub(now)),
    }
}

/// Reads a user JWT and verifies its signature. Revocation and permitted times are checked by the server, which ends the
/// connection.
fn read_jwt(text: &str) -> Option<Jwt> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = BASE64URL_NOPAD.decode(header.as_bytes()).ok()?;
    let header: JwtHeader<'_> = serde_json::from_slice(&header).ok()?;
    let claims: JwtClaims = decoded(claims)?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    // Accounts sign other JWTs, too: activations for imports, for example.
    let genuine = claims.nats.r#type == "user"
        && header.alg == ALGORITHM
        && is_account_key(&claims.iss)
        && has_signed(&claims.iss, signed.as_bytes(), &signature);
    genuine.then_some(Jwt {
        user: claims.sub,
        account: claims.iss,
    })
}

/// Decodes a part of a JWT.
fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Whether the holder of this public nkey has signed `text`.
fn has_signed(key: &str, text: &[u8], signature: &[u8]) -> bool {
    KeyPair::from_public_key(key).is_ok_and(|key| key.verify(text, signature).is_ok())
}
