//! Finds state directory and admin socket of the running gateway in a configuration file with errors.
//!
//! Commands in an emergency must work while somebody edits the file. Reaching the wrong gateway would be worse than failing, so
//! that a key counts only where it is unambiguous: it occurs once, before any broken table header, and its line is valid TOML.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::finding::line_at;
use super::schema::{self, Key};
use super::value::{self, Value};

/// How to reach a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLocation {
    /// Its state directory.
    pub state: PathBuf,
    /// Its admin socket.
    pub socket: PathBuf,
}

/// The value of one key.
enum Lookup {
    Absent,
    Path(PathBuf),
    Ambiguous,
}

/// Looks into the file at `path`; `named` is a state directory that overrides the file's. `None` where it is ambiguous.
#[must_use]
pub fn locate_gateway(
    path: &Path,
    environment: &Environment,
    named: Option<&Path>,
) -> Option<GatewayLocation> {
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    let (state, socket) = read(path).map_or((Lookup::Ambiguous, Lookup::Ambiguous), |text| {
        find_keys(&text, base)
    });
    let state = match (named, state) {
        (Some(named), _) => named.to_owned(),
        (None, Lookup::Path(state)) => state,
        (None, Lookup::Absent) => environment.state.clone()?,
        (None, Lookup::Ambiguous) => return None,
    };
    let usual = state.join("admin.sock");
    let socket = match socket {
        Lookup::Path(socket) => socket,
        Lookup::Absent => usual,
        Lookup::Ambiguous if named.is_some() => usual,
        Lookup::Ambiguous => return None,
    };
    Some(GatewayLocation { state, socket })
}

/// The file's text. Regular files only: it was read before, and a pipe would be empty by now.
fn read(path: &Path) -> Option<String> {
    let again = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let bytes = again.then(|| std::fs::read(path).ok()).flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `state` and `admin.socket`.
fn find_keys(text: &str, base: &Path) -> (Lookup, Lookup) {
    let (_root, mistakes) = DeTable::parse_recoverable(text);
    let wrong = mistakes
        .iter()
        .map(|mistake| mistake.span().map_or(0, |span| span.start));
    let wrong: Vec<usize> = wrong.collect();
    let lost = wrong
        .iter()
        .filter(|at| line_at(text, **at).trim_start().starts_with('['));
    // Keys behind a broken header are in the wrong table.
    let end = lost.min().map_or(text.len(), |at| {
        let before = text.get(..*at).unwrap_or_default();
        before
            .rfind('\n')
            .map_or(0, |newline| newline.saturating_add(1))
    });
    let (root, _mistakes) = DeTable::parse_recoverable(text.get(..end).unwrap_or_default());
    let lookup = |key: &Key| {
        let name = schema::last(key.path);
        let lines = text.lines().filter(|line| gives(line, name)).count();
        match (value_of(root.get_ref(), key.path), lines) {
            (None, 0) => Lookup::Absent,
            (Some(found), 1) if is_whole(text, found.span().start, &wrong) => {
                let written = Value {
                    toml: found.get_ref(),
                    kind: key.kind,
                    base,
                };
                value::path(written).map_or(Lookup::Ambiguous, Lookup::Path)
            }
            (Some(_) | None, _) => Lookup::Ambiguous,
        }
    };
    let lookup = |path| schema::key(path).map_or(Lookup::Ambiguous, lookup);
    (lookup("state"), lookup("admin.socket"))
}

/// The value of the key at `path`, at the top of the file or in a section.
fn value_of<'t>(root: &'t DeTable<'t>, path: &str) -> Option<&'t Spanned<DeValue<'t>>> {
    let table = match schema::section(path) {
        "" => root,
        section => root.get(section)?.get_ref().as_table()?,
    };
    table.get(schema::last(path))
}

/// Whether the line assigns the key, in any table.
fn gives(line: &str, key: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    code.match_indices(key).any(|(at, _key)| {
        let behind = code.get(at.saturating_add(key.len())..).unwrap_or_default();
        let behind = behind.trim_start_matches(['"', '\'']).trim_start();
        behind.starts_with('=')
    })
}

/// Whether the line around `at` has no syntax error.
fn is_whole(text: &str, at: usize, wrong: &[usize]) -> bool {
    let line = |at| text.get(..at).unwrap_or(text).matches('\n').count();
    wrong.iter().all(|wrong| line(*wrong) != line(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn seen(text: &str, named: Option<&str>) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gw.toml");
        std::fs::write(&file, text).unwrap();
        let environment = Environment {
            now: Clock::system().wall(),
            state: Some("/usual".into()),
            passphrase: None,
        };
        let location = locate_gateway(&file, &environment, named.map(Path::new))?;
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        Some((text(location.state), text(location.socket)))
    }

    #[test]
    fn way_to_the_gateway_is_seen_whatever_else_is_wrong() {
        let usual = Some(("/s".to_owned(), "/s/admin.sock".to_owned()));
        for wrong in [
            "nonsense = 1\n",
            "listen = \"\n",
            "listen = 3\nservers = [\n",
            "[[keyring]\nname = \"a\"\n",
            "[keyring\nname = \"a\"\n",
            "# state = \"/t\"\n",
        ] {
            assert_eq!(
                seen(&format!("state = \"/s\"\n{wrong}"), None),
                usual,
                "{wrong}"
            );
        }
        let socket = "state = \"/s\"\nx = 1\n[admin]\nsocket = \"/run/a\"\n[[keyring]\n";
        let own = Some(("/s".to_owned(), "/run/a".to_owned()));
        assert_eq!(seen(socket, None), own);
        let inline = "state = \"/s\"\nadmin = { socket = \"/run/a\" }\nx\n";
        assert_eq!(seen(inline, None), own);
        let nothing = Some(("/usual".to_owned(), "/usual/admin.sock".to_owned()));
        assert_eq!(seen("nonsense", None), nothing);
    }

    #[test]
    fn what_is_not_clear_leads_nowhere_but_to_the_directory_that_is_named() {
        for unclear in [
            "state = /s\n",
            "state = \"/s\n",
            "state = 3\n",
            "state\n= \"/s\"\nstate = \"/t\"\n",
            "state = \"/s\"\nstate = \"/t\"\n",
            "listen = [ \"a\",\nstate = \"/s\"\n",
            "x = \"\"\"\nstate = \"/s\"\n",
            "[admin\nstate = \"/s\"\n",
            "state = \"/s\"\n[admin\nsocket = \"/run/a\"\n",
            "state = \"/s\"\n[admin]\nsocket = \"/run/a\n",
        ] {
            assert_eq!(seen(unclear, None), None, "{unclear}");
            let named = ("/n".to_owned(), "/n/admin.sock".to_owned());
            assert_eq!(seen(unclear, Some("/n")), Some(named), "{unclear}");
        }
        let environment = Environment {
            now: Clock::system().wall(),
            state: Some("/usual".into()),
            passphrase: None,
        };
        for nothing in ["/nonexistent", "/dev/null"] {
            assert_eq!(locate_gateway(Path::new(nothing), &environment, None), None);
        }
    }
}
