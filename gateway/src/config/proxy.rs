//! `[proxy]`: PROXY protocol headers to the server and from load balancers, and the nkey of a trusted proxy.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::config::finding::Wrong;
use crate::config::network::bare;
use crate::config::section::Section;
use crate::config::value;
use crate::dataplane::Proxying;
use crate::proxy::{Network, NotANetwork, Version};

/// Reads `[proxy]` except `nkey-seed-file`.
pub(super) fn convert(section: &Section<'_>) -> Option<Proxying> {
    let send = section.one("send", |v| {
        let words = [
            ("off", None),
            ("v1", Some(Version::V1)),
            ("v2", Some(Version::V2)),
        ];
        value::choice(v, &words)
    });
    let accept_from = section.many("accept-from", network);
    Some(Proxying {
        key: None,
        send: send?,
        accept_from: bare(accept_from?),
    })
}

/// Path of the nkey's seed, which is read at the start. `Some(None)` without one, `None` on an error.
#[expect(clippy::option_option, reason = "absent and mistaken are two things")]
pub(super) fn seed(section: &Section<'_>, base: &Path) -> Option<Option<PathBuf>> {
    section.optional("nkey-seed-file", |v| value::path(v, base))
}

fn network(value: &DeValue<'_>) -> Result<Network, Wrong> {
    let written = value::text(value)?;
    written.parse().map_err(|wrong| match wrong {
        NotANetwork::Shape => Wrong::new(format!(
            "`{written}` is neither an IP address nor a range of them"
        )),
        NotANetwork::HostBits(bits) => Wrong::with_help(
            format!("`{written}` has bits set behind the first {bits}"),
            "write the first address of the range, or another length",
        ),
    })
}
