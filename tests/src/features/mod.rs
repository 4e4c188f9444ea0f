//! Every NATS feature through two sealing gateways, in every client that has it, while the bus is searched for what they say.
//!
//! A client runs its scenarios once, on a bus of its own; each row of `docs/nats.md` then asks for its scenario's outcome. What a
//! scenario says begins with [`MARKER`] and the scenario's name: when the marker is found on the bus or in what the server has
//! stored, plain or in base64, the scenario that said it fails.
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
pub use search::{Leak, Places, search};
pub use stored::stored;
pub use world::World;

use crate::driver::{Client, Outcome};
use std::pin::Pin;
use std::sync::LazyLock;

/// How everything begins that must stay hidden.
pub const MARKER: &str = "never-in-clear";

/// A scenario in Rust; it panics when the feature does not work.
type Scenario = fn(World) -> Pin<Box<dyn Future<Output = ()>>>;

/// Lists scenarios under their own names.
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

/// Starting interpreters is dear, so each client runs its whole list once, for all the tests of one program.
static REPORTS: LazyLock<Vec<Report>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        [Report::rust, Report::python, Report::javascript]
            .map(|run| scope.spawn(run))
            .into_iter()
            .map(|running| running.join().unwrap())
            .collect()
    })
});

/// What each client's run led to.
pub fn reports() -> &'static [Report] {
    &REPORTS
}

/// Fails unless the row's feature works, and hides what is said, in every client that has it.
pub fn shown(row: &str) {
    let have = reports().iter().filter(|report| report.judge(row));
    assert!(have.count() > 0, "no client shows {row}");
}

/// What a client's run led to.
pub struct Report {
    /// The client's name.
    pub client: &'static str,
    /// What each scenario led to.
    pub outcomes: Vec<Outcome>,
    /// Where the marker was found.
    pub leaks: Vec<Leak>,
}

impl Report {
    fn python() -> Self {
        Self::of("nats-py", |bus| driven(Client::Python, bus))
    }

    fn javascript() -> Self {
        Self::of("nats.js", |bus| driven(Client::JavaScript, bus))
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
        let mut places = Places::default();
        places.frames(&seen);
        stored(&server, &mut places);
        Self {
            client,
            leaks: search(&places, &rows),
            outcomes,
        }
    }

    /// Whether this client has the row's feature; fails if it has and the feature does not work, or something leaked.
    fn judge(&self, row: &str) -> bool {
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

fn driven(client: Client, bus: &Bus) -> Vec<Outcome> {
    let (urls, only) = (bus.urls(), only());
    let gateways = bus::ARGUMENTS.into_iter().zip(urls.iter());
    let chosen = only.iter().map(|name| ("--only", name));
    let args: Vec<&str> = gateways
        .chain(chosen)
        .flat_map(|(name, value)| [name, value])
        .collect();
    client.features(&args)
}

/// The one scenario that whoever runs the tests is interested in.
fn only() -> Option<String> {
    std::env::var("KEYWAY_ONLY").ok()
}
