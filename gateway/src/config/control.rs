//! `[control]`: servers and login of the gateway's own connection.

use crate::config::finding::ValueError;
use crate::config::network;
use crate::config::section::{Section, without_positions};
use crate::config::value::{self, Value};
use crate::dataplane::{self, ServerAddr};
use crate::retention::{Config, Login};
use crate::tls::ServerTls;

/// The keys of the login methods, of which at most one may be given.
const LOGINS: [&str; 4] = ["user", "token-file", "credentials", "nkey-seed-file"];

/// Reads `[control]`; `Some(None)` without the section, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn convert(
    root: &Section<'_>,
    network: Option<&dataplane::Config>,
) -> Option<Option<Config>> {
    let section = root.section("control");
    let own = section
        .has("servers")
        .then(|| section.non_empty_list("servers", server));
    let login = login(&section);
    let domains = section.list("domains", domain);
    let deadline = section.one("deadline", value::duration);
    let servers = match own {
        Some((_, false)) => None,
        Some((servers, true)) => Some(checked(&section, without_positions(servers), network)),
        None => network.map(|network| network.servers.clone()),
    };
    let servers = servers?;
    let tls = network.and_then(|network| network.server_tls.clone());
    let own = servers
        .iter()
        .any(|server| server.tls)
        .then(ServerTls::default);
    let config = Config {
        servers: servers.iter().map(ToString::to_string).collect(),
        tls: tls.or(own),
        login: login?,
        domains: without_positions(domains?),
        deadline: deadline?,
    };
    Some(root.has("control").then_some(config))
}

/// Checks the section's own servers. None may be the gateway, which opens messages and so does not show what is stored.
fn checked(
    section: &Section<'_>,
    servers: Vec<ServerAddr>,
    network: Option<&dataplane::Config>,
) -> Vec<ServerAddr> {
    let is_own = |server| network.is_some_and(|network| network::is_own(network, server));
    if servers.iter().any(is_own) {
        let message =
            "the gateway would ask itself: a server has an address of `listen`".to_owned();
        let help = "name the NATS servers, never a gateway".to_owned();
        section.error("servers", message, help);
    }
    network::warn_of_servers(section, &servers);
    servers
}

#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
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
        section.error(second, message, "keep one of the two".to_owned());
        return false;
    }
    let half = |given: &str, missing: &str, help: &str| {
        let message = format!("`{given}` is given, but no `{missing}`");
        section.error(given, message, help.to_owned());
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
