//! The subject that a request for a stored message names; a response without headers (`no_hdr`, ADR-52) does not.

use std::borrow::Cow;

use super::super::json::{Elements, Members, key_is, text};
use super::super::subject::is_literal;

/// The subject that the body of `DIRECT.GET` or `STREAM.MSG.GET` asks for; `None` if it names none, several, or one with
/// wildcards.
#[must_use]
pub fn requested_subject(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut subject = None;
    for member in Members::new(body) {
        let member = member.ok()?;
        if key_is(member.key, b"last_by_subj") || key_is(member.key, b"next_by_subj") {
            subject = text(member.value);
        } else if key_is(member.key, b"multi_last") {
            let mut named = Elements::new(member.value).flatten();
            let Some((_, first)) = named.next() else {
                continue;
            };
            if named.next().is_some() {
                return None;
            }
            subject = text(first);
        }
    }
    subject.filter(|subject| !subject.is_empty() && is_literal(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_names_the_subject_of_the_message_it_asks_for() {
        for request in [
            &br#"{"last_by_subj":"a.b","no_hdr":true}"#[..],
            br#"{"seq":3,"no_hdr":true,"next_by_subj":"a.b"}"#,
            br#"{"multi_last":["a.b"]}"#,
            br#"{"multi_last":[],"last_by_subj":"a.b"}"#,
        ] {
            assert_eq!(requested_subject(request).as_deref(), Some(&b"a.b"[..]));
        }
        for other in [
            &br#"{"seq":1,"no_hdr":true}"#[..],
            br#"{"next_by_subj":"a.*","no_hdr":true}"#,
            br#"{"last_by_subj":"","no_hdr":true}"#,
            br#"{"multi_last":["a.b","a.c"]}"#,
            br#"{"multi_last":["a.b","a.b"],"last_by_subj":"a.b"}"#,
            br#"{"multi_last":["a.*"]}"#,
            br#"{"multi_last":[]}"#,
            br#"{"multi_last":[null]}"#,
            b"{",
            b"",
        ] {
            assert_eq!(requested_subject(other), None);
        }
    }
}
