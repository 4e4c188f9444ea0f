//! Promise: what agents are delivered through two sealing gateways equals what they are delivered on the bare server.
//!
//! Random sequences of operations are run on a bare server, and on another with half of the agents behind each of two gateways. A
//! difference is shrunk to a minimal sequence, and reported with its seed.

#![expect(
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    reason = "the seed of a failing case is printed, for no assertion can name it; a test may count"
)]

use keyway_tests::gateway::Settings;
use keyway_tests::property::plan::{self, Action};
use keyway_tests::property::{Delivered, Rng, Step, play, shrink};
use keyway_tests::{Gateway, GatewayPair, NatsServer};
use std::net::SocketAddr;

/// How many sequences are played for each policy.
const CASES: usize = 30;

/// How many steps a sequence has.
const STEPS: usize = 40;

/// The first seed, to reproduce a failure.
const AGAIN: Option<u64> = None;

/// Both buses, and how many sequences were run on them, as each has its own subjects.
struct Buses {
    addrs: [[SocketAddr; 2]; 2],
    played: usize,
}

impl Buses {
    fn new(bare: &NatsServer, gateways: [&Gateway; 2]) -> Self {
        Self {
            addrs: [[bare.addr(); 2], gateways.map(Gateway::addr)],
            played: 0,
        }
    }

    /// What was delivered without gateways, and with them.
    fn play(&mut self, steps: &[Step]) -> [Vec<Delivered>; 2] {
        self.played += 1;
        let case = format!("c{}", self.played);
        self.addrs.map(|addrs| play(addrs, &case, steps))
    }

    /// The difference between the two, if any.
    fn difference(&mut self, steps: &[Step]) -> Option<String> {
        let [bare, sealed] = self.play(steps);
        let mut agents = bare.iter().zip(&sealed).enumerate();
        agents
            .find(|(_agent, (bare, sealed))| bare != sealed)
            .map(|(agent, (bare, sealed))| {
                format!("agent {agent}\nwithout gateways {bare:#?}\nwith gateways {sealed:#?}")
            })
    }

    /// A minimal part of this sequence that makes a difference.
    fn fewest(&mut self, steps: Vec<Step>) -> Option<(Vec<Step>, String)> {
        self.difference(&steps)?;
        let steps = shrink(steps, |steps| self.difference(steps).is_some());
        let difference = self.difference(&steps)?;
        Some((steps, difference))
    }
}

fn compare(tables: &str) {
    let bare = NatsServer::jetstream();
    let pair = GatewayPair::with(NatsServer::jetstream(), "", tables);
    let mut buses = Buses::new(&bare, [&pair.publish, &pair.deliver]);
    for _ in 0..CASES {
        let seed = AGAIN.unwrap_or_else(Rng::random_seed);
        eprintln!("seed {seed}");
        let steps = plan::steps(&mut Rng::new(seed), STEPS);
        if let Some((steps, difference)) = buses.fewest(steps) {
            eprintln!("{steps:?}\n{difference}");
            assert_eq!(seed, 0, "the seed of a sequence that makes a difference");
        }
    }
    // The comparison is void if nothing was sealed or something was withheld.
    for gateway in [&pair.publish, &pair.deliver] {
        let metrics = gateway.metrics();
        assert!(metrics.sum("keyway_sealed_messages_total", &[]) > 0.0);
        assert!(metrics.sum("keyway_opened_messages_total", &[]) > 0.0);
        assert_eq!(metrics.sum("keyway_withheld_messages_total", &[]), 0.0);
    }
}

#[test]
fn with_everything_sealed_agents_are_delivered_the_same() {
    compare("");
}

#[test]
fn with_some_subjects_sealed_agents_are_delivered_the_same() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = [\"*.a.>\", \"*.js.x\"]\n\
        [[keyring]]\nname = \"b\"\nsubjects = [\"*.b.y\", \"$KV.>\"]\nbind = \"keyring\"\n";
    compare(tables);
}

/// Shows that the comparison can fail.
#[test]
fn a_gateway_that_opens_nothing_is_found_out_in_two_steps() {
    let (bare, server) = (NatsServer::jetstream(), NatsServer::jetstream());
    let sealing = Gateway::sealing(&server.url());
    let relay = Gateway::start(
        &server.url(),
        Settings {
            relay_only: true,
            ..Settings::default()
        },
    );
    let mut buses = Buses::new(&bare, [&sealing, &relay]);
    let mut steps = plan::steps(&mut Rng::new(1), 400);
    steps.retain(|step| {
        matches!(
            (&step.act, step.agent % 2),
            (Action::Publish(..), 0) | (Action::Subscribe(..), 1)
        )
    });
    let (steps, _difference) = buses.fewest(steps).unwrap();
    assert_eq!(steps.len(), 2, "{steps:#?}");
}
