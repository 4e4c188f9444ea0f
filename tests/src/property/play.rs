//! Runs steps over raw sockets, and records what was delivered.

use super::plan::{AGENTS, Action, Body, Inbox, Step};
use crate::frame::Frame;
use crate::raw_client::RawClient;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The agents of one case on one bus.
pub struct Agents {
    case: String,
    agents: Vec<Agent>,
    /// Messages of the stream that no fetch has delivered.
    waiting: usize,
    /// The last sequence of the stream.
    stored: u64,
}

/// What one agent was delivered, without what differs from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Per subscription, in order; the order between subscriptions is not deterministic.
    pub heard: BTreeMap<String, Vec<String>>,
    /// Per inbox subject; the order between them is JetStream's.
    pub answered: BTreeMap<String, Vec<String>>,
    /// Errors of the server.
    pub errors: Vec<String>,
}

struct Agent {
    raw: RawClient,
    case: String,
    number: usize,
    asked: usize,
    /// How many of its messages have been scanned for requests, and for fetched messages.
    looked: [usize; 2],
}

/// Runs the steps on one bus, whose addresses agents use in turn, and returns what each agent was delivered.
pub fn play(addrs: [SocketAddr; 2], case: &str, steps: &[Step]) -> Vec<Delivered> {
    let mut agents = Agents::new(addrs, case);
    for step in steps {
        agents.step(step);
    }
    agents.delivered()
}

impl Agents {
    fn new(addrs: [SocketAddr; 2], case: &str) -> Self {
        let agents = (0..AGENTS).map(|number| Agent::new(addrs[number % 2], case, number));
        let mut agents = Self {
            case: case.to_owned(),
            agents: agents.collect(),
            waiting: 0,
            stored: 0,
        };
        agents.create();
        agents
    }

    /// A stream with a consumer, and a key-value store.
    fn create(&mut self) {
        let case = self.case.clone();
        let stream =
            format!(r#"{{"name":"S{case}","subjects":["{case}.js.>"],"storage":"memory"}}"#);
        let consumer = format!(
            r#"{{"stream_name":"S{case}","config":{{"durable_name":"C","ack_policy":"explicit","ack_wait":60000000000}}}}"#
        );
        let store = format!(
            r#"{{"name":"KV_{case}","subjects":["$KV.{case}.>"],"storage":"memory","max_msgs_per_subject":5,"allow_direct":true,"allow_rollup_hdrs":true}}"#
        );
        for (subject, config) in [
            (format!("$JS.API.STREAM.CREATE.S{case}"), stream),
            (format!("$JS.API.CONSUMER.CREATE.S{case}.C"), consumer),
            (format!("$JS.API.STREAM.CREATE.KV_{case}"), store),
        ] {
            let answer = self.agents[0].ask(&subject, "", config.as_bytes());
            assert!(!contains(answer.payload(), b"\"error\""), "{answer:?}");
        }
        for agent in &mut self.agents {
            agent.raw.forget();
        }
    }

    fn step(&mut self, step: &Step) {
        let case = self.case.clone();
        let agent = &mut self.agents[step.agent];
        match &step.act {
            Action::Subscribe(filter, sid) => {
                agent.say(&format!("SUB {case}.{filter} {sid}\r\n"));
            }
            Action::Unsubscribe(sid, max) => {
                let max = max.map_or_else(String::new, |max| format!(" {max}"));
                agent.say(&format!("UNSUB {sid}{max}\r\n"));
            }
            Action::Publish(subject, body) => {
                agent.publish(&format!("{case}.{subject}"), None, body);
            }
            Action::Request(subject, inbox, body) => {
                let inbox = agent.inbox(*inbox);
                agent.publish(&format!("{case}.{subject}"), Some(&inbox), body);
            }
            Action::Answer(body) => agent.answer(body),
            Action::Store(subject, inbox, body) => {
                let subject = format!("{case}.{subject}");
                let inbox = agent.inbox(*inbox);
                agent.publish(&subject, Some(&inbox), body);
                self.acknowledged(step.agent, &inbox);
            }
            Action::StoreOnce(id, body) => {
                let inbox = agent.inbox(Inbox::Usual);
                let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
                agent.send(
                    &format!("{case}.js.once"),
                    Some(&inbox),
                    &headers,
                    &body.payload,
                );
                self.acknowledged(step.agent, &inbox);
            }
            Action::Fetch => self.fetch(step.agent),
            Action::Acknowledge => agent.acknowledge(),
            Action::Put(key, body) => {
                agent.ask(&format!("$KV.{case}.{key}"), body.headers, &body.payload);
            }
            Action::Get(key) => {
                let subject = format!("$JS.API.DIRECT.GET.KV_{case}.$KV.{case}.{key}");
                agent.ask(&subject, "", b"");
            }
            Action::Message(key) => {
                let body = format!(r#"{{"last_by_subj":"$KV.{case}.{key}"}}"#);
                let subject = format!("$JS.API.STREAM.MSG.GET.KV_{case}");
                agent.ask(&subject, "", body.as_bytes());
            }
            Action::Delete(key) => {
                let headers = "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n";
                agent.ask(&format!("$KV.{case}.{key}"), headers, b"");
            }
        }
        self.flush(step.agent);
    }

    /// Handles the stream's acknowledgement: a new message waits for the consumer, unless it was a duplicate.
    fn acknowledged(&mut self, agent: usize, inbox: &str) {
        let answer = self.agents[agent].answers(inbox, 1).remove(0);
        let said: serde_json::Value = serde_json::from_slice(answer.payload()).unwrap();
        let sequence = said["seq"].as_u64().unwrap();
        if sequence > self.stored {
            self.stored = sequence;
            self.waiting += 1;
        }
    }

    fn fetch(&mut self, agent: usize) {
        let agent = &mut self.agents[agent];
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.S{}.C", self.case);
        let inbox = agent.inbox(Inbox::Usual);
        let (ask, count) = match self.waiting {
            0 => (r#"{"batch":1,"no_wait":true}"#.to_owned(), 1),
            count => (
                format!(r#"{{"batch":{count},"expires":10000000000}}"#),
                count,
            ),
        };
        agent.send(&subject, Some(&inbox), "", ask.as_bytes());
        agent.fetched(&inbox, count);
        self.waiting = 0;
    }

    /// Waits until the server has processed what this agent sent, and all agents have received what it caused.
    fn flush(&mut self, acted: usize) {
        self.agents[acted].raw.flush();
        for agent in &mut self.agents {
            agent.raw.flush();
        }
    }

    fn delivered(&self) -> Vec<Delivered> {
        self.agents.iter().map(Agent::delivered).collect()
    }
}

impl Agent {
    fn new(addr: SocketAddr, case: &str, number: usize) -> Self {
        let mut raw = RawClient::agent(addr);
        raw.send(
            format!("SUB _INBOX.{case}{number}.* inbox\r\nSUB mine.{case}{number}.* mine\r\n")
                .as_bytes(),
        );
        raw.flush();
        Self {
            raw,
            case: case.to_owned(),
            number,
            asked: 0,
            looked: [0, 0],
        }
    }
}

impl Agent {
    fn inbox(&mut self, kind: Inbox) -> String {
        self.asked += 1;
        let prefix = match kind {
            Inbox::Usual => "_INBOX",
            Inbox::Custom => "mine",
        };
        format!("{prefix}.{}{}.{}", self.case, self.number, self.asked)
    }

    fn publish(&mut self, subject: &str, reply: Option<&str>, body: &Body) {
        self.send(subject, reply, body.headers, &body.payload);
    }

    fn send(&mut self, subject: &str, reply: Option<&str>, headers: &str, payload: &[u8]) {
        let publish = Frame::publish(subject, reply, payload).with_headers(headers);
        self.raw.send(&publish.to_bytes());
    }

    fn say(&mut self, line: &str) {
        self.raw.send(line.as_bytes());
    }

    /// Publishes with an inbox, and waits for the answer.
    fn ask(&mut self, subject: &str, headers: &str, payload: &[u8]) -> Frame {
        let inbox = self.inbox(Inbox::Usual);
        self.send(subject, Some(&inbox), headers, payload);
        self.answers(&inbox, 1).remove(0)
    }

    /// Waits for this many messages on an inbox.
    fn answers(&mut self, inbox: &str, count: usize) -> Vec<Frame> {
        let of = |frames: Vec<Frame>| -> Vec<Frame> {
            frames
                .into_iter()
                .filter(|frame| frame.has_body() && frame.subject() == inbox)
                .collect()
        };
        self.raw.until("an answer", |bytes| {
            of(crate::frame::split_frames(bytes).0).len() >= count
        });
        of(self.raw.frames())
    }

    /// Waits for this many more messages of the stream, or statuses in their place.
    fn fetched(&mut self, inbox: &str, count: usize) {
        let already = self.fetched_so_far().len();
        self.raw.until("what was fetched", |bytes| {
            let frames = crate::frame::split_frames(bytes).0;
            let statuses = frames
                .iter()
                .filter(|frame| frame.has_body() && frame.subject() == inbox);
            let fetched = frames.iter().filter(|frame| is_from_stream(frame));
            statuses.count() + fetched.count() >= already + count
        });
    }

    /// Answers the requests received since the last call.
    fn answer(&mut self, body: &Body) {
        let messages = self.raw.messages();
        let requests = messages.iter().skip(self.looked[0]).filter_map(reply);
        for request in requests.filter(|reply| !reply.starts_with('$')) {
            self.publish(request, None, body);
        }
        self.looked[0] = messages.len();
    }

    fn acknowledge(&mut self) {
        let fetched = self.fetched_so_far();
        for message in &fetched[self.looked[1]..] {
            self.send(reply(message).unwrap(), None, "", b"+ACK");
        }
        self.looked[1] = fetched.len();
    }

    fn fetched_so_far(&self) -> Vec<Frame> {
        let mut messages = self.raw.messages();
        messages.retain(is_from_stream);
        messages
    }

    fn delivered(&self) -> Delivered {
        let mut delivered = Delivered::default();
        for frame in self.raw.frames() {
            match frame.verb() {
                "MSG" | "HMSG" if is_answer(&frame) => {
                    let answers = delivered.answered.entry(frame.subject().to_owned());
                    answers.or_default().push(lasting(&frame));
                }
                "MSG" | "HMSG" => {
                    let heard = delivered.heard.entry(frame.words()[1].to_owned());
                    heard.or_default().push(lasting(&frame));
                }
                "-ERR" => delivered.errors.push(frame.line),
                _ => {}
            }
        }
        delivered
    }
}

/// The reply subject of a message.
fn reply(frame: &Frame) -> Option<&str> {
    frame.address().get(2).copied()
}

fn is_answer(frame: &Frame) -> bool {
    matches!(frame.words()[1], "inbox" | "mine")
}

fn is_from_stream(frame: &Frame) -> bool {
    frame.has_body() && reply(frame).is_some_and(|reply| reply.starts_with("$JS.ACK."))
}

/// A message without what differs from run to run: times, and pending counts.
fn lasting(frame: &Frame) -> String {
    let mut address: Vec<String> = frame.address().iter().map(ToString::to_string).collect();
    if is_from_stream(frame) {
        let tokens: Vec<&str> = address[2].split('.').collect();
        address[2] = tokens[..tokens.len() - 2].join(".");
    }
    let headers = String::from_utf8_lossy(frame.headers()).into_owned();
    let headers: Vec<&str> = headers
        .split("\r\n")
        .filter(|line| !line.starts_with("Nats-Time-Stamp:"))
        .collect();
    format!(
        "{} | {} | {}",
        address.join(" "),
        headers.join(", "),
        timeless(frame.payload()).escape_ascii()
    )
}

/// A payload without the time at which a message was stored, where it is the server's JSON.
fn timeless(payload: &[u8]) -> &[u8] {
    let time = b"\"time\":\"";
    let at = payload.windows(time.len()).position(|part| part == time);
    at.map_or(payload, |at| &payload[..at])
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
