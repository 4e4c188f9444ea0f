//! Properties of edits of headers, INFO and CONNECT, compared with `serde_json`.

use std::collections::BTreeMap;

use super::check_json::{Json, go_fold};
use super::connect::Connect;
use super::info::{self, Info, Tls};
use super::{Buffer, NotAnObject, header};

/// An object's members in their order, duplicates included.
type Pairs = Vec<(String, Json)>;

/// Header edits: only the value of the first header of that name changes, and reading finds what was written.
///
/// # Panics
/// When it does not hold.
pub fn header_edit_holds(data: &[u8]) {
    let (choice, block) = data.split_first().unwrap_or((&0, &[]));
    let own = header::iter(block)
        .nth(usize::from(*choice) % 4)
        .map(|(name, _)| name);
    let name = own.unwrap_or(b"Nats-Msg-Size");
    if let Some(written) = header::direct_get_headers(block) {
        let sequence = written.sequence.to_string();
        let lines = [
            b"Nats-Stream: ".as_slice(),
            written.stream,
            b"\r\nNats-Subject: ",
            written.subject,
            b"\r\nNats-Sequence: ",
            sequence.as_bytes(),
            b"\r\nNats-Time-Stamp: ",
        ];
        assert!(memchr::memmem::find(block, &lines.concat()).is_some());
    }
    let present = header::iter(block).any(|(key, _)| key == name);
    for value in [&b"4711"[..], b""] {
        let mut out = Buffer::new();
        header::replace(block, name, value, &mut out);
        let edited = out.filled();
        let expected = naive_replace(block, name, value);
        assert_eq!(edited, expected, "{value:?} in {name:?} of {block:?}");
        assert_eq!(header::status(edited), header::status(block));
        if present {
            assert_eq!(header::get(edited, name), Some(value));
        } else {
            assert_eq!(edited, block);
        }
    }
}

/// The same edit by cutting the block into lines.
fn naive_replace(block: &[u8], name: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = block;
    let mut open = block.starts_with(b"NATS/1.0");
    let mut first = true;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, tail) = rest
            .split_at_checked(end.saturating_add(2))
            .unwrap_or((rest, &[]));
        rest = tail;
        open &= line != b"\r\n";
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let (key, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        if open && !first && key == name && !value.is_empty() {
            let blanks = value.iter().skip(1).take_while(|&&b| b == b' ').count();
            let before = value.iter().take(blanks.saturating_add(1));
            out.extend(key.iter().chain(before).chain(new));
            out.extend(b"\r\n");
            open = false;
        } else {
            out.extend(line);
        }
        first = false;
    }
    out.extend(rest);
    out
}

/// INFO and CONNECT: every object that `serde_json` accepts is read and edited as Go's decoder would read it; everything else
/// passes byte for byte.
///
/// # Panics
/// When it does not hold.
pub fn info_connect_edit_holds(data: &[u8]) {
    let mut written = Buffer::new();
    let info = Info::read(data);
    let rewritten = info::rewrite(data, &EDITS, &mut written);
    assert_eq!(rewritten.is_ok(), info.is_ok());
    assert!(
        rewritten.is_ok() || written.is_empty(),
        "a refused INFO was written"
    );
    let mut stripped = Buffer::new();
    let mut options = Connect::default();
    let taken = options.apply(data, None, &mut stripped);
    let options = taken.map(|_credentials| options);
    let Some(pairs) = pairs_of(data) else {
        return;
    };
    info_matches(&pairs, rewritten, written.filled());
    if pairs.len() > 256 || depth(data) > 17 {
        return assert!(options.is_err(), "a CONNECT of any size");
    }
    if !pairs.iter().any(|(_, value)| value.has_negative_zero()) {
        assert_eq!(options.ok(), go_connect(&pairs), "{pairs:?}");
    }
    let expected: Vec<_> = pairs
        .iter()
        .filter(|(key, _)| go_fold(key) != "proxy_sig")
        .cloned()
        .collect();
    assert_eq!(pairs_of(stripped.filled()).as_ref(), Some(&expected));
    assert!(
        expected.len() != pairs.len() || stripped.filled() == data,
        "an unedited CONNECT changed"
    );
}

/// How many brackets stand around the innermost value of a JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth = depth.saturating_add(1),
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = depth.max(most);
    }
    most
}

const EDITS: info::Edits<'static> = info::Edits {
    overhead: 48,
    host: "gate\"way",
    port: 4223,
    connect_urls: &[],
    client_ip: "192.0.2.1",
    tls: Tls::Available,
    lame_duck: false,
};

fn info_matches(pairs: &Pairs, rewritten: Result<(), NotAnObject>, written: &[u8]) {
    assert_eq!(rewritten, Ok(()), "{pairs:?}");
    let mut seen: Vec<String> = Vec::new();
    let mut expected: Pairs = Vec::new();
    for (key, value) in pairs {
        let name = go_fold(key);
        let ours = match name.as_str() {
            "max_payload" => match value.natural() {
                Some(max) if max > 0 => Json::from(max.saturating_sub(48)),
                _ => value.clone(),
            },
            "host" => Json::from(EDITS.host),
            "port" => Json::from(u64::from(EDITS.port)),
            "client_ip" => Json::from("192.0.2.1"),
            "tls_available" => Json::Flag(true),
            "connect_urls" | "ws_connect_urls" | "tls_required" | "tls_verify" => continue,
            "ldm" => value.clone(),
            _ => {
                expected.push((key.clone(), value.clone()));
                continue;
            }
        };
        let kept = ours == *value && matches!(name.as_str(), "max_payload" | "ldm");
        if !seen.contains(&name) {
            expected.push((if kept { key.clone() } else { name.clone() }, ours));
            seen.push(name);
        }
    }
    if !seen.contains(&"tls_available".to_owned()) {
        expected.push(("tls_available".to_owned(), Json::Flag(true)));
    }
    assert_eq!(pairs_of(written).as_ref(), Some(&expected));
}

/// What Go would decode into the server's options; `None` where it fails.
fn go_connect(pairs: &Pairs) -> Option<Connect> {
    let mut last = BTreeMap::new();
    for (key, value) in pairs {
        let name = go_fold(key);
        let fits = match name.as_str() {
            "verbose" | "pedantic" | "echo" | "headers" | "no_responders" | "tls_required"
            | "new_account" => matches!(value, Json::Flag(_)),
            "protocol" => value.integer().is_some(),
            "import" | "export" => matches!(value, Json::Object(_)),
            "nkey" | "jwt" | "sig" | "auth_token" | "user" | "pass" | "name" | "lang"
            | "version" | "account" | "remote_account" | "proxy_sig" => {
                matches!(value, Json::Text(_))
            }
            _ => continue,
        };
        if *value == Json::Null {
            continue;
        }
        if !fits {
            return None;
        }
        last.insert(name, value.clone());
    }
    let canonical = Json::Object(last.into_iter().collect()).to_string();
    let mut options = Connect::default();
    let taken = options.apply(canonical.as_bytes(), None, &mut Buffer::new());
    taken.is_ok().then_some(options)
}

fn pairs_of(json: &[u8]) -> Option<Pairs> {
    let Json::Object(pairs) = Json::parse(json)? else {
        return None;
    };
    Some(pairs)
}
