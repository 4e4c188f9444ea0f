//! `[control]`: servers and login of the gateway's own connection.

use crate::config::finding::ValueError;
use crate::config::network;
use crate::config::section::{Section, read_all};
use crate::config::value::{self, Value};
use crate::dataplane::{self, ServerAddr};
use crate::retention::{Config, Login};
use crate::tls::ServerTls;

/// The keys of the login methods, of which at most one may be given.
const LOGINS: [&str; 4] = ["user", "token-file", "credentials", "nkey-seed-file"];

/// Reads `[control]`; `Some(None)` without the section, `None` on an error.
pub(super) fn convert(
    root: &Section<'_>,
    network: Option<&dataplane::Config>,
) -> Option<Option<Config>> {
    let section = root.section("control");
    let servers = servers(&section, network);
    let tls = network.and_then(|network| network.server_tls.clone());
    let named_tls = servers.iter().flatten().any(|server| server.tls);
    let urls = |servers: Vec<ServerAddr>| servers.iter().map(ToString::to_string).collect();
    let config = read_all!(Config {
        servers: servers.map(urls),
        tls: Some(tls.or_else(|| named_tls.then(ServerTls::default))),
        login: login(&section),
        domains: section.list("domains", domain),
        deadline: section.one("deadline", value::duration),
    });
    config.map(|config| root.has("control").then_some(config))
}

/// The section's own servers, or those of the message path. None may be the gateway, which opens messages and so does not show
/// what is stored.
fn servers(section: &Section<'_>, network: Option<&dataplane::Config>) -> Option<Vec<ServerAddr>> {
    if !section.has("servers") {
        return network.map(|network| network.servers.clone());
    }
    let (servers, complete) = section.non_empty_list("servers", server);
    let servers = complete.then(|| network::without_positions(servers))?;
    let is_own = |server| network.is_some_and(|network| network::is_own(network, server));
    if servers.iter().any(is_own) {
        section.error(
            "servers",
            "the gateway would ask itself: a server has an address of `listen`",
            "name the NATS servers, never a gateway",
        );
    }
    network::warn_of_servers(section, &servers);
    Some(servers)
}

fn login(section: &Section<'_>) -> Option<Option<Login>> {
    let user = section.optional("user", name);
    let file = |name| section.optional(name, value::path);
    let (password, token) = (file("password-file"), file("token-file"));
    let (credentials, seed) = (file("credentials"), file("nkey-seed-file"));
    if !agree(section) {
        return None;
    }
    let password = match (user?, password?) {
        (Some(user), Some(file)) => Some(Login::Password { user, file }),
        (Some(_), None) | (None, Some(_) | None) => None,
    };
    Some(
        password
            .or(token?.map(Login::Token))
            .or(credentials?.map(Login::Credentials))
            .or(seed?.map(Login::NkeySeed)),
    )
}

/// Whether there is at most one login, and a complete one; errors are recorded.
fn agree(section: &Section<'_>) -> bool {
    let mut given = LOGINS.iter().filter(|name| section.has(name));
    let (first, second) = (given.next(), given.next());
    if let (Some(first), Some(second)) = (first, second) {
        let message = format!("the gateway is named twice: by `{first}` and by `{second}`");
        section.error(second, message, "keep one of the two");
        return false;
    }
    let half = |given: &str, missing: &str, help: &str| {
        let message = format!("`{given}` is given, but no `{missing}`");
        section.error(given, message, help);
        false
    };
    match (section.has("user"), section.has("password-file")) {
        (true, false) => half(
            "user",
            "password-file",
            "add `password-file`, the file that holds the user's password",
        ),
        (false, true) => half("password-file", "user", "add `user`, or remove this line"),
        (true, true) | (false, false) => true,
    }
}

fn server(value: Value<'_>) -> Result<ServerAddr, ValueError> {
    value::server_without(
        value,
        "which belong in files",
        "remove what stands before `@`, `@` too, and name `user` and `password-file`, or `token-file`",
    )
}

fn name(value: Value<'_>) -> Result<String, ValueError> {
    let written = value::text(value)?;
    if written.is_empty() {
        return Err(ValueError::new("the user's name is empty"));
    }
    Ok(written.to_owned())
}

/// A JetStream domain: one token of a subject.
fn domain(value: Value<'_>) -> Result<String, ValueError> {
    let written = value::text(value)?;
    let letter = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>');
    if written.is_empty() || !written.chars().all(letter) {
        return Err(ValueError::new(format!(
            "`{written}` is not a JetStream domain: one word, without dots or wildcards"
        )));
    }
    Ok(written.to_owned())
}
