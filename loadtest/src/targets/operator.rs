//! Admin requests to a gateway: metrics and rotations.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::error::RunError;
use crate::load::now;
use crate::targets::Gateway;

/// One scrape.
pub(crate) struct Metrics(String);

impl Gateway {
    /// Scrapes its metrics.
    pub(crate) fn metrics(&self) -> Result<Metrics, RunError> {
        let missing = || RunError::Limit("the gateway serves no metrics".to_owned());
        let addr = self.admin.ok_or_else(missing)?;
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(addr)?;
            write!(socket, "GET /metrics HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(|source| RunError::io("asking for metrics", source))?;
        Ok(Metrics(answer))
    }

    /// Rotates the default keyring; returns how long that took.
    pub(crate) fn rotate(&self) -> Result<Duration, RunError> {
        self.rotate_keyring("default")
    }

    /// Rotates a keyring; returns how long that took.
    pub(crate) fn rotate_keyring(&self, keyring: &str) -> Result<Duration, RunError> {
        let body = "{\"why\":\"a load test\"}";
        let ask = || -> std::io::Result<String> {
            let mut socket = UnixStream::connect(self.state.join("admin.sock"))?;
            write!(
                socket,
                "POST /v1/keyrings/{keyring}/rotate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let begun = now();
        let answer = ask().map_err(|source| RunError::io("asking for another key", source))?;
        let took = now().duration_since(begun);
        if answer.split(' ').nth(1) == Some("200") {
            return Ok(took);
        }
        Err(RunError::Peer {
            what: "asking for another key".to_owned(),
            said: answer,
        })
    }

    /// The size of its keyring's record, in bytes.
    pub(crate) fn record(&self) -> Result<u64, RunError> {
        let path = self.state.join("catalogue/default.json");
        let found = std::fs::metadata(path);
        let found = found.map_err(|source| RunError::io("looking at the record", source))?;
        Ok(found.len())
    }
}

impl Metrics {
    /// The sum of the samples that begin with one name and have all these labels, written as `name="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let of = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        let samples = self.0.lines().filter(of);
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}
