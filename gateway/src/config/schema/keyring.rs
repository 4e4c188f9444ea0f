//! The keys of a keyring.

use strum::VariantNames;

use super::key::Default::{Described, Required, Value};
use super::key::Kind::{
    Boolean, Count, Date, Duration, ShorterThan, Size, Table, Tables, Text, Texts, Words,
};
use super::key::TakesEffect::{AtReload, AtRestart, ByKey};
use super::key::{DAY, Key, MILLISECOND, MONTH, SECOND, TEN_YEARS, ZERO, keys};
use crate::envelope::Suite;
use crate::policy::{Answers, AtLimit, Empty, Substitute};
use crate::rotation::{DestroyApproval, Retain};

keys! {
    "keyring": Tables, Described(r#"one keyring: `name = "default"`, `subjects = ">"`"#), AtReload;
        "[[keyring]]";
        "A set of subjects and the keys that seal them. Of several patterns that match a subject, the most specific decides."
    "keyring[].name": Text("1 to 63 of a-z, 0-9, `-`, `_`; not `-` or `_` first"), Required, AtRestart;
        r#"name = "agents""#;
        "The keyring's name, unique in the file. Keys are derived from it: a renamed keyring is another keyring."
    "keyring[].subjects": Texts("subject; `*` is one token, a final `>` one or more"), Required, AtReload;
        r#"subjects = ["agents.>", "tools.*.call"]"#;
        "What is sealed. A pattern can stand in one keyring only. Replies (`_INBOX.>`) follow their request unless a pattern names `_INBOX` itself."
    "keyring[].suite": Words(&[Suite::Aes256Gcm.name(), Suite::Aes256GcmSiv.name()]), Value(r#""aes-256-gcm""#), AtReload;
        r#"suite = "aes-256-gcm-siv""#;
        "What new key versions seal with. GCM-SIV costs more, and forgives a host whose memory is snapshotted and resumed."
    "keyring[].rotate": Table, Described("every default"), ByKey;
        r#"rotate = { after = "24h" }"#;
        "When a key version is replaced: the first threshold that is reached."
    "keyring[].rotate.after": Duration(SECOND, TEN_YEARS), Value(r#""24h""#), AtReload;
        r#"rotate = { after = "24h" }"#;
        "The cryptoperiod: how long a key version seals."
    "keyring[].rotate.jitter": Count("percent of `after`", 0, 50), Value("10"), AtReload;
        r#"rotate = { after = "24h", jitter = 10 }"#;
        "How much earlier than `after` a version may be replaced: each draws its own part of it, so that many keyrings do not rotate at once."
    "keyring[].rotate.messages": Count("messages", 1, u64::MAX), Value("1_000_000_000"), AtReload;
        "rotate = { messages = 1_000_000_000 }";
        "Messages sealed under one key version. Below `limit.messages`."
    "keyring[].rotate.bytes": Size(1, u64::MAX), Value(r#""1 TiB""#), AtReload;
        r#"rotate = { bytes = "1 TiB" }"#;
        "Bytes of payload sealed under one key version. Below `limit.bytes`."
    "keyring[].limit": Table, Described("every default"), ByKey;
        "limit = { messages = 4_294_967_296 }";
        "What a key version may seal at most, whatever happens. Checked against the bound of the cipher."
    "keyring[].limit.messages": Count("messages", 1, u64::MAX), Value("4_294_967_296"), AtReload;
        "limit = { messages = 4_294_967_296 }";
        "Messages."
    "keyring[].limit.bytes": Size(1, u64::MAX), Value(r#""4 TiB""#), AtReload;
        r#"limit = { bytes = "4 TiB" }"#;
        "Bytes of payload."
    "keyring[].overlap": Duration(ZERO, TEN_YEARS), Value(r#""10m""#), AtReload;
        r#"overlap = "10m""#;
        "How long a replaced key version is kept loaded to open what is on its way."
    "keyring[].open-suspended": Boolean, Value("true"), AtReload;
        "open-suspended = false";
        "Whether a version that an operator has suspended still opens what was sealed under it."
    "keyring[].open-compromised": Boolean, Value("false"), AtReload;
        "open-compromised = true";
        "Whether a compromised version still opens what was sealed under it: whoever has the secret may have sealed it too."
    "keyring[].retain": Words(Retain::VARIANTS), Value(r#""destroy""#), AtReload;
        r#"retain = "archive""#;
        "After the overlap: opened on demand until nothing stored can need it, then destroyed; opened on demand for good; or destroyed at once, whatever is stored."
    "keyring[].hold": Duration(ZERO, TEN_YEARS), Value(r#""24h""#), AtReload;
        r#"hold = "7d""#;
        r#"With `retain = "destroy"`: how long after the end of the overlap the gateway destroys nothing by itself, whatever the server says is stored. An operator's own order is not held."#
    "keyring[].destroy": Words(DestroyApproval::VARIANTS), Value(r#""automatic""#), AtReload;
        r#"destroy = "approved""#;
        r#"Who has to agree before a secret is destroyed: nobody else, or somebody else than whoever wants it, be that the gateway or an operator: `keyway destroy --approve`. Not with `retain = "shred"`."#
    "keyring[].bind": Words(&["subject", "keyring"]), Value(r#""subject""#), AtReload;
        r#"bind = "keyring""#;
        "What an envelope is bound to. With `subject`, one that was moved to another subject does not open."
    "keyring[].answers": Words(&["bound", "unbound"]), Value(r#""bound""#), AtReload;
        r#"answers = "unbound""#;
        r#"Whether what answers a sealed request opens for that request alone, on the connection that has asked it. `unbound`: for agents that ask on one connection and listen on another; then a request that is sent again by somebody on the bus can be answered to another requester. Such an answer opens there by the inbox that it is bound to: with `bind = "keyring"` it is bound to none, and opens only where it was asked for."#
    "keyring[].aliases": Tables, Described("none"), AtReload;
        r#"aliases = [{ from = "orders.*", to = "eu.orders.*" }]"#;
        r#"Subjects that the bus renames on the way: see above. Only with `bind = "subject"`."#
    "keyring[].aliases[].from": Text("subject with or without wildcards"), Required, AtReload;
        r#"from = "orders.*""#;
        "The subject that is published on, as the publisher writes it; covered by `subjects`."
    "keyring[].aliases[].to": Text("subject with the same wildcards"), Required, AtReload;
        r#"to = "eu.orders.*""#;
        "The subject that is delivered on, as the subscriber sees it; covered by `subjects`. Its wildcards stand for those of `from` in their order."
    "keyring[].publish-by": Texts("`KIND:NAME`, or `KIND:*` for any name of the kind; see [identity.md](identity.md)"), Described("everybody"), AtReload;
        r#"publish-by = ["user:planner", "nkey:UBMNFGRWUSB7Q2OWAKFV2AIUSC4G5OL3J2QGO7BGIW545YNTAGRQ6VSK"]"#;
        "Who may publish on the keyring's subjects, and answer what was sealed under it: a client that has proven one of these names. An empty list: nobody. A publish of anybody else, also an empty one, is refused with the error that the server has for it. Kinds: `nkey`, `user`, `account`; of a client certificate `subject`, `dns`, `uri`, `email`."
    "keyring[].deliver-to": Texts("as `publish-by`"), Described("everybody"), AtReload;
        r#"deliver-to = ["account:*"]"#;
        "Who may get what is sealed under the keyring, and what comes on its subjects: a client that has proven one of these names. An empty list: nobody. From anybody else it is withheld, and a subscription that lies within the keyring's subjects is refused with the error that the server has for it."
    "keyring[].plaintext": Words(&["reject", "accept"]), Value(r#""reject""#), AtReload;
        r#"plaintext = "accept""#;
        "A plaintext that arrives on a protected subject: withheld and counted, or delivered while a migration lasts."
    "keyring[].until": Date("the last day, in UTC"), Described("none"), AtReload;
        "until = 2027-06-30";
        r#"How long plaintext is accepted. Needed with `plaintext = "accept"`; a gateway does not start with a date that has passed. Once it has, it stays so, whatever the clock shows later; give a later date to accept plaintext again."#
    "keyring[].reply": Words(Answers::VARIANTS), Value(r#""either""#), AtReload;
        r#"reply = "puback""#;
        "What may answer a request on the keyring's subjects: envelopes alone; JetStream's acknowledgement of a publish and no envelope; or both. An acknowledgement is known by its form alone, so that whoever may publish to an inbox can forge one unless this is `sealed`. Other plaintext is withheld, unless `plaintext` accepts it; a status passes, and so does an empty answer."
    "keyring[].empty": Words(Empty::VARIANTS), Value(r#""pass""#), AtReload;
        r#"empty = "seal""#;
        "Empty payloads: left alone, or sealed when published, and withheld when they arrive unsealed. What NATS gives a meaning to passes all the same: statuses, answers, and whatever has a header `Nats-…` or `KV-Operation`. While `plaintext` is accepted, unsealed ones are not withheld."
    "keyring[].undecryptable": Table, Described("every default"), ByKey;
        r#"undecryptable = { nak-delay = "5s" }"#;
        "What becomes of a delivery that is withheld, because its envelope does not open or because it is plaintext. It is counted with its cause in any case."
    "keyring[].undecryptable.deliver": Words(Substitute::VARIANTS), Value(r#""nothing""#), AtReload;
        r#"undecryptable = { deliver = "envelope" }"#;
        "What the client gets: nothing, and what comes from a stream is not acknowledged; or, for debugging, the envelope as it is, for the client to acknowledge, with a header `Keyway-Undecryptable` that names the cause. Rejected plaintext is delivered empty. A warning at every start says so."
    "keyring[].undecryptable.nak-delay": ShorterThan("limit", MILLISECOND, DAY), Described("none: the server delivers it again after the consumer's `ack_wait`"), AtReload;
        r#"undecryptable = { nak-delay = "5s" }"#;
        "A withheld delivery from a stream is refused with `-NAK`, and the server delivers it again after this delay. Each time counts towards the consumer's `max_deliver`."
    "keyring[].undecryptable.limit": Duration(SECOND, MONTH), Described("none: withheld for ever"), AtReload;
        r#"undecryptable = { limit = "5m", at-limit = "envelope" }"#;
        "How long one message of a stream may be withheld, from its first delivery on, before its consumer gets past it. Looked at whenever the server delivers the message again, after `nak-delay` or `ack_wait` or when an ordered consumer begins anew; each worker counts for itself, and a restart begins anew. Needs `at-limit`."
    "keyring[].undecryptable.at-limit": Words(AtLimit::VARIANTS), Described("none; needed with `limit`"), AtReload;
        r#"undecryptable = { limit = "5m", at-limit = "envelope" }"#;
        r#"What happens then. `terminate` answers `+TERM`: the consumer gets the message no more, and a work queue deletes it; a warning at every start says so. `envelope` delivers it as `deliver = "envelope"` does, for the client to acknowledge: the only way past it for ordered consumers, which acknowledge nothing."#
}
