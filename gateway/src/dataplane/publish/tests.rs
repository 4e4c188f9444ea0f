//! A publish for which there is no budget waits, and so does what follows it on that connection, and nothing else.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::clock::Clock;
use crate::dataplane::Endpoints;
use crate::dataplane::socket::Socket;
use crate::dataplane::{Config, DeliverPath, SessionState, Shared};
use crate::envelope::{Binding, OVERHEAD, Suite, VersionKey};
use crate::keyring::{
    self, Budget, Keys, LaneCache, LaneMap, Snapshot, Usage, Version, Volume, WorkerId,
};
use crate::policy::{Policy, Rule};
use crate::secret::Secret;
use crate::wire::{ClientOp, ClientParser, Limits, Parsed};

const WORKER: WorkerId = WorkerId(0);

/// A worker whose keyrings `agents` and `tools` each have a version with nothing reserved yet.
struct Rig {
    keys: Arc<Keys>,
    worker: Worker,
    agents: Arc<Budget>,
    tools: Arc<Budget>,
}

impl Rig {
    fn new() -> Self {
        let rule = |name: &str, subjects: &str| Rule {
            name: name.parse().unwrap(),
            subjects: vec![subjects.parse().unwrap()],
            ..Rule::everything()
        };
        let rules = vec![rule("agents", "agents.>"), rule("tools", "tools.>")];
        let policy = Arc::new(Policy::new(rules, &[]).unwrap());
        let version = |name: &str| {
            Arc::new(Version {
                keyring: policy.by_name(name).unwrap(),
                number: 1,
                label: name.to_owned(),
                suite: Suite::Aes256Gcm,
                key: VersionKey::derive(name, 1, &Secret::random().unwrap()),
                lanes: LaneMap::default(),
                usage: Usage::new(1),
                budget: Arc::new(Budget::new(Volume::default(), 1, Arc::new(Notify::new()))),
            })
        };
        let (agents, tools) = (version("agents"), version("tools"));
        let budgets = [&agents, &tools].map(|version| Arc::clone(&version.budget));
        let (keys, _misses) = Keys::new(Snapshot::new(policy, vec![agents, tools], vec![], 1));
        let keys = Arc::new(keys);
        let shared = Shared::new(Config::default(), Arc::clone(&keys), Clock::system());
        let [agents, tools] = budgets;
        Self {
            worker: Worker::new(WORKER, Arc::new(shared)),
            keys,
            agents,
            tools,
        }
    }

    fn agents_wait(&self, ended: &PublishBatch) -> bool {
        let agents = self.keys.load().policy().by_name("agents");
        matches!(ended, PublishBatch::CannotSeal(keyring) if Some(*keyring) == agents)
    }

    /// The plaintexts of the whole publishes in `bytes`.
    fn opened(&self, bytes: &[u8]) -> Vec<String> {
        let snapshot = self.keys.load();
        let mut cache = LaneCache::new(WORKER);
        let mut parser = ClientParser::new(Limits::default());
        let (mut rest, mut texts) = (bytes, Vec::new());
        while let Ok(Parsed::Op { op, len }) = parser.next(rest) {
            let ClientOp::Publish(publish) = op else {
                panic!("something else was published")
            };
            let mut text = vec![0; publish.payload.len().saturating_sub(OVERHEAD)];
            let message = (publish.payload, &mut *text);
            let known = Binding::to(Some(publish.subject));
            keyring::open(&snapshot, &mut cache, None, known, message).unwrap();
            texts.push(String::from_utf8(text).unwrap());
            rest = &rest[len..];
        }
        texts
    }
}

fn state(worker: &Worker) -> SessionState {
    worker.session_state(Endpoints {
        client: None,
        gateway: None,
    })
}

/// A budget of so many messages, of any size.
const fn messages(messages: u64) -> Volume {
    Volume {
        messages,
        bytes: 1 << 20,
    }
}

fn publishes(subject: &str, texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| format!("PUB {subject} {}\r\n{text}\r\n", text.len()))
        .collect()
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}

#[test]
fn as_many_as_are_reserved_go_out_and_the_rest_follows_in_order_once_more_is() {
    let rig = Rig::new();
    rig.agents.extend(messages(4));
    let state = RefCell::new(state(&rig.worker));
    let mut path = PublishPath::new(&rig.worker, &state);
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    input.put(publishes("agents.a", &texts(0..10)).as_bytes());
    for _attempt in 0..3 {
        let ended = path.batch(&mut input, &mut output);
        assert!(rig.agents_wait(&ended));
        assert_eq!(rig.opened(output.filled()), texts(0..4));
        let rest = publishes("agents.a", &texts(4..10));
        assert_eq!(input.filled(), rest.as_bytes());
    }
    rig.agents.extend(messages(6));
    let ended = path.batch(&mut input, &mut output);
    assert!(matches!(ended, PublishBatch::More(_)) && input.is_empty());
    assert_eq!(rig.opened(output.filled()), texts(0..10));
}

#[test]
fn what_comes_after_a_publish_that_waits_waits_too_and_no_other_connection_does() {
    let rig = Rig::new();
    rig.tools.extend(messages(10));
    let links = [
        RefCell::new(state(&rig.worker)),
        RefCell::new(state(&rig.worker)),
    ];
    let [mut waits, mut goes_on] = [&links[0], &links[1]].map(|state| {
        let path = PublishPath::new(&rig.worker, state);
        (path, Buffer::new(), Buffer::new())
    });
    let (agents, tools) = (
        publishes("agents.a", &texts(0..1)),
        publishes("tools.a", &texts(1..2)),
    );
    waits.1.put(agents.as_bytes());
    waits.1.put(tools.as_bytes());
    goes_on.1.put(tools.as_bytes());
    let (path, input, output) = &mut waits;
    let ended = path.batch(input, output);
    assert!(rig.agents_wait(&ended) && output.is_empty());
    let (other, other_input, other_output) = &mut goes_on;
    other.batch(other_input, other_output);
    assert_eq!(rig.opened(other_output.filled()), texts(1..2));
    rig.agents.extend(messages(1));
    path.batch(input, output);
    assert_eq!(rig.opened(output.filled()), texts(0..2));
}

async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let addr = listener.local_addr().unwrap();
    let (there, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    (there.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn session_that_waits_goes_on_as_soon_as_more_is_reserved() {
    let rig = Rig::new();
    rig.agents.extend(messages(3));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, ours) = pair(&listener).await;
    let (mut server, to_server) = pair(&listener).await;
    let sockets = (Socket::Tcp(ours), Socket::Tcp(to_server));
    let session = Session::new(sockets.0, sockets.1, RefCell::new(state(&rig.worker)));
    let script = async {
        let everything = publishes("agents.a", &texts(0..8));
        client.write_all(everything.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        while rig.opened(&read).len() < 3 {
            server.read_buf(&mut read).await.unwrap();
        }
        for more in [1, 4] {
            rig.agents.extend(messages(more));
            rig.keys.replenished();
        }
        while rig.opened(&read).len() < 8 {
            assert_ne!(server.read_buf(&mut read).await.unwrap(), 0);
        }
        assert_eq!(rig.opened(&read), texts(0..8));
    };
    tokio::join!(script, run(&rig.worker, &session));
}

/// The state of a session whose server has sent this INFO.
fn greeted(rig: &Rig, info: &str) -> RefCell<SessionState> {
    let state = RefCell::new(state(&rig.worker));
    let (mut said, mut told) = (Buffer::new(), Buffer::new());
    said.put(format!("INFO {info}\r\n").as_bytes());
    DeliverPath::new(&rig.worker, &state).batch(&mut said, &mut told);
    state
}

#[test]
fn nothing_is_sealed_for_whom_the_server_has_not_accepted() {
    let rig = Rig::new();
    rig.agents.extend(messages(100));
    for (info, first) in [
        (
            r#"{"auth_required":true}"#,
            "CONNECT {\"verbose\":false}\r\n",
        ),
        (r#"{}"#, "CONNECT {\"verbose\":false,\"pass\":\"p\"}\r\n"),
        (r#"{"auth_required":true}"#, ""),
    ] {
        let state = greeted(&rig, info);
        let mut path = PublishPath::new(&rig.worker, &state);
        let (mut input, mut output) = (Buffer::new(), Buffer::new());
        input.put(format!("{first}{}", publishes("agents.a", &texts(0..2))).as_bytes());
        for _attempt in 0..2 {
            let ended = path.batch(&mut input, &mut output);
            assert!(matches!(ended, PublishBatch::Unaccepted));
            assert_eq!(output.filled(), format!("{first}PING\r\n").as_bytes());
        }
        output.consume(output.len());
        let (mut said, mut told) = (Buffer::new(), Buffer::new());
        said.put(b"PONG\r\n");
        DeliverPath::new(&rig.worker, &state).batch(&mut said, &mut told);
        assert!(told.is_empty() && said.is_empty());
        let ended = path.batch(&mut input, &mut output);
        assert!(matches!(ended, PublishBatch::More(_)) && input.is_empty());
        assert_eq!(rig.opened(output.filled()), texts(0..2));
    }
}

#[test]
fn client_s_own_ping_asks_and_a_server_that_asks_for_nothing_is_not_asked() {
    let rig = Rig::new();
    rig.agents.extend(messages(100));
    for (info, first) in [
        (
            r#"{"auth_required":true}"#,
            "CONNECT {\"verbose\":false}\r\nPING\r\n",
        ),
        (r#"{}"#, "CONNECT {\"verbose\":false}\r\n"),
        (r#"{}"#, ""),
    ] {
        let state = greeted(&rig, info);
        let mut path = PublishPath::new(&rig.worker, &state);
        let (mut input, mut output) = (Buffer::new(), Buffer::new());
        input.put(format!("{first}{}", publishes("agents.a", &texts(0..1))).as_bytes());
        let ended = path.batch(&mut input, &mut output);
        let waits = matches!(ended, PublishBatch::Unaccepted);
        assert_eq!(waits, first.ends_with("PING\r\n"));
        assert!(output.filled().starts_with(first.as_bytes()));
        output.consume(first.len());
        assert_eq!(rig.opened(output.filled()), texts(0..usize::from(!waits)));
    }
}
