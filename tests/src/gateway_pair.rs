//! Two gateways on two copies of one state directory: publishers behind one, subscribers behind the other.

use crate::bus_tap::BusTap;
use crate::gateway::{Gateway, Settings};
use crate::raw_client::RawClient;
use crate::server::NatsServer;

/// A bus with a gateway on each side of it.
pub struct GatewayPair {
    /// The bus.
    pub server: NatsServer,
    /// Where agents publish.
    pub publish: Gateway,
    /// Where agents subscribe.
    pub deliver: Gateway,
}

impl GatewayPair {
    /// With the default policy, which seals everything.
    pub fn start() -> Self {
        Self::with(NatsServer::start(), "", "")
    }

    /// With this configuration text in both: top-level keys, and tables.
    pub fn with(server: NatsServer, top: &str, tables: &str) -> Self {
        let [publish, deliver] = Self::gateways(&server, top, tables);
        Self {
            server,
            publish,
            deliver,
        }
    }

    /// The two gateways alone: for publishers, and for subscribers.
    pub fn gateways(server: &NatsServer, top: &str, tables: &str) -> [Gateway; 2] {
        let mut settings = Settings {
            top: top.to_owned(),
            tables: tables.to_owned(),
            ..Settings::default()
        };
        let publish = Gateway::start(&server.url(), settings.clone());
        settings.state = Some(publish.state());
        [publish, Gateway::start(&server.url(), settings)]
    }

    /// An agent that publishes.
    pub fn publisher(&self) -> RawClient {
        RawClient::agent(self.publish.addr())
    }

    /// An agent that has subscribed.
    pub fn subscriber(&self, filter: &str) -> RawClient {
        let mut agent = RawClient::agent(self.deliver.addr());
        agent.subscribe(filter);
        agent
    }

    /// An agent on the bus itself, without a gateway.
    pub fn bare(&self) -> RawClient {
        RawClient::agent(self.server.addr())
    }

    /// A tap on the bus.
    pub fn tap(&self) -> BusTap {
        BusTap::open(self.server.addr())
    }

    /// Copies the publishing gateway's record of a keyring into the other's state directory.
    pub fn copy_record(&self, keyring: &str) {
        let record = format!("catalogue/{keyring}.json");
        let from = self.publish.state().join(&record);
        std::fs::copy(from, self.deliver.state().join(record)).unwrap();
    }

    /// Copies its audit log likewise, without which no gateway starts on the record. The other must not run.
    pub fn copy_log(&self) {
        for file in ["audit/log.jsonl", "audit/checkpoints"] {
            let from = self.publish.state().join(file);
            std::fs::copy(from, self.deliver.state().join(file)).unwrap();
        }
    }

    /// How many deliveries were withheld for this cause.
    pub fn withheld(&self, cause: &str) -> f64 {
        let labels = [("cause", cause)];
        let metrics = self.deliver.metrics();
        metrics.sum("keyway_withheld_messages_total", &labels)
    }
}
