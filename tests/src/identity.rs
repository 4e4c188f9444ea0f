//! An operator, an account and a user with signed JWTs, as `nsc` would make them.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// A user of an account of an operator.
pub struct Identity {
    operator: String,
    account: (String, String),
    user: String,
    key: String,
    seed: String,
}

impl Identity {
    /// Fresh keys. The user's messages may have this size, headers included; -1 sets no limit.
    pub fn new(payload: i64) -> Self {
        Self::with(
            &json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": payload}),
            0,
        )
    }

    /// Fresh keys. The user's JWT has expired.
    pub fn expired() -> Self {
        Self::with(&json!({"type": "user", "version": 2}), 1_700_000_001)
    }

    /// Fresh keys. The user must come through a trusted proxy.
    pub fn requiring_proxy() -> Self {
        Self::with(
            &json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "proxy_required": true}),
            0,
        )
    }

    /// The user's JWT expires at this Unix time; 0: never.
    fn with(user_claims: &Value, until: u64) -> Self {
        let (operator, account, user) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_user(),
        );
        let nothing_limited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        });
        let claims = json!({"type": "account", "version": 2, "limits": nothing_limited});
        let of_account = jwt(&operator, &account, &claims, 0);
        Self {
            operator: jwt(
                &operator,
                &operator,
                &json!({"type": "operator", "version": 2}),
                0,
            ),
            account: (account.public_key(), of_account),
            user: jwt(&account, &user, user_claims, until),
            key: user.public_key(),
            seed: user.seed().unwrap(),
        }
    }

    /// The configuration of a server that trusts the operator.
    pub fn server(&self) -> String {
        let (key, account) = &self.account;
        let operator = &self.operator;
        format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {key}: {account} }}\n"
        )
    }

    /// The configuration of a server that trusts all of these operators.
    pub fn server_of(identities: &[&Self]) -> String {
        let each = |text: fn(&Self) -> String| {
            let texts: Vec<String> = identities.iter().map(|one| text(one)).collect();
            texts.join(", ")
        };
        let operators = each(|one| one.operator.clone());
        let accounts = each(|one| format!("{}: {}", one.account.0, one.account.1));
        format!("operator: [{operators}]\nresolver: MEMORY\nresolver_preload: {{ {accounts} }}\n")
    }

    /// The account's public nkey.
    pub fn account_key(&self) -> &str {
        &self.account.0
    }

    /// The user's public nkey.
    pub fn user_key(&self) -> &str {
        &self.key
    }

    /// The contents of the user's credentials file.
    pub fn credentials(&self) -> String {
        let (user, seed) = (&self.user, &self.seed);
        format!(
            "-----BEGIN NATS USER JWT-----\n{user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    /// The JSON members of a CONNECT with this nonce signed.
    pub fn connect(&self, nonce: &str) -> String {
        let signature = sign(&self.seed, nonce);
        format!("\"jwt\":\"{}\",\"sig\":\"{signature}\"", self.user)
    }
}

/// The signature of a nonce under a user's seed.
pub fn sign(seed: &str, nonce: &str) -> String {
    let pair = KeyPair::from_seed(seed).unwrap();
    BASE64URL_NOPAD.encode(&pair.sign(nonce.as_bytes()).unwrap())
}

fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value, exp: u64) -> String {
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let head = encode(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = encode(json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "exp": exp, "nats": nats,
    }));
    let signed = format!("{head}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}
