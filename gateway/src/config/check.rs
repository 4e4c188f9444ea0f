//! Properties that hold for any bytes, for fuzzers and property tests.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::Environment;
use crate::config::finding::DEFECT;

/// Checks `data` as a configuration: errors must be in the order of the file, without duplicates, each with a remedy.
///
/// # Panics
/// When one of these does not hold.
pub fn never_panics(data: &[u8]) {
    let environment = Environment {
        now: SystemTime::UNIX_EPOCH,
        state: Some(PathBuf::from("state")),
        passphrase: None,
    };
    let verdict = super::check_bytes("fuzzed.toml", data, Path::new(""), &environment);
    match verdict {
        Ok((checked, _warnings)) => {
            assert!(!checked.dataplane.listen.is_empty() && !checked.dataplane.servers.is_empty());
            assert_eq!(checked.keyrings.len(), checked.policy.keyrings().len());
        }
        Err(errors) => {
            let findings = errors.findings();
            assert!(!findings.is_empty());
            let places: Vec<_> = findings.iter().map(|f| (f.line, f.column)).collect();
            assert!(places.is_sorted());
            assert!(findings.iter().all(|f| f.message != DEFECT));
            assert!(
                findings
                    .iter()
                    .all(|f| !f.message.is_empty() && !f.help.is_empty())
            );
        }
    }
}
