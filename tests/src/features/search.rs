//! Searches for the marker.

use super::MARKER;
use crate::frame::Frame;
use data_encoding::{BASE64, BASE64_NOPAD};

/// Bytes to be searched, each with its place.
#[derive(Default)]
pub struct SearchedData(Vec<(String, Vec<u8>)>);

/// A place where the marker was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak {
    /// The row whose scenario wrote it; `None` if unknown.
    pub row: Option<String>,
    /// Where it was found.
    pub place: String,
}

impl SearchedData {
    /// Adds bytes.
    pub fn add(&mut self, place: String, bytes: Vec<u8>) {
        self.0.push((place, bytes));
    }

    /// Adds the subjects, headers and payloads of operations.
    pub fn frames(&mut self, frames: &[Frame]) {
        for frame in frames {
            let bytes = [frame.line.as_bytes(), &frame.body].concat();
            self.add(format!("on the bus: {}", frame.line), bytes);
        }
    }
}

/// Every place of the marker, attributed to the row that is named behind it, else to the row that the place is named after.
pub fn search(places: &SearchedData, rows: &[&str]) -> Vec<Leak> {
    let needles = needles();
    let found = places.0.iter().filter_map(|(place, bytes)| {
        let at = needles.iter().find_map(|needle| position(bytes, needle))?;
        let named = marker_owner(bytes).or_else(|| marker_owner(&decoded(bytes, at)));
        let mut candidates: Vec<_> = rows.iter().filter(|row| place.contains(**row)).collect();
        candidates.sort_by_key(|row| row.len());
        let row = rows
            .iter()
            .find(|row| Some(**row) == named.as_deref())
            .or_else(|| candidates.last().copied());
        Some(Leak {
            row: row.map(ToString::to_string),
            place: place.clone(),
        })
    });
    found.collect()
}

/// The marker, and the parts of its base64 that are the same whatever surrounds it, at each of the three alignments.
fn needles() -> Vec<Vec<u8>> {
    let mut needles = vec![MARKER.as_bytes().to_vec()];
    for before in 0..3_usize {
        let text = BASE64.encode(&[&vec![0; before], MARKER.as_bytes()].concat());
        let first = (before * 8).div_ceil(6);
        let end = (before + MARKER.len()) * 8 / 6;
        needles.push(text.as_bytes()[first..end].to_vec());
    }
    needles
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|part| part == needle)
}

/// The word after the marker.
fn marker_owner(bytes: &[u8]) -> Option<String> {
    let after = &bytes[position(bytes, MARKER.as_bytes())? + MARKER.len()..];
    let word = after.strip_prefix(b" ")?;
    let end = word
        .iter()
        .position(|byte| !(byte.is_ascii_lowercase() || *byte == b'_'));
    Some(String::from_utf8_lossy(&word[..end.unwrap_or(word.len())]).into_owned())
}

/// The base64 around a place, decoded as far as it goes.
fn decoded(bytes: &[u8], at: usize) -> Vec<u8> {
    let of = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let before = bytes[..at].iter().rev().take_while(|byte| of(byte)).count();
    let after = bytes[at..].iter().take_while(|byte| of(byte)).count();
    let whole = &bytes[at - before..at + after];
    BASE64_NOPAD
        .decode(&whole[..whole.len() / 4 * 4])
        .unwrap_or_default()
}
