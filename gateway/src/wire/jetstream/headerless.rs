//! A direct get without headers (`no_hdr`, ADR-52): only the request knows which subject the answer is of.

use std::borrow::Cow;

use super::super::json::{Members, means, text};
use super::super::subject::is_literal;

/// The subject of the stored message that the body of a direct get asks for, when its answer will have no header that says so. `None`
/// too where the request names no subject, or one with wildcards.
#[must_use]
pub fn headerless(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mut without, mut subject) = (false, None);
    for member in Members::new(body) {
        let member = member.ok()?;
        if means(member.key, b"no_hdr") {
            without = member.value == b"true";
        } else if means(member.key, b"last_by_subj") || means(member.key, b"next_by_subj") {
            subject = text(member.value);
        }
    }
    subject.filter(|subject| without && !subject.is_empty() && is_literal(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headerless_request_names_the_subject_that_its_answer_does_not() {
        for request in [
            &br#"{"last_by_subj":"a.b","no_hdr":true}"#[..],
            br#"{"seq":3,"no_hdr":true,"next_by_subj":"a.b"}"#,
        ] {
            assert_eq!(headerless(request).as_deref(), Some(&b"a.b"[..]));
        }
        for other in [
            &br#"{"last_by_subj":"a.b"}"#[..],
            br#"{"last_by_subj":"a.b","no_hdr":false}"#,
            br#"{"seq":1,"no_hdr":true}"#,
            br#"{"next_by_subj":"a.*","no_hdr":true}"#,
            br#"{"last_by_subj":"","no_hdr":true}"#,
            b"{",
            b"",
        ] {
            assert_eq!(headerless(other), None);
        }
    }
}
