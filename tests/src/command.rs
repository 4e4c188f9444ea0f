//! Runs the `keyway` binary as a script would, and reads its output.

use crate::gateway;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `keyway` with these arguments.
pub fn keyway(words: &[&str]) -> Output {
    keyway_reading(words, b"")
}

/// The same with something on standard input.
pub fn keyway_reading(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(gateway::binary())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Its exit code; panics where a signal ended it.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Its standard error.
pub fn stderr_of(output: &Output) -> &str {
    text(&output.stderr)
}

/// These bytes, which must be UTF-8.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Its standard output, which must be JSON.
pub fn json(output: &Output) -> Value {
    let said = text(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
