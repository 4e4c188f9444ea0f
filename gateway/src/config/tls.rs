//! `[tls]` and `[server-tls]`: TLS with clients, and with servers.

use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::finding::Wrong;
use crate::config::section::Section;
use crate::config::value;
use crate::dataplane::ServerAddr;
use crate::tls::{Authorities, Clients, Demand, Handshake, Listener, Pair, ToServer};

/// `tls.clients`: whether clients must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    None,
    Optional,
    Required,
}

/// `tls.handshake`: whether the server's INFO or the client's handshake comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Gateway,
    Client,
    Either,
}

/// Reads `[tls]`; `Some(None)` without the section, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn listener(root: &Section<'_>, base: &Path) -> Option<Option<Listener>> {
    let section = root.section("tls");
    if !root.has("tls") {
        return Some(None);
    }
    let certificate = section.one("certificate", |v| value::path(v, base));
    let key = section.one("key", |v| value::path(v, base));
    let clients = clients(&section, base);
    let plaintext = section.one("plaintext", value::truth);
    let handshake = handshake(&section);
    let demand = match plaintext? {
        true => Demand::Optional,
        false => Demand::Required,
    };
    let (clients, handshake) = (clients?, handshake?);
    if demand == Demand::Optional && !can_be_plaintext(&section, &clients, handshake) {
        return None;
    }
    let own = Pair {
        certificate: certificate?,
        key: key?,
    };
    Some(Some(Listener {
        own,
        clients,
        demand,
        handshake,
    }))
}

/// Reads `[server-tls]`; `Some(None)` when no server uses TLS, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn to_server(
    root: &Section<'_>,
    base: &Path,
    servers: &[ServerAddr],
) -> Option<Option<ToServer>> {
    let section = root.section("server-tls");
    let file = |name| section.optional(name, |v| value::path(v, base));
    let (ca, certificate, key) = (file("ca"), file("certificate"), file("key"));
    let server_name = section.optional("server-name", server_name);
    let handshake_first = section.one("handshake-first", value::truth);
    let own = pair(&section, certificate?, key?)?;
    let settings = ToServer {
        ca: ca?,
        own,
        server_name: server_name?,
        handshake_first: handshake_first?,
    };
    if settings.handshake_first && servers.iter().any(|server| !server.tls) {
        let message = "the handshake is to come first, but a server is named `nats://`".to_owned();
        let help = "write `tls://` in `servers`, or remove this line".to_owned();
        section.error("handshake-first", message, help);
        return None;
    }
    let wanted = root.has("server-tls") || servers.iter().any(|server| server.tls);
    Some(wanted.then_some(settings))
}

/// Whether clients show certificates, and which CAs sign them.
fn clients(section: &Section<'_>, base: &Path) -> Option<Clients> {
    let shown = section.one("clients", |v| {
        let words = [
            ("none", Shown::None),
            ("optional", Shown::Optional),
            ("required", Shown::Required),
        ];
        value::choice(v, &words)
    });
    let ca = section.optional("client-ca", |v| value::path(v, base));
    let crl = section.optional("crl", |v| value::path(v, base));
    match (shown?, ca?, crl?) {
        (Shown::None, None, None) => Some(Clients::Unasked),
        (Shown::Optional, Some(ca), crl) => Some(Clients::Optional(Authorities { ca, crl })),
        (Shown::Required, Some(ca), crl) => Some(Clients::Required(Authorities { ca, crl })),
        (Shown::None, Some(_), _) => {
            let message =
                "CAs of clients' certificates are given, but clients are not asked for any";
            let help =
                "write `clients = \"required\"` or `clients = \"optional\"`, or remove this line";
            section.error("client-ca", message.to_owned(), help.to_owned());
            None
        }
        (Shown::None, None, Some(_)) => {
            let message = "revocation lists are given, but clients are not asked for certificates";
            let help = "write `clients = \"required\"` and `client-ca`, or remove this line";
            section.error("crl", message.to_owned(), help.to_owned());
            None
        }
        (Shown::Optional | Shown::Required, None, _) => {
            let message = "clients are asked for certificates, but nothing says who signs these";
            let help = "add `client-ca`, the PEM file of the CAs that sign clients' certificates";
            section.error("clients", message.to_owned(), help.to_owned());
            None
        }
    }
}

fn handshake(section: &Section<'_>) -> Option<Handshake> {
    let speaks = section.one("handshake", |v| {
        let words = [
            ("after-info", Speaks::Gateway),
            ("first", Speaks::Client),
            ("automatic", Speaks::Either),
        ];
        value::choice(v, &words)
    });
    let wait = section.one("wait", |v| {
        value::duration(v, Duration::from_millis(1), Duration::from_secs(10))
    });
    let speaks = speaks?;
    if section.has("wait") && speaks != Speaks::Either {
        let message = "nothing is waited for with this `handshake`".to_owned();
        let help = "write `handshake = \"automatic\"`, or remove this line".to_owned();
        section.error("wait", message, help);
        return None;
    }
    Some(match speaks {
        Speaks::Gateway => Handshake::AfterInfo,
        Speaks::Client => Handshake::First,
        Speaks::Either => Handshake::Automatic(wait?),
    })
}

/// Whether `plaintext` fits the other keys; errors are recorded.
fn can_be_plaintext(section: &Section<'_>, clients: &Clients, handshake: Handshake) -> bool {
    let refused = |message: &str, help: &str| {
        section.error("plaintext", message.to_owned(), help.to_owned());
        false
    };
    match (clients, handshake) {
        (Clients::Required(_), _) => refused(
            "a client without TLS shows no certificate, and `clients = \"required\"` wants one",
            "write `clients = \"optional\"`, or remove this line",
        ),
        (_, Handshake::First) => refused(
            "a client without TLS waits for an INFO that `handshake = \"first\"` does not send",
            "write `handshake = \"automatic\"`, or remove this line",
        ),
        (Clients::Unasked | Clients::Optional(_), _) => true,
    }
}

/// A certificate with its key, or neither.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
fn pair(
    section: &Section<'_>,
    certificate: Option<std::path::PathBuf>,
    key: Option<std::path::PathBuf>,
) -> Option<Option<Pair>> {
    let half = |given: &str, missing: &str| {
        let message = format!("`{given}` is given, but no `{missing}`");
        let help = format!("add `{missing}`, or remove this line");
        section.error(given, message, help);
        None
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Some(Pair { certificate, key })),
        (None, None) => Some(None),
        (Some(_), None) => half("certificate", "key"),
        (None, Some(_)) => half("key", "certificate"),
    }
}

fn server_name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    let settings = ToServer::default();
    if settings.name(written).is_err() {
        return Err(Wrong::new(format!(
            "`{written}` is not a host name or an IP address"
        )));
    }
    Ok(written.to_owned())
}
