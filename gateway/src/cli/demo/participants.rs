//! Who takes part in the demo, and how a message between two of them is shown.

use std::net::SocketAddr;

use async_nats::Message;
use bytes::Bytes;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

use super::agent::{Agent, with_timeout};
use super::layout::Tone;
use super::observer::Observer;
use super::screen::{MessageRow, Screen};

/// The agents, and two subscribers on the server itself.
pub(super) struct Participants {
    pub(super) planner: Agent,
    pub(super) researcher: Agent,
    pub(super) archivist: Agent,
    pub(super) stock: Agent,
    pub(super) tap: Observer,
    pub(super) outsider: Observer,
    /// What agents have sent, to be searched for in what the subscribers on the server got.
    pub(super) said: Vec<&'static str>,
    /// How many messages were received unchanged.
    pub(super) understood: usize,
}

impl Participants {
    pub(super) async fn connect(front: SocketAddr, bus: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            planner: Box::pin(Agent::connect("planner", front, "agents.planner")).await?,
            researcher: Box::pin(Agent::connect("researcher", front, "agents.researcher")).await?,
            archivist: Box::pin(Agent::connect("archivist", front, "agents.archivist")).await?,
            stock: Box::pin(Agent::connect("stock", front, "tools.stock.call")).await?,
            tap: Box::pin(Observer::open("tap", bus)).await?,
            outsider: Box::pin(Observer::open("outsider", bus)).await?,
            said: Vec::new(),
            understood: 0,
        })
    }

    pub(super) const fn agents(&self) -> [&Agent; 4] {
        [
            &self.planner,
            &self.researcher,
            &self.archivist,
            &self.stock,
        ]
    }

    /// The researcher answers the planner.
    pub(super) async fn answer(
        &mut self,
        screen: &mut Screen,
        (asked, pending_reply): (&Message, PendingReply),
        text: &'static str,
    ) -> Result<(), Failure> {
        reply(&self.researcher, asked, text).await?;
        let answer = finished(pending_reply).await?;
        self.show(screen, ["researcher", "planner"], &answer, text)
            .await
            .map(drop)
    }

    pub(super) fn compare(&mut self, heard: &[u8], said: &str) {
        let understood = usize::from(heard == said.as_bytes());
        self.understood = self.understood.saturating_add(understood);
    }

    /// Shows a message that an agent received, beside what the tap and the outsider got. Yields what the bus carried.
    pub(super) async fn show(
        &mut self,
        screen: &mut Screen,
        title: [&str; 2],
        message: &Message,
        said: &'static str,
    ) -> Result<Bytes, Failure> {
        let subject = message.subject.as_str();
        let carried = self.tap.see(subject).await?;
        let seen = self.outsider.see(subject).await?;
        self.said.push(said);
        self.compare(&message.payload, said);
        let text = String::from_utf8_lossy(&message.payload);
        let message_row = MessageRow {
            title,
            heard: (Tone::Plain, &text),
            subject,
            carried: &carried,
            remark: "",
            outside: screen.outside(&seen, said),
        };
        screen.show(message_row).await?;
        Ok(carried)
    }
}

pub(super) type PendingReply = tokio::task::JoinHandle<Result<Message, async_nats::RequestError>>;

/// Sends a request without waiting for the reply.
pub(super) fn request(from: &Agent, subject: &'static str, text: &'static str) -> PendingReply {
    let client = from.client.clone();
    tokio::spawn(async move { client.request(subject, text.into()).await })
}

pub(super) async fn finished(pending_reply: PendingReply) -> Result<Message, Failure> {
    let answer = with_timeout("get an answer", pending_reply).await?;
    with_timeout("get an answer", std::future::ready(answer)).await
}

pub(super) async fn reply(from: &Agent, to: &Message, text: &'static str) -> Result<(), Failure> {
    let missing = || Failure::new(Exit::Failed, "a request came without a reply subject", "");
    let subject = to.reply.clone().ok_or_else(missing)?;
    from.publish(subject, text).await
}
