//! `[proxy]`: PROXY protocol headers to the server and from load balancers, and the nkey of a trusted proxy.

use crate::config::finding::ValueError;
use crate::config::section::{Section, read_all};
use crate::config::value::{self, Value};
use crate::dataplane::ProxySettings;
use crate::proxy::{InvalidNetwork, Network, Version};

/// Reads `[proxy]` except `nkey-seed-file`, which is read at the start.
pub(super) fn convert(section: &Section<'_>) -> Option<ProxySettings> {
    let send = section.one("send", |v| {
        let word: String = value::word(v)?;
        Ok(match word.as_str() {
            "v1" => Some(Version::V1),
            "v2" => Some(Version::V2),
            _off => None,
        })
    });
    read_all!(ProxySettings {
        key: Some(None),
        send: send,
        accept_from: section.list("accept-from", network),
    })
}

fn network(value: Value<'_>) -> Result<Network, ValueError> {
    let written = value::text(value)?;
    written.parse().map_err(|wrong| match wrong {
        InvalidNetwork::Shape => ValueError::new(format!(
            "`{written}` is neither an IP address nor a range of them"
        )),
        InvalidNetwork::HostBits(bits) => ValueError::with_help(
            format!("`{written}` has bits set behind the first {bits}"),
            "write the first address of the range, or another length",
        ),
    })
}
