//! Where a heartbeat has the client publish.
//!
//! A consumer whose flow control has stalled says so in its heartbeat, and client libraries answer by publishing to the subject that it
//! names. Anybody on the bus can write such a heartbeat, and the gateway would seal the answer as the client's own.

/// The header's name.
const NAME: &[u8] = b"Nats-Consumer-Stalled";

/// The only subjects that the server puts there.
const FLOW_CONTROL: &[u8] = b"$JS.FC.";

/// Whether the headers name a subject there that the server would not, or more than one.
///
/// Client libraries differ in letter case, blanks and line ends, and some read on behind an empty line: what any of them would read
/// counts.
pub(super) fn stalled_elsewhere(headers: &[u8]) -> bool {
    let lines = headers.split(|byte| matches!(byte, b'\r' | b'\n'));
    let mut named = lines.filter_map(stalled);
    match (named.next(), named.next()) {
        (None, _) => false,
        (Some(only), None) => !is_flow_control(only),
        (Some(_), Some(_)) => true,
    }
}

/// The value of the header, if this line is one.
fn stalled(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at_checked(colon)?;
    let is_named = name.trim_ascii().eq_ignore_ascii_case(NAME);
    is_named.then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// A blank would have the client name a reply subject too.
fn is_flow_control(subject: &[u8]) -> bool {
    subject.starts_with(FLOW_CONTROL) && subject.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: &str = "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n";

    #[test]
    fn heartbeat_of_the_server_names_flow_control_or_nothing() {
        for lines in ["", "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\n", "A: b\r\n"] {
            let headers = format!("{HEARTBEAT}{lines}\r\n");
            assert!(!stalled_elsewhere(headers.as_bytes()), "{headers}");
        }
        for other in [
            "",
            "NATS/1.0",
            "NATS/1.0\r\nA: Nats-Consumer-Stalled: b\r\n\r\n",
        ] {
            assert!(!stalled_elsewhere(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn any_other_subject_is_found_in_every_spelling() {
        for lines in [
            "Nats-Consumer-Stalled: plans.x\r\n",
            "nats-consumer-stalled:plans.x\r\n",
            "NATS-CONSUMER-STALLED:\tplans.x \r\n",
            "Nats-Consumer-Stalled : plans.x\r\n",
            "A: b\nNats-Consumer-Stalled: plans.x\n",
            "\r\nNats-Consumer-Stalled: plans.x\r\n",
            "Nats-Consumer-Stalled: plans.x",
            "Nats-Consumer-Stalled:\r\n plans.x\r\n",
            "Nats-Consumer-Stalled: $JS.ACK.S.C.1.1.1.1.1\r\n",
            "Nats-Consumer-Stalled: $JS.FC\r\n",
            "Nats-Consumer-Stalled: $js.fc.S.C.x1\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1 plans.x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\nnats-consumer-stalled: plans.x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\nNats-Consumer-Stalled: $JS.FC.S.C.x1\r\n",
        ] {
            for head in [HEARTBEAT, "NATS/1.0\r\nStatus: 100\r\n"] {
                let headers = format!("{head}{lines}\r\n");
                assert!(stalled_elsewhere(headers.as_bytes()), "{headers:?}");
            }
        }
    }
}
