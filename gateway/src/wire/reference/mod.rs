//! A naive reference parser for both directions: one byte at a time, with the states of nats-server's `parser.go`, everything
//! copied. Tests and fuzzers compare the real parsers with it.

mod ops;

pub(super) use ops::Op;

use super::Limits;

/// What was parsed from a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The operations, each with the length of its argument part (publish direction only).
    pub(super) ops: Vec<(Op, usize)>,
    /// Why parsing failed: the word of [`super::Malformed`].
    pub(super) killed: Option<&'static str>,
}

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) limits: Limits,
    pub(super) headers: bool,
    pub(super) max_payload: Option<usize>,
}

enum State {
    Verb(Vec<u8>),
    Blanks(&'static str, usize),
    Arg(&'static str, Vec<u8>, Cr),
    Filling(&'static str, usize),
    Body(Op, Pending),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cr {
    Seen,
    NotSeen,
}

/// An incomplete body: sizes, the bytes so far with the trailer, the length of the argument part.
struct Pending {
    header: Option<usize>,
    total: usize,
    bytes: Vec<u8>,
    arg_len: usize,
}

const START: State = State::Verb(Vec::new());

/// Parses a client's stream.
pub(super) fn client(stream: &[u8], rules: &Rules) -> Outcome {
    let mut outcome = Outcome::default();
    let mut state = START;
    for &byte in stream {
        match client_byte(state, byte, rules, &mut outcome) {
            Ok(next) => state = next,
            Err(word) => {
                outcome.killed = Some(word);
                break;
            }
        }
    }
    outcome
}

type Next = Result<State, &'static str>;

fn client_byte(state: State, byte: u8, rules: &Rules, outcome: &mut Outcome) -> Next {
    match state {
        State::Verb(seen) => client_verb(seen, byte, rules, outcome),
        State::Blanks(verb, count) => match byte {
            b' ' | b'\t' if count >= rules.limits.max_control_line => Err("endless-filling"),
            b' ' | b'\t' => Ok(State::Blanks(verb, count.saturating_add(1))),
            b'\r' => Ok(State::Arg(verb, Vec::new(), Cr::Seen)),
            _ => Ok(State::Arg(verb, vec![byte], Cr::NotSeen)),
        },
        State::Arg(verb, arg, Cr::Seen) => match byte {
            b'\n' => client_line(verb, &arg, rules, outcome),
            _ => Err("carriage-return"),
        },
        State::Arg(verb, mut arg, Cr::NotSeen) => match byte {
            b'\n' => client_line(verb, &arg, rules, outcome),
            b'\r' => Ok(State::Arg(verb, arg, Cr::Seen)),
            _ if arg.len() >= rules.limits.max_control_line => Err("control-line-too-long"),
            _ => {
                arg.push(byte);
                Ok(State::Arg(verb, arg, Cr::NotSeen))
            }
        },
        State::Filling(verb, count) => match byte {
            b'\n' => {
                outcome.ops.push((
                    Op {
                        verb,
                        ..Op::default()
                    },
                    0,
                ));
                Ok(START)
            }
            _ if count >= rules.limits.max_control_line => Err("endless-filling"),
            _ => Ok(State::Filling(verb, count.saturating_add(1))),
        },
        State::Body(op, pending) => body_byte(op, pending, byte, outcome),
    }
}

const CLIENT_VERBS: [&str; 10] = [
    "PUB", "HPUB", "SUB", "UNSUB", "CONNECT", "INFO", "PING", "PONG", "+OK", "-ERR",
];

fn client_verb(mut seen: Vec<u8>, byte: u8, rules: &Rules, outcome: &mut Outcome) -> Next {
    let whole = CLIENT_VERBS.iter().find(|verb| verb.as_bytes() == seen);
    match whole {
        Some(&verb @ ("PING" | "PONG" | "+OK")) => {
            client_byte(State::Filling(verb, 0), byte, rules, outcome)
        }
        Some(&verb @ ("CONNECT" | "INFO")) => {
            client_byte(State::Blanks(verb, 0), byte, rules, outcome)
        }
        Some(&verb) if matches!(byte, b' ' | b'\t') => {
            client_byte(State::Blanks(verb, 0), byte, rules, outcome)
        }
        Some(_) => Err("unknown-operation"),
        None => {
            seen.push(byte.to_ascii_uppercase());
            if seen == b"HM" {
                return Err("server-verb");
            }
            let known = CLIENT_VERBS
                .iter()
                .any(|verb| verb.as_bytes().starts_with(&seen));
            if known {
                Ok(State::Verb(seen))
            } else {
                Err("unknown-operation")
            }
        }
    }
}

fn client_line(verb: &'static str, arg: &[u8], rules: &Rules, outcome: &mut Outcome) -> Next {
    let wrong = Err("arguments");
    let separators: &[u8] = if matches!(verb, "SUB" | "UNSUB") {
        b" \t\r\n"
    } else {
        b" \t"
    };
    let mut args: Vec<Vec<u8>> = arg
        .split(|b| separators.contains(b))
        .filter(|token| !token.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let (least, most, sizes) = match verb {
        "PUB" => (2, 3, 1),
        "HPUB" => (3, 4, 2),
        "SUB" => (2, 3, 0),
        "UNSUB" => (1, 2, 0),
        _ => {
            args = vec![arg.to_vec()];
            (1, 1, 0)
        }
    };
    if verb == "HPUB" && !rules.headers || args.len() < least || args.len() > most {
        return wrong;
    }
    let mut op = Op {
        verb,
        ..Op::default()
    };
    if sizes == 0 {
        op.args = args;
        outcome.ops.push((op, arg.len()));
        return Ok(START);
    }
    op.sizes = args.iter().rev().take(sizes).cloned().collect();
    args.truncate(args.len().saturating_sub(sizes));
    op.args = args;
    let Some((header, total)) = header_and_total(&op.sizes) else {
        return wrong;
    };
    if header.is_some_and(|header| header > total) {
        return wrong;
    }
    if rules.max_payload.is_some_and(|max| total > max) {
        return Err("payload-too-large");
    }
    Ok(body(op, header, total, arg.len()))
}

const fn body(op: Op, header: Option<usize>, total: usize, arg_len: usize) -> State {
    let bytes = Vec::new();
    State::Body(
        op,
        Pending {
            header,
            total,
            bytes,
            arg_len,
        },
    )
}

fn body_byte(mut op: Op, mut pending: Pending, byte: u8, outcome: &mut Outcome) -> Next {
    let over = pending.bytes.len().checked_sub(pending.total);
    match (over, byte) {
        (Some(0), b'\r') | (None, _) => {
            pending.bytes.push(byte);
            Ok(State::Body(op, pending))
        }
        (Some(1), b'\n') => {
            pending.bytes.truncate(pending.total);
            op.payload = pending.bytes.split_off(pending.header.unwrap_or(0));
            op.headers = pending.header.map(|_| pending.bytes);
            outcome.ops.push((op, pending.arg_len));
            Ok(START)
        }
        _ => Err("trailer"),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// The sizes as numbers, from the last one to the first.
fn header_and_total(sizes: &[Vec<u8>]) -> Option<(Option<usize>, usize)> {
    match sizes {
        [total] => Some((None, number(total)?)),
        [total, header] => Some((Some(number(header)?), number(total)?)),
        _ => None,
    }
}

const SERVER_VERBS: [&str; 7] = [
    "MSG ", "HMSG ", "INFO ", "-ERR ", "PING\r\n", "PONG\r\n", "+OK\r\n",
];

/// Parses a server's stream.
pub(super) fn server(stream: &[u8], limits: &Limits) -> Outcome {
    let mut outcome = Outcome::default();
    let mut state = START;
    for &byte in stream {
        match server_byte(state, byte, limits, &mut outcome) {
            Ok(next) => state = next,
            Err(word) => {
                outcome.killed = Some(word);
                break;
            }
        }
    }
    outcome
}

fn server_byte(state: State, byte: u8, limits: &Limits, outcome: &mut Outcome) -> Next {
    match state {
        State::Verb(mut seen) => {
            seen.push(byte);
            match SERVER_VERBS
                .iter()
                .find(|verb| verb.as_bytes().starts_with(&seen))
            {
                None => Err("unknown-operation"),
                Some(verb) if verb.len() > seen.len() => Ok(State::Verb(seen)),
                Some(&verb) if verb.ends_with(' ') => Ok(State::Arg(verb, Vec::new(), Cr::NotSeen)),
                Some(verb) => {
                    let verb = verb.trim_ascii_end();
                    outcome.ops.push((
                        Op {
                            verb,
                            ..Op::default()
                        },
                        0,
                    ));
                    Ok(START)
                }
            }
        }
        State::Arg(verb, arg, _) if byte == b'\n' && !arg.is_empty() => {
            server_line(verb, &arg, limits, outcome)
        }
        State::Arg(verb, mut arg, cr) => {
            arg.push(byte);
            if arg.len().saturating_add(verb.len()) > limits.max_server_line {
                return Err("control-line-too-long");
            }
            Ok(State::Arg(verb, arg, cr))
        }
        State::Body(op, pending) => body_byte(op, pending, byte, outcome),
        State::Blanks(..) | State::Filling(..) => Err("no such state"),
    }
}

fn server_line(verb: &'static str, line: &[u8], limits: &Limits, outcome: &mut Outcome) -> Next {
    let wrong = Err("arguments");
    let Some(arg) = line.strip_suffix(b"\r") else {
        return wrong;
    };
    let mut op = Op {
        verb: verb.trim_ascii_end(),
        ..Op::default()
    };
    if matches!(op.verb, "INFO" | "-ERR") {
        op.args = vec![arg.to_vec()];
        outcome.ops.push((op, 0));
        return Ok(START);
    }
    let mut args: Vec<Vec<u8>> = arg.split(|&b| b == b' ').map(<[u8]>::to_vec).collect();
    let sizes = if op.verb == "HMSG" { 2 } else { 1 };
    let sizes: Vec<_> = args.iter().rev().take(sizes).cloned().collect();
    args.truncate(args.len().saturating_sub(sizes.len()));
    let Some((header, total)) = header_and_total(&sizes) else {
        return wrong;
    };
    if args.len() == 3 && args.last().is_some_and(Vec::is_empty) {
        args.pop(); // the server's own messages have an empty reply
    }
    let has_tab = args.iter().skip(1).any(|arg| arg.contains(&b'\t'));
    let whole = matches!(args.len(), 2 | 3) && !args.iter().any(Vec::is_empty) && !has_tab;
    if !whole || header.is_some_and(|header| header > total) {
        return wrong;
    }
    if total > limits.max_message {
        return Err("payload-too-large");
    }
    op.args = args;
    Ok(body(op, header, total, 0))
}
