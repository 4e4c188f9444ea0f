//! JSON of the server: message-trace events and API responses of nats-server 2.12.8, 2.14.6 and 2.15.1.

use super::super::jetstream::{is_api_response, is_trace_event};

const SERVER: &str = r#""server":{"name":"bus","host":"127.0.0.1","id":"NAF6","ver":"2.15.1","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false},"jetstream":true,"flags":7,"seq":22,"time":"2026-11-29T15:13:51.186338864Z"}"#;
const REQUEST: &str = r#""request":{"header":{"Bad":["\ufffd\u0001"],"Nats-Trace-Dest":["t.a"],"X":["\"q\\\u003cé","2"]},"msgsize":60}"#;
const STEPS: [&str; 8] = [
    r#"{"type":"in","ts":"2026-11-29T15:13:51.186276518Z","kind":0,"cid":7,"name":"my é app","acc":"A","subj":"map.x"}"#,
    r#"{"type":"in","ts":"2026-11-29T15:13:51Z","kind":0,"cid":7,"acc":"A","subj":"","error":"maximum payload exceeded"}"#,
    r#"{"type":"sm","ts":"2026-11-29T15:13:51Z","to":"mapped.x"}"#,
    r#"{"type":"se","ts":"2026-11-29T15:13:52Z","acc":"B","to":"from.st.x"}"#,
    r#"{"type":"si","ts":"2026-11-29T15:13:52Z","acc":"A","from":"svc.x","to":"svc.x"}"#,
    r#"{"type":"js","ts":"2026-11-29T15:13:51Z","stream":"S","subject":"js.none.\u003e"}"#,
    r#"{"type":"js","ts":"2026-11-29T15:13:51Z","stream":"S","error":"last sequence mismatch: 99 vs 1"}"#,
    r#"{"type":"eg","ts":"2026-11-29T15:13:51Z","kind":0,"cid":7,"name":"n","hop":"1","acc":"B","sub":"mapped.\u003e","queue":"q","error":"no"}"#,
];

fn event(steps: &str) -> String {
    format!("{{{SERVER},{REQUEST},\"events\":[{steps}]}}")
}

#[test]
fn trace_event_of_the_server_is_one() {
    for step in STEPS {
        assert!(is_trace_event(event(step).as_bytes()), "{step}");
    }
    let all = event(&STEPS.join(","));
    assert!(is_trace_event(all.as_bytes()));
    let routed = all.replace(r#","events""#, r#","hops":2,"events""#);
    assert!(is_trace_event(routed.as_bytes()));
    let old = all.replace(
        r#","feature_flags":{"js_ack_fc_v2":false,"js_api_reply_v2":false}"#,
        r#","cluster":"c","domain":"d","tags":["a"],"metadata":{"a":"b"}"#,
    );
    assert!(is_trace_event(old.as_bytes()) && old != all);
}

#[test]
fn anything_but_a_trace_event_is_none() {
    let good = event(STEPS[0]);
    assert!(is_trace_event(good.as_bytes()));
    let wrong = [
        (r#""events":["#, r#""event":["#),
        (r#""events":["#, r#""order":"buy","events":["#),
        (r#""events":["#, r#""events":[],"events":["#),
        (r#""server""#, r#""Server""#),
        (r#""ver":"2.15.1","#, ""),
        (r#""seq":22"#, r#""seq":"22""#),
        (r#""seq":22"#, r#""seq":-22"#),
        (r#""jetstream":true"#, r#""jetstream":1"#),
        (r#""msgsize":60"#, r#""msgsize":60,"payload":"x""#),
        (r#"["t.a"]"#, r#""t.a""#),
        (r#"["t.a"]"#, "[]"),
        (r#""type":"in","#, r#""type":"out","#),
        (r#""type":"in","#, r#""type":"in","type":"in","#),
        (r#""type":"in","#, r#""type":"eg","#),
        (r#","subj":"map.x""#, ""),
        (r#"my é app"#, "my \n app"),
    ];
    for (from, to) in wrong {
        let other = good.replacen(from, to, 1);
        assert_ne!(other, good, "{from}");
        assert!(!is_trace_event(other.as_bytes()), "{other}");
    }
    for other in [
        event(""),
        format!("{good}x"),
        format!(" {good}"),
        "{}".to_owned(),
        String::new(),
        format!("[{good}]"),
    ] {
        assert!(!is_trace_event(other.as_bytes()), "{other}");
    }
}

#[test]
fn answer_of_the_api_says_its_type() {
    for answer in [
        r#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0}"#,
        r#"{"type":"io.nats.jetstream.api.v1.consumer_unpin_response"}"#,
        r#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"type":"x"}}"#,
    ] {
        assert!(is_api_response(answer.as_bytes()), "{answer}");
    }
    for other in [
        "",
        "{}",
        r#"{"type":"io.nats.jetstream.api.v1._response"}"#,
        r#"{"type":"io.nats.jetstream.api.v1.Pay me_response"}"#,
        r#"{"type":"io.nats.jetstream.advisory.v1.x_response"}"#,
        r#"{"TYPE":"io.nats.jetstream.api.v1.stream_info_response"}"#,
        r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","type":"order"}"#,
        r#"{"type":"io.nats.jetstream.api.v1.stream_info_response"}x"#,
        r#"["io.nats.jetstream.api.v1.stream_info_response"]"#,
        r#"{"order":{"type":"io.nats.jetstream.api.v1.stream_info_response"}}"#,
    ] {
        assert!(!is_api_response(other.as_bytes()), "{other}");
    }
}
