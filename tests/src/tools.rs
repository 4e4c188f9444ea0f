//! The programs that `tests/tools.py` provides.

use crate::scratch::repository;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

static FOUND: Mutex<Option<HashMap<&'static str, PathBuf>>> = Mutex::new(None);

/// Where a tool is (`server`, `server-oldest`, `python`, `node`, `js`, `c`, `haproxy`; see `tests/tools.py`), fetched first if need be.
pub fn path(item: &'static str) -> PathBuf {
    let mut found = FOUND.lock().unwrap();
    found
        .get_or_insert_default()
        .entry(item)
        .or_insert_with(|| ask(item))
        .clone()
}

fn ask(item: &str) -> PathBuf {
    let script = repository().join("tests/tools.py");
    let said = Command::new("python3")
        .arg(script)
        .args(["path", item])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "tests/tools.py could not provide `{item}`; its own words are above"
    );
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}
