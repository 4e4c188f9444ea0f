//! Subject patterns, and the destinations of transforms as patterns.

/// A transform's destination as a pattern, if its wildcards are in order: `{{wildcard(1)}}` and `$1` are the first `*`.
pub(super) fn pattern_of(dest: &str) -> Option<String> {
    let mut count = 0_usize;
    let mut tokens = Vec::new();
    for token in dest.split('.') {
        let inner = token.strip_prefix("{{").and_then(|t| t.strip_suffix("}}"));
        let number = inner.map_or_else(|| token.strip_prefix('$'), wildcard);
        match number {
            Some(number) => {
                count = count.saturating_add(1);
                if number.trim() != count.to_string() {
                    return None;
                }
                tokens.push("*");
            }
            None if inner.is_some() || token.contains("{{") => return None,
            None => tokens.push(token),
        }
    }
    Some(tokens.join("."))
}

/// The number in `wildcard(1)`, in any letter case.
fn wildcard(function: &str) -> Option<&str> {
    let (name, rest) = function.trim().split_once('(')?;
    let number = rest.strip_suffix(')')?;
    name.eq_ignore_ascii_case("wildcard").then_some(number)
}

/// Whether a subject matches both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(a), Some(b)) if a == "*" || b == "*" || a == b => {}
            (Some(_), Some(_)) | (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destination_is_a_pattern_where_its_wildcards_are_in_order() {
        for (dest, pattern) in [
            ("a.b", Some("a.b")),
            ("a.{{wildcard(1)}}.{{Wildcard(2)}}", Some("a.*.*")),
            ("a.$1", Some("a.*")),
            ("a.>", Some("a.>")),
            ("a.$2.$1", None),
            ("a.{{partition(3,1)}}", None),
            ("a.x{{wildcard(1)}}", None),
        ] {
            assert_eq!(pattern_of(dest).as_deref(), pattern, "{dest}");
        }
    }

    #[test]
    fn patterns_overlap_where_one_subject_matches_both() {
        for (one, other, both) in [
            ("a.>", "a.b", true),
            (">", "x.y", true),
            ("a.*", "*.b", true),
            ("a.*", "a", false),
            ("a.b", "a.c", false),
            ("a.>", "a", false),
        ] {
            assert_eq!(overlap(one, other), both, "{one} {other}");
            assert_eq!(overlap(other, one), both, "{other} {one}");
        }
    }
}
