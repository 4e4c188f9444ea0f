//! Forged flow control.
//!
//! A consumer requests flow control with a status 100 and a reply subject, to which client libraries publish, whatever it is,
//! with the client's permissions. One that has stalled says so in its heartbeat, and they publish to the subject in that header.
//! Anybody on the bus can forge both: to have the client delete a stream, or publish an empty message that is sealed as its own.

use crate::dataplane::replies::FLOW_CONTROL;

/// The header of heartbeats that names the flow control subject of a stalled consumer.
const NAME: &[u8] = b"Nats-Consumer-Stalled";

/// Whether the client would publish to a subject that the server does not use for flow control.
pub(super) fn is_forged_flow_control(headers: &[u8], reply: Option<&[u8]>) -> bool {
    let elsewhere = reply.is_some_and(|reply| !is_flow_control(reply));
    elsewhere && is_control(headers) || has_forged_stalled(headers)
}

/// Whether a client library may take the message for flow control or a heartbeat.
fn is_control(headers: &[u8]) -> bool {
    let code = headers.strip_prefix(b"NATS/1.0").unwrap_or_default();
    let header = |line: &[u8]| value(line, b"Status").is_some_and(is_code);
    is_code(code.trim_ascii_start()) || lines(headers).any(header)
}

fn is_code(text: &[u8]) -> bool {
    text.starts_with(b"100")
}

/// Whether [`NAME`] has a subject that is not for flow control, or there are several.
///
/// Client libraries differ in letter case, blanks and line ends, and some read on behind an empty line: what any of them reads
/// counts.
fn has_forged_stalled(headers: &[u8]) -> bool {
    let mut named = lines(headers).filter_map(|line| value(line, NAME));
    match (named.next(), named.next()) {
        (None, _) => false,
        (Some(only), None) => !is_flow_control(only) || has_odd_lines(headers),
        (Some(_), Some(_)) => true,
    }
}

fn lines(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split(|byte| matches!(byte, b'\r' | b'\n'))
}

/// The value of the header of this name, if this line is one.
fn value<'l>(line: &'l [u8], wanted: &[u8]) -> Option<&'l [u8]> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at_checked(colon)?;
    let is_named = name.trim_ascii().eq_ignore_ascii_case(wanted);
    is_named.then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// Whether client libraries would differ in where a line ends: there is a lone CR or LF, or a line that begins with a blank
/// (folding).
fn has_odd_lines(headers: &[u8]) -> bool {
    let before = std::iter::once(&b' ').chain(headers);
    let ends_oddly = |(one, next): (&u8, &u8)| {
        (*one == b'\r') != (*next == b'\n') || *one == b'\n' && matches!(next, b' ' | b'\t')
    };
    before.zip(headers).any(ends_oddly) || headers.ends_with(b"\r")
}

/// Whether a subject is one for flow control. Behind a blank the client's `PUB` line would have a reply subject.
fn is_flow_control(subject: &[u8]) -> bool {
    subject.starts_with(FLOW_CONTROL) && subject.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_control_is_answered_where_the_server_reads_it_alone() {
        let control = "NATS/1.0 100 FlowControl Request\r\n\r\n";
        let written = "NATS/1.0\r\nstatus : 100\r\nDescription: FlowControl Request\r\n\r\n";
        let none = "NATS/1.0 503\r\n\r\n";
        for (headers, reply, elsewhere) in [
            (control, None, false),
            (control, Some("$JS.FC.S.C.x1"), false),
            (control, Some("$JS.API.STREAM.DELETE.S"), true),
            (control, Some("plans.x"), true),
            (control, Some("_INBOX.a"), true),
            (written, Some("_INBOX.a"), true),
            (none, Some("_INBOX.a"), false),
            ("NATS/1.0\r\nA: 100\r\n\r\n", Some("_INBOX.a"), false),
        ] {
            let reply_bytes = reply.map(str::as_bytes);
            let found = is_forged_flow_control(headers.as_bytes(), reply_bytes);
            assert_eq!(found, elsewhere, "{headers:?} {reply:?}");
        }
    }

    const HEARTBEAT: &str = "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n";

    #[test]
    fn heartbeat_of_the_server_names_flow_control_or_nothing() {
        for lines in ["", "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\n", "A: b\r\n"] {
            let headers = format!("{HEARTBEAT}{lines}\r\n");
            assert!(!has_forged_stalled(headers.as_bytes()), "{headers}");
        }
        for other in [
            "",
            "NATS/1.0",
            "NATS/1.0\r\nA: Nats-Consumer-Stalled: b\r\n\r\n",
        ] {
            assert!(!has_forged_stalled(other.as_bytes()), "{other}");
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
            "Nats-Consumer-Stalled: $JS.FC.a\n x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.a\r\n x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.a\rPUB\r\n",
            "Nats-Consumer-Stalled: $js.fc.S.C.x1\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1 plans.x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\nnats-consumer-stalled: plans.x\r\n",
            "Nats-Consumer-Stalled: $JS.FC.S.C.x1\r\nNats-Consumer-Stalled: $JS.FC.S.C.x1\r\n",
        ] {
            for head in [HEARTBEAT, "NATS/1.0\r\nStatus: 100\r\n"] {
                let headers = format!("{head}{lines}\r\n");
                assert!(has_forged_stalled(headers.as_bytes()), "{headers:?}");
            }
        }
    }
}
