//! What a CONNECT proves.
//!
//! The server's acceptance proves less than it seems: a server ignores what it does not ask for. So signatures are verified here, and a
//! user counts only where the server must have looked at its password.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde::Deserialize;

use crate::policy::{ClientName, Kind, is_account_key, is_user_key};
use crate::wire::Credentials;

/// How the server has greeted.
#[derive(Debug, Default)]
pub(super) struct Greeted {
    /// What a client has to sign; from the newest INFO that has one.
    pub(super) nonce: Vec<u8>,
    /// Whether it turns away clients without credentials.
    pub(super) auth_required: bool,
}

/// How the JWTs are signed that are verified here: over their first two parts, as text.
const ALGORITHM: &str = "ed25519-nkey";

/// The names that these credentials prove, to a server that has greeted like this.
pub(super) fn names(credentials: &Credentials<'_>, server: &Greeted) -> Vec<ClientName> {
    let signed = by_signature(credentials, &server.nonce);
    let by_server = user(credentials).filter(|_| server.auth_required);
    signed.into_iter().flatten().chain(by_server).collect()
}

/// The user, where the server can have authenticated nobody else: it tries a JWT and an nkey first, and looks at no user where it asks
/// for a token.
fn user(credentials: &Credentials<'_>) -> Option<ClientName> {
    let Credentials {
        user,
        pass,
        token,
        nkey,
        jwt,
        signature,
        unclear,
    } = credentials;
    let other =
        token.is_some() || *unclear || nkey.is_some() || jwt.is_some() || signature.is_some();
    if other || pass.is_none() {
        return None;
    }
    ClientName::proven(Kind::User, user.as_deref()?)
}

/// The user nkey that has signed the nonce, and the account key that has signed the user's JWT.
fn by_signature(credentials: &Credentials<'_>, nonce: &[u8]) -> Option<Vec<ClientName>> {
    if nonce.is_empty() {
        return None;
    }
    let signature = credentials.signature.as_deref()?.as_bytes();
    let signature = BASE64URL_NOPAD
        .decode(signature)
        .or_else(|_other_alphabet| BASE64.decode(signature))
        .ok()?;
    let jwt = credentials.jwt.as_deref().map(read_jwt);
    // A server that takes JWTs looks at no nkey beside one.
    let (user, account) = match jwt {
        Some(jwt) => {
            let jwt = jwt?;
            (jwt.user, jwt.account)
        }
        None => (credentials.nkey.as_deref()?.to_owned(), None),
    };
    if !is_user_key(&user) || !has_signed(&user, nonce, &signature) {
        return None;
    }
    let user = ClientName::proven(Kind::Nkey, &user);
    let account = account.and_then(|key| ClientName::proven(Kind::Account, &key));
    Some(user.into_iter().chain(account).collect())
}

/// What a JWT says, and whether it is true.
struct Jwt {
    /// Whom it is about.
    user: String,
    /// The account's own key or one of its signing keys, when it has signed this JWT.
    account: Option<String>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    nats: Nats,
}

#[derive(Deserialize)]
struct Nats {
    r#type: String,
}

/// Reads a user's JWT and verifies who has signed it. Its times and its revocation are the server's to judge, which ends the connection
/// of whoever comes with one that has run out.
fn read_jwt(text: &str) -> Option<Jwt> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let [head, claims, signature] =
        [head, claims, signature].map(|part| BASE64URL_NOPAD.decode(part.as_bytes()));
    let head = head.ok()?;
    let head: Head<'_> = serde_json::from_slice(&head).ok()?;
    let claims: Claims = serde_json::from_slice(&claims.ok()?).ok()?;
    // Accounts sign other things too: of another account, for example, what it may import.
    if claims.nats.r#type != "user" || head.alg != ALGORITHM {
        return None;
    }
    let signature = signature.ok()?;
    let genuine =
        is_account_key(&claims.iss) && has_signed(&claims.iss, signed.as_bytes(), &signature);
    Some(Jwt {
        user: claims.sub,
        account: genuine.then_some(claims.iss),
    })
}

/// Whether the holder of this public nkey has signed `text`.
fn has_signed(key: &str, text: &[u8], signature: &[u8]) -> bool {
    KeyPair::from_public_key(key).is_ok_and(|key| key.verify(text, signature).is_ok())
}
