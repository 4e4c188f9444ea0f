//! Scrapes the gateway's metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One scrape.
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// The sum of the samples of `name` that carry all of `labels`, such as `("direction", "publish")`; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        let samples = self.text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && wanted.iter().all(|label| line.contains(label.as_str()))
        });
        samples
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// The text as it was served.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Scrapes `/metrics`.
pub fn scrape(admin: SocketAddr) -> Metrics {
    let (status, text) = get(admin, "/metrics");
    assert_eq!(status, 200, "{text}");
    Metrics { text }
}

/// The status and body of an HTTP request to the admin port.
pub fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(admin).unwrap();
    socket
        .set_read_timeout(Some(crate::wait::DEADLINE))
        .unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}
