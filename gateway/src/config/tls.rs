//! `[tls]` and `[server-tls]`: TLS with clients, and with servers.

use crate::config::finding::ValueError;
use crate::config::section::{Section, read_all};
use crate::config::value::{self, Value};
use crate::config::words::{ClientCertificates, FirstSpeaker};
use crate::dataplane::ServerAddr;
use crate::tls::{
    Authorities, ClientAuth, HandshakeOrder, ListenerTls, Pair, ServerTls, TlsPolicy,
};

/// Reads `[tls]`; `Some(None)` without the section, `None` on an error.
pub(super) fn listener(root: &Section<'_>) -> Option<Option<ListenerTls>> {
    let section = root.section("tls");
    if !root.has("tls") {
        return Some(None);
    }
    let own = read_all!(Pair {
        certificate: section.one("certificate", value::path),
        key: section.one("key", value::path),
    });
    let clients = clients(&section);
    let handshake = handshake(&section);
    let plaintext = section.one("plaintext", value::boolean);
    if plaintext == Some(true) && !can_be_plaintext(&section, clients.as_ref()?, handshake?) {
        return None;
    }
    let demand = |plaintext| match plaintext {
        true => TlsPolicy::Optional,
        false => TlsPolicy::Required,
    };
    let settings = read_all!(ListenerTls {
        own: own,
        clients: clients,
        demand: plaintext.map(demand),
        handshake: handshake,
    });
    settings.map(Some)
}

/// Reads `[server-tls]`; `Some(None)` when no server uses TLS, `None` on an error.
pub(super) fn to_server(root: &Section<'_>, servers: &[ServerAddr]) -> Option<Option<ServerTls>> {
    let section = root.section("server-tls");
    let settings = read_all!(ServerTls {
        ca: section.optional("ca", value::path),
        own: pair(&section),
        server_name: section.optional("server-name", server_name),
        handshake_first: section.one("handshake-first", value::boolean),
    })?;
    if settings.handshake_first && servers.iter().any(|server| !server.tls) {
        return section.refuse(
            "handshake-first",
            "the handshake is to come first, but a server is named `nats://`",
            "write `tls://` in `servers`, or remove this line",
        );
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
        (ClientCertificates::None, Some(_), _) => section.refuse(
            "client-ca",
            "CAs of clients' certificates are given, but clients are not asked for any",
            "write `clients = \"required\"` or `clients = \"optional\"`, or remove this line",
        ),
        (ClientCertificates::None, None, Some(_)) => section.refuse(
            "crl",
            "revocation lists are given, but clients are not asked for certificates",
            "write `clients = \"required\"` and `client-ca`, or remove this line",
        ),
        (ClientCertificates::Optional | ClientCertificates::Required, None, _) => section.refuse(
            "clients",
            "clients are asked for certificates, but nothing says who signs these",
            "add `client-ca`, the PEM file of the CAs that sign clients' certificates",
        ),
    }
}

fn handshake(section: &Section<'_>) -> Option<HandshakeOrder> {
    let speaks = section.one("handshake", value::word);
    let wait = section.one("wait", value::duration);
    let speaks: FirstSpeaker = speaks?;
    if section.has("wait") && speaks != FirstSpeaker::Either {
        return section.refuse(
            "wait",
            "nothing is waited for with this `handshake`",
            "write `handshake = \"automatic\"`, or remove this line",
        );
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
        section.error("plaintext", message, help);
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
fn pair(section: &Section<'_>) -> Option<Option<Pair>> {
    let file = |name| section.optional(name, value::path);
    let half = |given: &str, missing: &str| {
        section.refuse(
            given,
            &format!("`{given}` is given, but no `{missing}`"),
            &format!("add `{missing}`, or remove this line"),
        )
    };
    let (certificate, key) = (file("certificate"), file("key"));
    match (certificate?, key?) {
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
