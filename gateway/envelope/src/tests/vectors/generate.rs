//! Writes `docs/envelope-vectors.json`: `cargo test -p keyway-envelope vectors_are_written -- --ignored`.

use super::{File, Possession, Refusal, Vector, bytes, hex, published};
use crate::aead::aws::Aws;
use crate::{Claim, LaneId};

const ABOUT: &str = "Test vectors of Keyway's envelope, format 1; docs/envelope.md explains every field. Bytes are hex; keyring, subject and member are UTF-8 text; a null subject, request (`answers`: lane id, then counter) or reply subject means: not bound to one (in `opens`) or none known (in `refused`).";

const SUBJECT: &str = "agents.alice.tasks";

#[test]
#[ignore = "writes the published data file"]
fn vectors_are_written() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/envelope-vectors.json"
    );
    std::fs::write(path, text()).unwrap();
}

#[test]
fn published_file_is_what_the_generator_writes() {
    let published = serde_json::to_string_pretty(&published()).unwrap();
    assert_eq!(published, text().trim_end());
}

fn text() -> String {
    let opens: Vec<Vector> = (1..=2).flat_map(of_suite).collect();
    let file = File {
        about: ABOUT.to_owned(),
        refused: opens
            .iter()
            .filter(|v| v.name.ends_with("bound, 17 bytes"))
            .flat_map(refusals)
            .chain(opens.iter().flat_map(refusals_of_requests))
            .collect(),
        proofs: vec![
            proof(&opens[0], "gateway-1", 1),
            proof(&opens[0], "gätewäy", u64::from(u32::MAX) + 1),
        ],
        opens,
    };
    let mut text = serde_json::to_string_pretty(&file).unwrap();
    text.push('\n');
    text
}

/// The vectors of one suite; the first is the one that the page shows.
fn of_suite(suite: u8) -> Vec<Vector> {
    let suite_name = ["", "gcm", "gcm-siv"][usize::from(suite)];
    let mut all = vec![vector(suite, &format!("{suite_name}, bound, greeting"))];
    all[0].plaintext = hex(b"hello from keyway");
    for subject in [Some(SUBJECT), None] {
        for size in [0, 1, 15, 16, 17, 1000] {
            let bound = subject.map_or("not bound", |_| "bound");
            let name = format!("{suite_name}, {bound}, {size} bytes");
            let counter = u32::try_from(all.len()).unwrap();
            all.push(Vector {
                subject: subject.map(str::to_owned),
                plaintext: hex(&payload(size)),
                counter,
                ..vector(suite, &name)
            });
        }
    }
    all.push(Vector {
        subject: Some("agents.søren.日本語.🔑".to_owned()),
        ..vector(
            suite,
            &format!("{suite_name}, bound to a subject beyond ASCII"),
        )
    });
    all.push(Vector {
        subject: Some(format!("agents.{}", "long.".repeat(200))),
        ..vector(
            suite,
            &format!("{suite_name}, bound to a subject of 1007 bytes"),
        )
    });
    all.push(Vector {
        counter: (1 << 24) - 1,
        ..vector(suite, &format!("{suite_name}, last counter of a lane"))
    });
    all.push(Vector {
        keyring: "payments_eu-2".to_owned(),
        number: 0x0102_0304,
        root: hex(&[0xFF; 32]),
        lane: LaneId([0xFF; 16]).to_string(),
        ..vector(
            suite,
            &format!("{suite_name}, another key version and lane"),
        )
    });
    all.extend(of_requests(suite, suite_name));
    all.iter().map(Vector::derived::<Aws>).collect()
}

/// Envelopes of requests and answers.
fn of_requests(suite: u8, suite_name: &str) -> [Vector; 6] {
    let request = || Some(hex(&[&[0xB7; 16][..], &[0, 0, 1, 2]].concat()));
    let inbox = || Some("_INBOX.alice.1".to_owned());
    let named = |what: &str| vector(suite, &format!("{suite_name}, {what}"));
    [
        Vector {
            answers: request(),
            subject: inbox(),
            ..named("answers a request")
        },
        Vector {
            answers: request(),
            subject: None,
            ..named("answers a request, bound to nothing else")
        },
        Vector {
            answers: Some(hex(&[0; 20])),
            subject: inbox(),
            ..named("answers a request without a payload")
        },
        Vector {
            passes_on: true,
            ..named("passes a request on")
        },
        Vector {
            reply: inbox(),
            ..named("bound to its reply subject")
        },
        Vector {
            reply: Some(format!("agents.{}", "long.".repeat(200))),
            answers: request(),
            passes_on: true,
            ..named("bound to everything")
        },
    ]
}

/// Inputs that most vectors share; the rest is derived later.
fn vector(suite: u8, name: &str) -> Vector {
    let count = |from: u8, to: u8| (from..to).collect::<Vec<u8>>();
    Vector {
        name: name.to_owned(),
        root: hex(&count(0x00, 0x20)),
        keyring: "agents".to_owned(),
        number: 3,
        suite,
        lane: hex(&count(0xA0, 0xB0)),
        counter: 0,
        subject: Some(SUBJECT.to_owned()),
        answers: None,
        passes_on: false,
        reply: None,
        plaintext: hex(&payload(40)),
        salt: String::new(),
        prk: String::new(),
        commitment: String::new(),
        kid: String::new(),
        confirm: String::new(),
        key: String::new(),
        iv: String::new(),
        nonce: String::new(),
        aad: String::new(),
        envelope: String::new(),
    }
}

fn payload(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// One envelope for each defect.
fn refusals(good: &Vector) -> Vec<Refusal> {
    let refusal = |what: &str, subject: Option<&str>, envelope: Vec<u8>, expect: &str| Refusal {
        name: format!("{}: {what}", good.name),
        from: good.name.clone(),
        subject: subject.map(str::to_owned),
        answers: None,
        reply: None,
        envelope: hex(&envelope),
        expect: expect.to_owned(),
    };
    let bound = good.subject.as_deref();
    let whole = bytes(&good.envelope);
    let cut = |len: usize| whole[..len].to_vec();
    let mut all: Vec<Refusal> = flips()
        .into_iter()
        .map(|(what, at, bits, expect)| {
            let mut envelope = whole.clone();
            envelope[at] ^= bits;
            refusal(what, bound, envelope, expect)
        })
        .collect();
    let mut reserved = whole.clone();
    reserved[2] = 0x13;
    all.push(refusal("suite 3", bound, reserved, "reserved_suite"));
    all.push(refusal(
        "last byte missing",
        bound,
        cut(whole.len() - 1),
        "open_failed",
    ));
    all.push(refusal("only 47 bytes", bound, cut(47), "short"));
    all.push(refusal("only the magic", bound, cut(2), "short"));
    all.push(refusal("nothing", bound, cut(0), "magic"));
    all.push(refusal(
        "one byte added",
        bound,
        [whole.as_slice(), &[0]].concat(),
        "open_failed",
    ));
    if bound.is_some() {
        let wrong = [
            ("another subject", Some("agents.bob.tasks")),
            ("subject in another case", Some("agents.Alice.tasks")),
            ("start of the subject", Some("agents.alice.task")),
            ("empty subject", Some("")),
            ("no subject", None),
        ];
        all.extend(
            wrong.map(|(what, subject)| refusal(what, subject, whole.clone(), "open_failed")),
        );
    }
    all
}

/// What is bound to a request or a reply subject, with another, with none, and under other flags.
fn refusals_of_requests(good: &Vector) -> Vec<Refusal> {
    let refusal = |what: &str| Refusal {
        name: format!("{}: {what}", good.name),
        from: good.name.clone(),
        subject: good.subject.clone(),
        answers: good.answers.clone(),
        reply: good.reply.clone(),
        envelope: good.envelope.clone(),
        expect: "open_failed".to_owned(),
    };
    let mut all = Vec::new();
    if let Some(request) = &good.answers {
        let altered = |at: usize| {
            let mut id = bytes(request);
            id[at] ^= 1;
            Some(hex(&id))
        };
        for (what, answers) in [
            ("no request", None),
            ("a request of another lane", altered(0)),
            ("another request of the lane", altered(19)),
        ] {
            all.push(Refusal {
                answers,
                ..refusal(what)
            });
        }
    }
    if good.reply.is_some() {
        for (what, reply) in [
            ("no reply subject", None),
            ("another reply subject", Some("_INBOX.bob.1".to_owned())),
        ] {
            all.push(Refusal {
                reply,
                ..refusal(what)
            });
        }
    }
    if good.passes_on {
        let mut envelope = bytes(&good.envelope);
        envelope[3] ^= 0x04;
        all.push(Refusal {
            envelope: hex(&envelope),
            ..refusal("as if it were not passed on")
        });
    }
    all
}

/// Field, byte offset, flipped bits, and the expected error.
fn flips() -> [(&'static str, usize, u8, &'static str); 23] {
    [
        ("first magic byte", 0, 0x01, "magic"),
        ("second magic byte", 1, 0x80, "magic"),
        ("format 0", 2, 0x10, "version"),
        ("format 3", 2, 0x20, "version"),
        ("suite 9 or 10", 2, 0x08, "unknown_suite"),
        ("the other suite", 2, 0x03, "open_failed"),
        ("binding flag", 3, 0x01, "open_failed"),
        ("flag of an answer", 3, 0x02, "open_failed"),
        (
            "flag of a request that is passed on",
            3,
            0x04,
            "open_failed",
        ),
        ("flag of a reply subject", 3, 0x08, "open_failed"),
        ("reserved flag 4", 3, 0x10, "flags"),
        ("reserved flag 7", 3, 0x80, "flags"),
        ("first bit of the kid", 4, 0x80, "unknown_kid"),
        ("last bit of the kid", 11, 0x01, "unknown_kid"),
        ("first bit of the lane id", 12, 0x80, "open_failed"),
        ("last bit of the lane id", 27, 0x01, "open_failed"),
        ("first bit of the counter", 28, 0x80, "open_failed"),
        ("last bit of the counter", 31, 0x01, "open_failed"),
        ("first bit of the ciphertext", 32, 0x80, "open_failed"),
        ("last bit of the ciphertext", 48, 0x01, "open_failed"),
        ("first bit of the tag", 49, 0x80, "open_failed"),
        ("middle bit of the tag", 57, 0x10, "open_failed"),
        ("last bit of the tag", 64, 0x01, "open_failed"),
    ]
}

fn proof(from: &Vector, member: &str, epoch: u64) -> Possession {
    use hkdf::hmac::{Hmac, KeyInit, Mac};
    let challenge = [0xC4; 32];
    let claim = Claim {
        member,
        epoch,
        challenge,
    };
    let message = claim.encode();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&bytes(&from.confirm)).unwrap();
    mac.update(&message);
    Possession {
        from: from.name.clone(),
        member: member.to_owned(),
        epoch,
        challenge: hex(&challenge),
        message: hex(&message),
        proof: hex(&mac.finalize().into_bytes()),
    }
}
