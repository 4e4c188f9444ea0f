//! A gateway under attack by clients: what it holds before and afterwards, and whether two well-behaved clients are still served.

use crate::gateway::{Gateway, Settings};
use crate::process_memory::MemoryAccess;
use crate::raw_client::RawClient;
use crate::server::NatsServer;
use crate::wait;
use std::net::SocketAddr;

/// Resident memory that may remain after an attack, each of which sends many times as much.
pub const MEMORY_TOLERANCE: u64 = 64 << 20;

/// Tolerance for open files.
const FILES: u64 = 16;

/// The gateway, and a requester and a responder that behave well.
pub struct AttackedGateway {
    /// The bus.
    pub server: NatsServer,
    /// The gateway under attack.
    pub gateway: Gateway,
    asks: RawClient,
    answers: RawClient,
    asked: u32,
    before: ResourceUse,
}

/// Resources that a gateway holds.
#[derive(Clone, Copy, Debug)]
pub struct ResourceUse {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Open files.
    pub files: u64,
    /// Its metric `keyway_connections`.
    pub connections: f64,
}

impl AttackedGateway {
    /// A sealing gateway with these configuration tables.
    pub fn begin(server: NatsServer, tables: &str) -> Self {
        let settings = Settings {
            tables: tables.to_owned(),
            ..Settings::default()
        };
        let mut gateway = Gateway::start(&server.url(), settings);
        MemoryAccess::new().restart_readable(&mut gateway);
        let mut answers = RawClient::agent(gateway.addr());
        answers.subscribe("service");
        let mut asks = RawClient::agent(gateway.addr());
        asks.subscribe("_INBOX.service.*");
        let before = ResourceUse {
            resident: 0,
            files: 0,
            connections: 0.0,
        };
        let mut attacked = Self {
            server,
            gateway,
            asks,
            answers,
            asked: 0,
            before,
        };
        attacked.assert_serves();
        attacked.before = attacked.resource_use();
        attacked
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// Its resources before the attack.
    pub fn before(&self) -> ResourceUse {
        self.before
    }

    /// Its resources now.
    pub fn resource_use(&mut self) -> ResourceUse {
        let process = self.gateway.process();
        ResourceUse {
            resident: process.memory("status", "VmRSS:").unwrap(),
            files: process.count("fd").unwrap(),
            connections: self.gateway.metrics().sum("keyway_connections", &[]),
        }
    }

    /// Fails unless the well-behaved requester is answered.
    pub fn assert_serves(&mut self) {
        self.asked += 1;
        let number = self.asked.to_string();
        let inbox = format!("_INBOX.service.{number}");
        self.asks.send(&crate::agent::publish(
            "service",
            Some(&inbox),
            number.as_bytes(),
        ));
        let request = self.answers.message("service");
        assert_eq!(request.payload(), number.as_bytes());
        self.answers.forget();
        self.answers
            .send(&crate::agent::publish(request.words()[2], None, b"done"));
        assert_eq!(self.asks.message(&inbox).payload(), b"done");
        self.asks.forget();
    }

    /// Fails unless the gateway serves old and new clients, and has not panicked.
    pub fn assert_healthy(&mut self) {
        self.assert_serves();
        let mut fresh = RawClient::agent(self.addr());
        fresh.subscribe("fresh");
        fresh.publish("fresh", b"as ever");
        assert_eq!(fresh.message("fresh").payload(), b"as ever");
        let process = self.gateway.process();
        assert!(process.ended().is_none());
        assert!(!process.log().contains("panicked"));
    }

    /// Once the hostile clients are gone: fails unless the gateway is healthy and holds about what it held before.
    pub fn assert_recovered(mut self) {
        self.assert_healthy();
        wait::until("the hostile clients' connections have ended", || {
            (self.resource_use().connections <= self.before.connections).then_some(())
        });
        wait::until("the hostile clients' files are closed", || {
            (self.resource_use().files <= self.before.files + FILES).then_some(())
        });
        let (before, after) = (self.before, self.resource_use());
        assert!(
            after.resident <= before.resident + MEMORY_TOLERANCE,
            "{before:?}, then {after:?}"
        );
    }
}
