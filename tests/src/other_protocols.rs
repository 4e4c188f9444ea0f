//! What hostile clients send: random bytes, and the first bytes of other protocols.

/// Pseudorandom bytes of this seed.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_be_bytes()
    };
    (0..count.div_ceil(8)).flat_map(next).take(count).collect()
}

/// A TLS record of this content type.
pub fn tls_record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1][..], &length, content].concat()
}

/// The `ClientHello` of a TLS 1.2 client.
pub fn client_hello() -> Vec<u8> {
    let suites = b"\x00\x04\xc0\x2b\xc0\x2f\x01\x00\x00\x00";
    let body = [&[3, 3][..], &noise(1, 32), &[0], suites].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let [_, length @ ..] = length;
    tls_record(0x16, &[&[1][..], &length, &body].concat())
}

/// The first bytes of other protocols, with their names.
pub fn other_protocols() -> Vec<(&'static str, Vec<u8>)> {
    let websocket = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: nats\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let leaf = b"CONNECT {\"server_id\":\"x\",\"server_name\":\"x\",\"is_spoke\":true,\"cluster\":\"c\"}\r\nLS+ >\r\n";
    let info =
        b"INFO {\"server_id\":\"x\",\"version\":\"2.12.0\",\"gateway\":\"B\",\"nonce\":\"x\"}\r\n";
    let mut all = vec![
        ("http_get", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        (
            "http_post",
            b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"why\":\"x\"}".to_vec(),
        ),
        ("websocket", websocket.to_vec()),
        ("http_2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("tls_hello", client_hello()),
        ("tls_alert", tls_record(0x15, b"\x02\x28")),
        ("tls_data", tls_record(0x17, &noise(2, 200))),
        ("leafnode", leaf.to_vec()),
        ("leafnode_info", [&info[..], leaf].concat()),
        ("route", [&info[..], b"RS+ A foo\r\n"].concat()),
        ("gateway", [&info[..], b"RS- A foo\r\n"].concat()),
        ("route_message", b"RMSG A foo 2\r\nhi\r\n".to_vec()),
        ("leaf_message", b"LMSG foo 2\r\nhi\r\n".to_vec()),
        ("account_verb", b"A+ A\r\n".to_vec()),
        ("delivery", b"MSG a 1 2\r\nhi\r\n".to_vec()),
        (
            "delivery_with_headers",
            b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n".to_vec(),
        ),
        ("ssh", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("proxy_v1", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".to_vec()),
        ("proxy_v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()),
    ];
    for seed in 0..16 {
        // Behind this first byte random bytes are never a valid beginning.
        all.push(("noise", [&noise(seed, 512)[..], b"\r\n\0\r\n"].concat()));
    }
    all
}
