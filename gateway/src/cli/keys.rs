//! `keyway keys`: the key versions and their states, read from the catalogue.

use serde::Serialize;

use crate::catalogue::{Version, View};
use crate::policy::KeyringName;

use super::args::Keys;
use super::failure::Failure;
use super::output::{Output, table};
use super::place;

/// A key version in JSON.
#[derive(Serialize)]
struct Row {
    keyring: String,
    number: u32,
    label: String,
    kid: String,
    suite: &'static str,
    state: &'static str,
    nist: &'static str,
    created: String,
    since: String,
    activated: Option<String>,
    deactivated: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Listing {
    catalogue: String,
    state: String,
    versions: Vec<Row>,
}

pub(super) fn run(args: &Keys, out: &mut Output) -> Result<(), Failure> {
    let view = place::view(&place::configuration(&args.place)?)?;
    if args.json {
        out.json(&listing(&view))?;
    } else if view.versions().next().is_none() {
        out.line("no key versions yet: the first `keyway run` makes them")?;
    } else {
        out.line(page(&view))?;
    }
    Ok(())
}

fn listing(view: &View) -> Listing {
    Listing {
        catalogue: view.id().to_owned(),
        state: view.path().display().to_string(),
        versions: view.versions().map(row).collect(),
    }
}

fn row((keyring, version): (&KeyringName, &Version)) -> Row {
    Row {
        keyring: keyring.to_string(),
        number: version.number,
        label: version.label.to_string(),
        kid: version.kid.to_string(),
        suite: version.suite.name(),
        state: version.state.name(),
        nist: version.state.nist(),
        created: version.created.to_string(),
        since: version.since.to_string(),
        activated: version.activated.map(|time| time.to_string()),
        deactivated: version.deactivated.map(|time| time.to_string()),
    }
}

fn page(view: &View) -> String {
    let words = |words: [&str; 6]| words.map(str::to_owned).to_vec();
    let head = words(["KEYRING", "VERSION", "STATE", "SINCE", "SUITE", "KID"]);
    let rows = view.versions().map(row).map(|row| {
        words([
            &row.keyring,
            &row.label,
            row.state,
            &row.since,
            row.suite,
            &row.kid,
        ])
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
