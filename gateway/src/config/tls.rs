//! `[tls]` and `[server-tls]`: TLS with clients, and with servers.

use crate::config::finding::ValueError;
use crate::config::section::Section;
use crate::config::value::{self, Value};
use crate::config::words::{ClientCertificates, FirstSpeaker};
use crate::dataplane::ServerAddr;
use crate::tls::{
    Authorities, ClientAuth, HandshakeOrder, ListenerTls, Pair, ServerTls, TlsPolicy,
};

/// Reads `[tls]`; `Some(None)` without the section, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn listener(root: &Section<'_>) -> Option<Option<ListenerTls>> {
    let section = root.section("tls");
    if !root.has("tls") {
        return Some(None);
    }
    let certificate = section.one("certificate", value::path);
    let key = section.one("key", value::path);
    let clients = clients(&section);
    let plaintext = section.one("plaintext", value::boolean);
    let handshake = handshake(&section);
    let demand = match plaintext? {
        true => TlsPolicy::Optional,
        false => TlsPolicy::Required,
    };
    let (clients, handshake) = (clients?, handshake?);
    if demand == TlsPolicy::Optional && !can_be_plaintext(&section, &clients, handshake) {
        return None;
    }
    let own = Pair {
        certificate: certificate?,
        key: key?,
    };
    Some(Some(ListenerTls {
        own,
        clients,
        demand,
        handshake,
    }))
}

/// Reads `[server-tls]`; `Some(None)` when no server uses TLS, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn to_server(root: &Section<'_>, servers: &[ServerAddr]) -> Option<Option<ServerTls>> {
    let section = root.section("server-tls");
    let file = |name| section.optional(name, value::path);
    let (ca, certificate, key) = (file("ca"), file("certificate"), file("key"));
    let server_name = section.optional("server-name", server_name);
    let handshake_first = section.one("handshake-first", value::boolean);
    let own = pair(&section, certificate?, key?)?;
    let settings = ServerTls {
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
fn clients(section: &Section<'_>) -> Option<ClientAuth> {
    let shown = section.one("clients", value::word);
    let ca = section.optional("client-ca", value::path);
    let crl = section.optional("crl", value::path);
    match (shown?, ca?, crl?) {
        (ClientCertificates::None, None, None) => Some(ClientAuth::NotRequested),
        (ClientCertificates::Optional, Some(ca), crl) => {
            Some(ClientAuth::Optional(Authorities { ca, crl }))
        }
        (ClientCertificates::Required, Some(ca), crl) => {
            Some(ClientAuth::Required(Authorities { ca, crl }))
        }
        (ClientCertificates::None, Some(_), _) => {
            let message =
                "CAs of clients' certificates are given, but clients are not asked for any";
            let help =
                "write `clients = \"required\"` or `clients = \"optional\"`, or remove this line";
            section.error("client-ca", message.to_owned(), help.to_owned());
            None
        }
        (ClientCertificates::None, None, Some(_)) => {
            let message = "revocation lists are given, but clients are not asked for certificates";
            let help = "write `clients = \"required\"` and `client-ca`, or remove this line";
            section.error("crl", message.to_owned(), help.to_owned());
            None
        }
        (ClientCertificates::Optional | ClientCertificates::Required, None, _) => {
            let message = "clients are asked for certificates, but nothing says who signs these";
            let help = "add `client-ca`, the PEM file of the CAs that sign clients' certificates";
            section.error("clients", message.to_owned(), help.to_owned());
            None
        }
    }
}

fn handshake(section: &Section<'_>) -> Option<HandshakeOrder> {
    let speaks = section.one("handshake", value::word);
    let wait = section.one("wait", value::duration);
    let speaks: FirstSpeaker = speaks?;
    if section.has("wait") && speaks != FirstSpeaker::Either {
        let message = "nothing is waited for with this `handshake`".to_owned();
        let help = "write `handshake = \"automatic\"`, or remove this line".to_owned();
        section.error("wait", message, help);
        return None;
    }
    Some(match speaks {
        FirstSpeaker::Gateway => HandshakeOrder::AfterInfo,
        FirstSpeaker::Client => HandshakeOrder::First,
        FirstSpeaker::Either => HandshakeOrder::Automatic(wait?),
    })
}

/// Whether `plaintext` fits the other keys; errors are recorded.
fn can_be_plaintext(
    section: &Section<'_>,
    clients: &ClientAuth,
    handshake: HandshakeOrder,
) -> bool {
    let refused = |message: &str, help: &str| {
        section.error("plaintext", message.to_owned(), help.to_owned());
        false
    };
    match (clients, handshake) {
        (ClientAuth::Required(_), _) => refused(
            "a client without TLS shows no certificate, and `clients = \"required\"` wants one",
            "write `clients = \"optional\"`, or remove this line",
        ),
        (_, HandshakeOrder::First) => refused(
            "a client without TLS waits for an INFO that `handshake = \"first\"` does not send",
            "write `handshake = \"automatic\"`, or remove this line",
        ),
        (ClientAuth::NotRequested | ClientAuth::Optional(_), _) => true,
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

fn server_name(value: Value<'_>) -> Result<String, ValueError> {
    let written = value::text(value)?;
    let settings = ServerTls::default();
    if settings.name(written).is_err() {
        return Err(ValueError::new(format!(
            "`{written}` is not a host name or an IP address"
        )));
    }
    Ok(written.to_owned())
}
