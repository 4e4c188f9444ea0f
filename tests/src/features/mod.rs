//! Every NATS feature through two sealing gateways, in every client that has it, while the bus is searched for plaintext.
//!
//! A client runs its scenarios once, on a bus of its own; each row of `docs/nats.md` then checks its scenario's outcome. Payloads
//! of a scenario begin with [`MARKER`] and its name: where the marker is found on the bus or in what the server has stored, plain
//! or in base64, that scenario fails.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats connects in a large future; the threads here have the stack for it"
)]

mod bus;
mod consumers;
mod core;
mod jetstream;
mod kv;
mod objects;
mod publishing;
mod search;
mod services;
mod stored;
mod streams;
mod world;

pub use bus::Bus;
pub use search::{Leak, SearchedData, search};
pub use stored::stored;
pub use world::World;

use crate::driver::{Client, Outcome};
use std::pin::Pin;
use std::sync::LazyLock;

/// The first bytes of every payload that must be sealed.
pub const MARKER: &str = "never-in-clear";

/// A scenario in Rust; it panics when the feature does not work.
type Scenario = fn(World) -> Pin<Box<dyn Future<Output = ()>>>;

/// Lists scenarios with their function names.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        pub(super) const LIST: &[(&str, super::Scenario)] =
            &[$((stringify!($name), |world| Box::pin($name(world)))),+];
    };
}
use scenarios;

const LISTS: &[&[(&str, Scenario)]] = &[
    core::LIST,
    publishing::LIST,
    streams::LIST,
    consumers::LIST,
    kv::LIST,
    objects::LIST,
    services::LIST,
];

/// Starting interpreters is slow, so each client runs its whole list once for all tests of one program.
static REPORTS: LazyLock<Vec<Report>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        [Report::rust, Report::python, Report::javascript]
            .map(|run| scope.spawn(run))
            .into_iter()
            .map(|running| running.join().unwrap())
            .collect()
    })
});

/// The report of each client.
pub fn reports() -> &'static [Report] {
    &REPORTS
}

/// Fails unless the row's feature works, and its payloads are hidden, in every client that has it.
pub fn assert_supported(row: &str) {
    let have = reports().iter().filter(|report| report.check(row));
    assert!(have.count() > 0, "no client shows {row}");
}

/// The result of a client's run.
pub struct Report {
    /// The client's name.
    pub client: &'static str,
    /// The outcome of each scenario.
    pub outcomes: Vec<Outcome>,
    /// Where the marker was found.
    pub leaks: Vec<Leak>,
}

impl Report {
    fn python() -> Self {
        Self::of("nats-py", |bus| run_client(Client::Python, bus))
    }

    fn javascript() -> Self {
        Self::of("nats.js", |bus| run_client(Client::JavaScript, bus))
    }

    fn rust() -> Self {
        Self::of("async-nats", |bus| {
            let chosen = LISTS.iter().copied().flatten();
            let chosen = chosen.filter(|(name, _)| only().is_none_or(|only| only == *name));
            world::run(chosen.copied().collect(), &bus.urls())
        })
    }

    fn of(client: &'static str, run: impl FnOnce(&Bus) -> Vec<Outcome>) -> Self {
        let bus = Bus::start();
        let outcomes = run(&bus);
        let (seen, server) = bus.end();
        let rows: Vec<_> = outcomes.iter().map(|outcome| &*outcome.name).collect();
        let mut places = SearchedData::default();
        places.frames(&seen);
        stored(&server, &mut places);
        Self {
            client,
            leaks: search(&places, &rows),
            outcomes,
        }
    }

    /// Whether this client has the row's feature; fails if it has and the feature does not work, or something leaked.
    fn check(&self, row: &str) -> bool {
        let Some(outcome) = self.outcomes.iter().find(|outcome| outcome.name == row) else {
            return false;
        };
        assert!(outcome.pass, "{}: {row}: {}", self.client, outcome.detail);
        let of_row = |leak: &&Leak| leak.row.as_deref().is_none_or(|of| of == row);
        let leaks: Vec<_> = self.leaks.iter().filter(of_row).collect();
        assert!(leaks.is_empty(), "{}: {row}: {leaks:#?}", self.client);
        true
    }
}

fn run_client(client: Client, bus: &Bus) -> Vec<Outcome> {
    let (urls, only) = (bus.urls(), only());
    let gateways = bus::ARGUMENTS.into_iter().zip(urls.iter());
    let chosen = only.iter().map(|name| ("--only", name));
    let args: Vec<&str> = gateways
        .chain(chosen)
        .flat_map(|(name, value)| [name, value])
        .collect();
    client.features(&args)
}

/// The one scenario to run, where the environment names one.
fn only() -> Option<String> {
    std::env::var("KEYWAY_ONLY").ok()
}
