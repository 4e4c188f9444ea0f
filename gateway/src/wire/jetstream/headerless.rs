//! A direct get without headers (`no_hdr`, ADR-52): only the request knows which subject the answer is of.

use std::borrow::Cow;

use super::super::json::{Members, means, text};

/// The subject of the stored message that the body of a direct get asks for, when its answer will have no header that says so. `None`
/// too where the request names a sequence, and no subject.
#[must_use]
pub fn headerless(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mut without, mut subject) = (false, None);
    for member in Members::new(body) {
        let member = member.ok()?;
        if means(member.key, b"no_hdr") {
            without = member.value == b"true";
        } else if means(member.key, b"last_by_subj") {
            subject = text(member.value);
        }
    }
    subject.filter(|subject| without && !subject.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headerless_request_names_the_subject_that_its_answer_does_not() {
        let named = headerless(br#"{"last_by_subj":"a.b","no_hdr":true}"#);
        assert_eq!(named.as_deref(), Some(&b"a.b"[..]));
        for other in [
            &br#"{"last_by_subj":"a.b"}"#[..],
            br#"{"last_by_subj":"a.b","no_hdr":false}"#,
            br#"{"seq":1,"no_hdr":true}"#,
            br#"{"last_by_subj":"","no_hdr":true}"#,
            b"{",
            b"",
        ] {
            assert_eq!(headerless(other), None);
        }
    }
}
