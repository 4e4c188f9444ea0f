//! The `keyway` binary as a script runs it, and what it said.

use crate::gateway;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `keyway` with these words.
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

/// Its exit code; a signal did not end it.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// What it said on standard error.
pub fn text_of(output: &Output) -> &str {
    text(&output.stderr)
}

/// Bytes that must be text.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The JSON that it printed.
pub fn json(output: &Output) -> Value {
    let said = text(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
