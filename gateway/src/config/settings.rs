//! The settings that protection depends on, key by key, as the audit log records them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::gateway_config::{GatewayConfig, Keyring, OpenPolicy, Terms};
use crate::audit::Settings;
use crate::dataplane::{self, ServerAddr};
use crate::policy::{Alias, Bind, Plaintext, Rule, Undecryptable};
use crate::tls::{ClientAuth, TlsPolicy};

/// The protection settings of a configuration.
#[must_use]
pub fn settings(checked: &GatewayConfig) -> Settings {
    let mut settings = Settings::default();
    gateway(&mut settings, checked);
    tls(&mut settings, &checked.dataplane);
    for (rule, keyring) in checked.policy.keyrings().iter().zip(&checked.keyrings) {
        let mut set = |name: &str, value: Value| {
            settings.set(format!("keyring.{}.{name}", keyring.name), value);
        };
        subject_settings(&mut set, rule);
        strict(&mut set, rule);
        key_settings(&mut set, keyring);
    }
    settings
}

fn gateway(settings: &mut Settings, checked: &GatewayConfig) {
    let path = &checked.dataplane;
    let memory = match checked.lock_memory {
        None => "auto",
        Some(true) => "true",
        Some(false) => "false",
    };
    let verified = path.verified.iter().map(<&str>::from);
    let tokens = checked.admin.tokens.iter().map(|token| &token.name);
    let domains = checked.control.as_ref().map(|control| &control.domains);
    settings.set("servers", list(path.servers.iter().map(url)));
    settings.set("servers-verify", list(verified));
    settings.set("lock-memory", memory);
    settings.set("relay-only", path.relay_only);
    settings.set("admin.tokens", list(tokens));
    settings.set("inbox-prefixes", list(checked.policy.inbox_prefixes()));
    settings.set(
        "jetstream.api-prefixes",
        list(checked.policy.api_prefixes()),
    );
    settings.set("control.domains", domains.map(list));
}

fn tls(settings: &mut Settings, path: &dataplane::Config) {
    let (shown, authorities) = match path.tls.as_ref().map(|tls| &tls.clients) {
        None | Some(ClientAuth::NotRequested) => ("none", None),
        Some(ClientAuth::Optional(authorities)) => ("optional", Some(authorities)),
        Some(ClientAuth::Required(authorities)) => ("required", Some(authorities)),
    };
    let demand = path.tls.as_ref().map(|tls| tls.demand);
    let crl = authorities.and_then(|authorities| authorities.crl.as_ref());
    let servers = path.server_tls.as_ref();
    let ca = servers.and_then(|servers| servers.ca.as_ref());
    settings.set("tls.clients", shown);
    settings.set("tls.plaintext", demand != Some(TlsPolicy::Required));
    settings.set("tls.client-ca", authorities.map(|all| shown_path(&all.ca)));
    settings.set("tls.crl", crl.map(|path| shown_path(path)));
    settings.set("server-tls.ca", ca.map(|path| shown_path(path)));
    let name = servers.and_then(|servers| servers.server_name.clone());
    settings.set("server-tls.server-name", name);
}

/// Which subjects, bound to what, and for whom.
fn subject_settings(set: &mut impl FnMut(&str, Value), rule: &Rule) {
    let (bind, aliases) = match &rule.bind {
        Bind::Subject { aliases } => ("subject", aliases.as_slice()),
        Bind::Keyring => ("keyring", &[][..]),
    };
    let clients = |clients: &crate::policy::Clients| match clients.listed() {
        None => Value::from("everybody"),
        Some(listed) => list(listed),
    };
    let renamed = |alias: &Alias| format!("{} -> {}", alias.from(), alias.to());
    set("subjects", list(&rule.subjects));
    set("bind", bind.into());
    set("aliases", list(aliases.iter().map(renamed)));
    set("publish-by", clients(&rule.publish_by));
    set("deliver-to", clients(&rule.deliver_to));
}

/// What passes that is no envelope, or does not open.
fn strict(set: &mut impl FnMut(&str, Value), rule: &Rule) {
    let (plaintext, until) = match rule.plaintext {
        Plaintext::Reject => ("reject", None),
        Plaintext::Accept { until } => ("accept", Timestamp::try_from(until).ok()),
    };
    let Undecryptable {
        deliver,
        nak_delay,
        limit,
    } = rule.undecryptable;
    let then = limit.map(|limit| <&str>::from(limit.then));
    let answers = if rule.binds_answers {
        "bound"
    } else {
        "unbound"
    };
    set("plaintext", plaintext.into());
    set("until", until.map(|time| time.to_string()).into());
    set("reply", <&str>::from(rule.answers).into());
    set("answers", answers.into());
    set("empty", <&str>::from(rule.empty).into());
    set("undecryptable.deliver", <&str>::from(deliver).into());
    set("undecryptable.nak-delay", nak_delay.map(time).into());
    set(
        "undecryptable.limit",
        limit.map(|limit| time(limit.after)).into(),
    );
    set("undecryptable.at-limit", then.into());
}

/// How long keys are kept, and how much they may seal.
fn key_settings(set: &mut impl FnMut(&str, Value), keyring: &Keyring) {
    let Terms {
        suite,
        rotate,
        limit,
        overlap,
        retain,
        hold,
        destroy,
        open,
    } = &keyring.terms;
    let opens = |one| Value::from(*open == one || *open == OpenPolicy::Both);
    set("suite", suite.name().into());
    set("rotate.after", time(rotate.after).into());
    set("rotate.jitter", rotate.jitter.into());
    set("rotate.messages", rotate.messages.into());
    set("rotate.bytes", rotate.bytes.into());
    set("limit.messages", limit.messages.into());
    set("limit.bytes", limit.bytes.into());
    set("overlap", time(*overlap).into());
    set("open-suspended", opens(OpenPolicy::Suspended));
    set("open-compromised", opens(OpenPolicy::Compromised));
    set("retain", <&str>::from(retain).into());
    set("hold", time(*hold).into());
    set("destroy", <&str>::from(destroy).into());
}

/// A list, sorted: its order has no meaning.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    let items = items.into_iter().map(|item| item.to_string());
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items.into()
}

fn url(server: &ServerAddr) -> String {
    let scheme = if server.tls { "tls" } else { "nats" };
    format!("{scheme}://{}:{}", server.host, server.port)
}

fn time(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn shown_path(path: &std::path::Path) -> String {
    path.display().to_string()
}
