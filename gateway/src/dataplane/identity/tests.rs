//! Verified identities, and unverified claims.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use nkeys::KeyPair;
use proptest::prelude::*;
use serde_json::json;

use std::time::{Duration, SystemTime};

use super::*;
use crate::policy::{AllowedClient, Clients};
use crate::wire::Buffer;
use crate::wire::connect::Connect;

const NONCE: &str = "SvNsb2xwPq4";

/// All kinds of credentials.
const ALL: &[Credential] = &[Credential::User, Credential::Nkey, Credential::Jwt];

/// A server's INFO, and the credentials that it checks.
#[derive(Clone, Copy)]
struct Server {
    nonce: &'static str,
    auth_required: bool,
    verified: &'static [Credential],
}

/// A server that requires credentials, sends a nonce, and checks all kinds.
const fn server() -> Server {
    Server {
        nonce: NONCE,
        auth_required: true,
        verified: ALL,
    }
}

fn connected(json: &str, server: Server) -> Identity {
    let mut identity = Identity {
        server: ServerInfo {
            nonce: server.nonce.into(),
            auth_required: server.auth_required,
        },
        ..Identity::default()
    };
    say(&mut identity, json, server.verified, &Clock::system());
    identity
}

/// The client sends a CONNECT.
fn say(identity: &mut Identity, json: &str, verified: &[Credential], clock: &Clock) {
    let mut options = Connect::default();
    let taken = options.apply(json.as_bytes(), None, &mut Buffer::new());
    identity.read_connect(&taken.unwrap(), verified, clock);
}

/// After INFO, before CONNECT.
fn silent() -> Identity {
    let mut identity = Identity::default();
    let info = format!("{{\"nonce\":\"{NONCE}\",\"auth_required\":true}}");
    identity.read_info(&Info::read(info.as_bytes()).unwrap());
    identity
}

/// Whether it has proven to be the one that the configuration calls `listed`.
fn is(identity: &Identity, listed: &str) -> bool {
    let listed: AllowedClient = listed.parse().unwrap();
    Clients::These(vec![listed]).admit(identity.names())
}

fn count(identity: &Identity) -> usize {
    identity.names().count()
}

fn signature(key: &KeyPair, text: &str) -> String {
    BASE64URL_NOPAD.encode(&key.sign(text.as_bytes()).unwrap())
}

/// An account and a user of it.
struct Keys {
    account: KeyPair,
    user: KeyPair,
}

impl Keys {
    fn new() -> Self {
        Self {
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    fn claims(&self) -> serde_json::Value {
        let (account, user) = (self.account.public_key(), self.user.public_key());
        json!({"iss": account, "sub": user, "nats": {"type": "user", "version": 2}})
    }

    fn jwt(&self, claims: &serde_json::Value) -> String {
        signed(&self.account, claims)
    }

    /// A CONNECT with this JWT and this user's signature.
    fn connect(&self, jwt: &str) -> String {
        let sig = signature(&self.user, NONCE);
        json!({"jwt": jwt, "sig": sig}).to_string()
    }
}

fn signed(by: &KeyPair, claims: &serde_json::Value) -> String {
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let parts = [head.to_string(), claims.to_string()];
    let text = parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    let text = text.join(".");
    format!("{text}.{}", signature(by, &text))
}

#[test]
fn user_counts_where_the_server_must_have_looked_at_its_password() {
    let json = r#"{"user":"planner","pass":"x","verbose":false}"#;
    assert!(is(&connected(json, server()), "user:planner"));
    let open = Server {
        auth_required: false,
        ..server()
    };
    assert_eq!(count(&connected(json, open)), 0);
    for other in [
        r#"{"user":"planner"}"#,
        r#"{"user":"planner","pass":""}"#,
        r#"{"user":"","pass":"x"}"#,
        r#"{"user":"planner","pass":"x","auth_token":"t"}"#,
        r#"{"user":"planner","pass":"x","nkey":"U"}"#,
        r#"{"user":"planner","pass":"x","jwt":"a.b.c"}"#,
        r#"{"user":"planner","pass":"x","sig":"s"}"#,
        r#"{"user":"planner","pass":"x","SIG":"s","sig":null}"#,
    ] {
        assert_eq!(count(&connected(other, server())), 0, "{other}");
    }
}

#[test]
fn nothing_counts_that_servers_are_not_known_to_check() {
    let (keys, nkey) = (Keys::new(), KeyPair::new_user());
    let nkey = json!({"nkey": nkey.public_key(), "sig": signature(&nkey, NONCE)}).to_string();
    let claims = [
        (
            Credential::User,
            r#"{"user":"planner","pass":"x"}"#.to_owned(),
        ),
        (Credential::Nkey, nkey),
        (Credential::Jwt, keys.connect(&keys.jwt(&keys.claims()))),
    ];
    for (credential, json) in &claims {
        for verified in ALL {
            let verified = std::slice::from_ref(verified);
            let proves = verified.contains(credential);
            let server = Server {
                verified,
                ..server()
            };
            assert_eq!(count(&connected(json, server)) > 0, proves, "{json}");
            let open = Server {
                auth_required: false,
                ..server
            };
            assert_eq!(count(&connected(json, open)), 0, "{json}");
        }
    }
}

#[test]
fn several_credentials_prove_nothing() {
    let (keys, nkey) = (Keys::new(), KeyPair::new_user());
    let jwt = json!({"jwt": keys.jwt(&keys.claims()), "sig": signature(&keys.user, NONCE)});
    let nkey = json!({"nkey": nkey.public_key(), "sig": signature(&nkey, NONCE)});
    let with = |base: &serde_json::Value, more: serde_json::Value| {
        let mut all = base.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        serde_json::Value::Object(all).to_string()
    };
    for base in [&jwt, &nkey] {
        assert!(count(&connected(&base.to_string(), server())) > 0);
        for more in [
            json!({"user": "planner", "pass": "x"}),
            json!({"user": "planner"}),
            json!({"pass": "x"}),
            json!({"auth_token": "t"}),
            json!({"nkey": keys.account.public_key()}),
        ] {
            let json = with(base, more);
            assert_eq!(count(&connected(&json, server())), 0, "{json}");
        }
    }
    // Some clients send both.
    let same = with(&jwt, json!({"nkey": keys.user.public_key()}));
    assert!(is(&connected(&same, server()), "account:*"));
}

#[test]
fn jwt_that_has_run_out_or_is_not_yet_valid_proves_nothing_and_leaves_no_account() {
    let keys = Keys::new();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for (nbf, exp, holds) in [
        (0, 0, true),
        (1_000, 1_001, true),
        (0, 1_000, false),
        (0, 1, false),
        (1_001, 0, false),
        (-1, -1, true),
    ] {
        for verified in [ALL, &[]] {
            let mut claims = keys.claims();
            claims["nbf"] = json!(nbf);
            claims["exp"] = json!(exp);
            let mut identity = silent();
            let (clock, _) = Clock::manual(wall);
            say(
                &mut identity,
                &keys.connect(&keys.jwt(&claims)),
                verified,
                &clock,
            );
            identity.set_account(b"ACME");
            identity.expire(clock.instant());
            assert_eq!(is(&identity, "nkey:*"), holds && !verified.is_empty());
            assert_eq!(is(&identity, "account:ACME"), holds, "{nbf} {exp}");
        }
    }
}

#[test]
fn jwt_runs_out_on_a_living_connection() {
    let keys = Keys::new();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let (clock, manual_clock) = Clock::manual(wall);
    let mut claims = keys.claims();
    claims["exp"] = json!(1_060);
    let mut identity = silent();
    say(
        &mut identity,
        &keys.connect(&keys.jwt(&claims)),
        ALL,
        &clock,
    );
    identity.set_account(b"ACME");
    manual_clock.advance(Duration::from_secs(59));
    identity.expire(clock.instant());
    assert_eq!(count(&identity), 3);
    let before = identity.epoch;
    manual_clock.advance(Duration::from_secs(1));
    identity.expire(clock.instant());
    assert!(count(&identity) == 0 && identity.epoch != before);
}

#[test]
fn user_is_the_one_that_the_server_reads() {
    let json = r#"{"user":"planner","User":"mallory","pass":"x"}"#;
    let identity = connected(json, server());
    assert!(is(&identity, "user:mallory") && !is(&identity, "user:planner"));
}

#[test]
fn nkey_counts_when_it_has_signed_this_nonce() {
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let listed = format!("nkey:{}", user.public_key());
    let proves = |key: &KeyPair, sig: String, server| {
        let json = json!({"nkey": key.public_key(), "sig": sig}).to_string();
        is(&connected(&json, server), &listed)
    };
    assert!(proves(&user, signature(&user, NONCE), server()));
    let padded = BASE64.encode(&user.sign(NONCE.as_bytes()).unwrap());
    assert!(proves(&user, padded, server()));
    assert!(!proves(&user, signature(&other, NONCE), server()));
    assert!(!proves(&user, signature(&user, "another"), server()));
    assert!(!proves(&user, String::new(), server()));
    let sends = |nonce| Server { nonce, ..server() };
    assert!(!proves(&user, signature(&user, NONCE), sends("")));
    assert!(!proves(&user, signature(&user, ""), sends("")));
    let account = KeyPair::new_account();
    let json = json!({"nkey": account.public_key(), "sig": signature(&account, NONCE)});
    assert_eq!(count(&connected(&json.to_string(), server())), 0);
}

#[test]
fn jwt_proves_its_user_and_the_account_that_signed_it() {
    let keys = Keys::new();
    let identity = connected(&keys.connect(&keys.jwt(&keys.claims())), server());
    assert!(is(&identity, &format!("nkey:{}", keys.user.public_key())));
    assert!(is(
        &identity,
        &format!("account:{}", keys.account.public_key())
    ));
    assert_eq!(identity.kinds().to_string(), "nkey account");
}

#[test]
fn signing_key_stands_for_itself_and_not_for_the_account_that_it_names() {
    let (keys, victim) = (Keys::new(), KeyPair::new_account().public_key());
    let mut claims = keys.claims();
    claims["nats"]["issuer_account"] = json!(victim);
    let identity = connected(&keys.connect(&keys.jwt(&claims)), server());
    assert!(is(
        &identity,
        &format!("account:{}", keys.account.public_key())
    ));
    assert!(!is(&identity, &format!("account:{victim}")));
}

#[test]
fn jwt_of_somebody_else_proves_nothing() {
    let (keys, thief) = (Keys::new(), KeyPair::new_user());
    let jwt = keys.jwt(&keys.claims());
    let connect = |jwt: &str, by: &KeyPair| {
        let json = json!({"jwt": jwt, "sig": signature(by, NONCE), "nkey": by.public_key()});
        connected(&json.to_string(), server())
    };
    assert_eq!(count(&connect(&jwt, &thief)), 0);
    let bearer = json!({"jwt": jwt}).to_string();
    assert_eq!(count(&connected(&bearer, server())), 0);
}

#[test]
fn jwt_that_its_account_has_not_signed_as_it_is_proves_no_account() {
    let (keys, mallory) = (Keys::new(), KeyPair::new_account());
    let account = format!("account:{}", keys.account.public_key());
    let forged = signed(&mallory, &keys.claims());
    let mut changed = keys.claims();
    changed["name"] = json!("another");
    let (jwt, other) = (keys.jwt(&keys.claims()), keys.jwt(&changed));
    let (text, _) = jwt.rsplit_once('.').unwrap();
    let (_, moved) = other.rsplit_once('.').unwrap();
    let mut activation = keys.claims();
    activation["nats"]["type"] = json!("activation");
    for jwt in [
        forged,
        format!("{text}.{moved}"),
        keys.jwt(&activation),
        text.to_owned(),
        "..".to_owned(),
    ] {
        let identity = connected(&keys.connect(&jwt), server());
        assert!(
            !is(&identity, &account) && !is(&identity, "account:*"),
            "{jwt}"
        );
    }
}

#[test]
fn account_is_what_the_server_says_and_nothing_once_it_says_another() {
    let (key, mut identity) = (
        KeyPair::new_account().public_key(),
        connected("{}", server()),
    );
    identity.set_account(b"$G");
    assert_eq!(count(&identity), 0);
    identity.set_account(key.as_bytes());
    assert!(is(&identity, &format!("account:{key}")));
    identity.set_account(key.as_bytes());
    assert!(is(&identity, &format!("account:{key}")));
    identity.set_account(b"OTHER");
    identity.set_account(key.as_bytes());
    assert_eq!(count(&identity), 0);
}

#[test]
fn account_counts_for_nobody_before_its_connect() {
    let mut identity = silent();
    identity.set_account(b"ACME");
    assert_eq!(count(&identity), 0);
    say(&mut identity, "{}", ALL, &Clock::system());
    assert!(is(&identity, "account:ACME"));
}

#[test]
fn who_spoke_before_its_connect_is_nobody() {
    let mut identity = silent();
    identity.spoke_before_connect();
    say(
        &mut identity,
        r#"{"user":"planner","pass":"x"}"#,
        ALL,
        &Clock::system(),
    );
    identity.set_account(b"ACME");
    assert_eq!(count(&identity), 0);
}

#[test]
fn later_connect_as_the_same_keeps_the_identity_and_as_another_ends_it_for_good() {
    let planner = r#"{"user":"planner","pass":"x"}"#;
    let mut identity = connected(planner, server());
    identity.set_account(b"ACME");
    say(&mut identity, planner, ALL, &Clock::system());
    assert!(is(&identity, "user:planner") && is(&identity, "account:ACME"));
    let before = identity.epoch;
    say(
        &mut identity,
        r#"{"user":"mallory","pass":"x"}"#,
        ALL,
        &Clock::system(),
    );
    assert!(count(&identity) == 0 && identity.epoch != before);
    say(&mut identity, planner, ALL, &Clock::system());
    assert_eq!(count(&identity), 0);
}

#[test]
fn later_connect_of_who_has_proven_nothing_ends_its_account_too() {
    let mut identity = connected(r#"{"auth_token":"one"}"#, server());
    identity.set_account(b"ACME");
    say(
        &mut identity,
        r#"{"auth_token":"two"}"#,
        ALL,
        &Clock::system(),
    );
    assert_eq!(count(&identity), 0);
}

#[test]
fn certificate_holds_whatever_is_said() {
    let mut identity = silent();
    let names = [
        (IdentityKind::Subject, "CN=planner,O=Example"),
        (IdentityKind::Dns, "Planner.example"),
        (IdentityKind::Uri, "spiffe://example/planner"),
        (IdentityKind::Email, ""),
    ];
    identity.set_certificate_names(names.map(|(kind, text)| (kind, text.to_owned())));
    identity.spoke_before_connect();
    for listed in [
        "subject:CN=planner,O=Example",
        "dns:planner.example",
        "uri:spiffe://example/planner",
    ] {
        assert!(is(&identity, listed));
    }
    assert!(!is(&identity, "email:*"));
}

#[test]
fn closed_keyrings_follow_the_snapshot_and_the_client() {
    let rule = |name: &str, deliver_to: &str| crate::policy::Rule {
        name: name.parse().unwrap(),
        subjects: vec![format!("{name}.>").parse().unwrap()],
        deliver_to: match deliver_to {
            "" => Clients::Everybody,
            listed => Clients::These(vec![listed.parse().unwrap()]),
        },
        ..crate::policy::Rule::everything()
    };
    let snapshot = |deliver_to: &str, generation| {
        let rules = vec![rule("a", ""), rule("b", deliver_to)];
        let policy = crate::policy::Policy::new(rules, &[]).unwrap();
        Snapshot::new(policy.into(), vec![], vec![], generation)
    };
    let planner = snapshot("user:planner", 1);
    let [a, b] = ["a", "b"].map(|name| planner.policy().by_name(name).unwrap());
    let now = Clock::system().instant();
    let mut identity = silent();
    identity.refresh(&planner, now);
    let denied = &identity.deliver_denied;
    assert!(denied.any() && denied.has(b) && !denied.has(a) && !identity.publish_denied.any());
    say(
        &mut identity,
        r#"{"user":"planner","pass":"x"}"#,
        ALL,
        &Clock::system(),
    );
    identity.refresh(&planner, now);
    assert!(!identity.deliver_denied.any());
    identity.refresh(&snapshot("user:other", 2), now);
    assert!(identity.deliver_denied.has(b));
    identity.refresh(&snapshot("", 3), now);
    assert!(!identity.deliver_denied.any() && !identity.deliver_denied.has(b));
}

fn piece() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "user",
        "USER",
        "pass",
        "nkey",
        "jwt",
        "sig",
        "auth_token",
        "\\u006ekey",
        "echo",
    ]);
    let value = prop_oneof![
        Just("null".to_owned()),
        "[a-z.]{0,8}".prop_map(|text| format!("\"{text}\"")),
        Just(format!("\"{}\"", Keys::new().user.public_key())),
        Just(format!("\"{}\"", Keys::new().jwt(&Keys::new().claims()))),
        "[A-Za-z0-9_-]{86}".prop_map(|text| format!("\"{text}\"")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"))
}

proptest! {
    #[test]
    fn nothing_that_is_only_said_proves_anything(pieces in prop::collection::vec(piece(), 0..8)) {
        let json = format!("12345678{{{}}}", pieces.join(","));
        check::nothing_proves_itself(json.as_bytes());
    }

    #[test]
    fn no_bytes_prove_anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check::nothing_proves_itself(&bytes);
    }

    #[test]
    fn one_wrong_byte_in_a_jwt_proves_no_account(at in 0_usize..400, to in any::<u8>()) {
        let keys = Keys::new();
        let mut jwt = keys.jwt(&keys.claims()).into_bytes();
        prop_assume!(jwt.get(at).is_some_and(|byte| *byte != to));
        jwt[at] = to;
        let jwt = String::from_utf8_lossy(&jwt).into_owned();
        let identity = connected(&keys.connect(&jwt), server());
        prop_assert!(!is(&identity, "account:*"));
    }
}
