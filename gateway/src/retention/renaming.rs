//! Composition of subject transforms: how a published subject is stored, behind the transforms of several streams.
//!
//! A pattern's wildcards are numbered, so that a transform can be applied to the result of another: `a.*.>` that becomes
//! `b.>.$1`.

use super::json::SubjectTransform;

/// A pattern of published subjects, and the subjects under which they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubjectMapping {
    from: Vec<Token>,
    to: Vec<Token>,
}

/// A token of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(String),
    /// A `*` of `from`, by its number.
    Wildcard(usize),
    /// A final `>`.
    Tail,
    /// A mapping function that only the server computes, such as `partition`.
    Function(String),
}

impl SubjectMapping {
    /// The identity.
    pub(super) fn unchanged(pattern: &str) -> Self {
        let from = pattern_tokens(pattern);
        let to = from.clone();
        Self { from, to }
    }

    fn of(transform: &SubjectTransform) -> Self {
        let source = Some(transform.src.as_str()).filter(|source| !source.is_empty());
        Self {
            from: pattern_tokens(source.unwrap_or(">")),
            to: transform.dest.split('.').map(destination).collect(),
        }
    }

    /// Followed by a transform; `None` if that matches nothing of it.
    pub(super) fn followed_by(&self, transform: &SubjectTransform) -> Option<Self> {
        self.compose(&Self::of(transform))
    }

    /// The part of it that is stored under matching subjects.
    pub(super) fn restricted_to(&self, pattern: &str) -> Option<Self> {
        self.compose(&Self::unchanged(pattern))
    }

    fn compose(&self, next: &Self) -> Option<Self> {
        let intersection = Intersection::of(self, &next.from)?;
        let narrowed = |tokens: &[Token]| -> Vec<Token> {
            tokens
                .iter()
                .flat_map(|t| intersection.narrowed(t))
                .collect()
        };
        let to = next.to.iter().flat_map(|token| match token {
            Token::Wildcard(number) => match intersection.bound(*number) {
                Some(bound) => intersection.narrowed(bound),
                None => vec![Token::Function(format!("{{{{wildcard({number})}}}}"))],
            },
            Token::Tail if intersection.rest.is_none() => narrowed(&intersection.tail),
            Token::Tail => intersection.tail.clone(),
            Token::Literal(_) | Token::Function(_) => vec![token.clone()],
        });
        Some(Self {
            to: to.collect(),
            from: narrowed(&self.from),
        })
    }

    /// Whether the stored subjects differ.
    pub(super) fn renames(&self) -> bool {
        self.from != self.to
    }

    /// Both patterns, the second in nats-server's notation.
    pub(super) fn to_patterns(&self) -> (String, String) {
        let numbers: Vec<_> = self.from.iter().filter_map(number).collect();
        let to = |token: &Token| match token {
            Token::Wildcard(wildcard) => {
                let place = numbers.iter().position(|number| number == wildcard);
                let place = place.map_or(0, |place| place.saturating_add(1));
                format!("{{{{wildcard({place})}}}}")
            }
            Token::Literal(_) | Token::Tail | Token::Function(_) => text(token),
        };
        let from: Vec<_> = self.from.iter().map(text).collect();
        let to: Vec<_> = self.to.iter().map(to).collect();
        (from.join("."), to.join("."))
    }
}

/// The intersection of two patterns.
#[derive(Default)]
struct Intersection {
    /// The tokens for the second's wildcards.
    bound: Vec<(usize, Token)>,
    /// The tokens for its `>`.
    tail: Vec<Token>,
    /// The literals to which the first's wildcards are narrowed.
    literals: Vec<(usize, String)>,
    /// The tokens to which its `>` is narrowed.
    rest: Option<Vec<Token>>,
}

impl Intersection {
    fn of(first: &SubjectMapping, second: &[Token]) -> Option<Self> {
        let mut intersection = Self::default();
        let (mut one, mut other) = (first.to.iter().enumerate(), second.iter().enumerate());
        loop {
            match (one.next(), other.next()) {
                (None, None) => return Some(intersection),
                (Some((at, _)), Some((_, Token::Tail))) => {
                    intersection.tail = first.to.get(at..).unwrap_or_default().to_vec();
                    return Some(intersection);
                }
                (Some((_, Token::Tail)), Some((at, _))) => {
                    intersection.narrow_tail(first, second.get(at..).unwrap_or_default());
                    return Some(intersection);
                }
                (Some((_, Token::Literal(a))), Some((_, Token::Literal(b)))) if a != b => {
                    return None;
                }
                (Some((_, Token::Wildcard(number))), Some((_, Token::Literal(literal)))) => {
                    intersection.literals.push((*number, literal.clone()));
                }
                (Some((_, token)), Some((_, Token::Wildcard(number)))) => {
                    intersection.bound.push((*number, token.clone()));
                }
                (Some(_), Some(_)) => {}
                (None, Some(_)) | (Some(_), None) => return None,
            }
        }
    }

    /// Narrows the first's `>` to these tokens.
    fn narrow_tail(&mut self, first: &SubjectMapping, tokens: &[Token]) {
        let taken = first.from.iter().filter_map(number).max().unwrap_or(0);
        let rest = tokens.iter().map(|token| match token {
            Token::Wildcard(own) => {
                let fresh = Token::Wildcard(taken.saturating_add(*own));
                self.bound.push((*own, fresh.clone()));
                fresh
            }
            Token::Literal(_) | Token::Tail | Token::Function(_) => token.clone(),
        });
        let rest: Vec<_> = rest.collect();
        if rest.last() == Some(&Token::Tail) {
            self.tail = vec![Token::Tail];
        }
        self.rest = Some(rest);
    }

    fn bound(&self, number: usize) -> Option<&Token> {
        let mut bound = self.bound.iter();
        bound
            .find(|(own, _)| *own == number)
            .map(|(_, token)| token)
    }

    /// A token of the first, narrowed.
    fn narrowed(&self, token: &Token) -> Vec<Token> {
        match (token, &self.rest) {
            (Token::Wildcard(number), _) => {
                let mut literals = self.literals.iter();
                let literal = literals.find(|(own, _)| own == number);
                let literal = literal.map(|(_, text)| Token::Literal(text.clone()));
                vec![literal.unwrap_or_else(|| token.clone())]
            }
            (Token::Tail, Some(rest)) => rest.clone(),
            _ => vec![token.clone()],
        }
    }
}

fn pattern_tokens(pattern: &str) -> Vec<Token> {
    let mut count = 0_usize;
    let tokens = pattern.split('.').map(|token| match token {
        "*" => {
            count = count.saturating_add(1);
            Token::Wildcard(count)
        }
        ">" => Token::Tail,
        literal => Token::Literal(literal.to_owned()),
    });
    tokens.collect()
}

/// A token of a transform's destination: `{{wildcard(1)}}` and `$1` are the first `*`.
fn destination(token: &str) -> Token {
    let inner = token
        .strip_prefix("{{")
        .and_then(|token| token.strip_suffix("}}"));
    let number = match inner {
        Some(function) => wildcard(function),
        None => token.strip_prefix('$'),
    };
    match number.and_then(|number| number.trim().parse().ok()) {
        Some(number) => Token::Wildcard(number),
        None if token == ">" => Token::Tail,
        None if token.contains("{{") => Token::Function(token.to_owned()),
        None => Token::Literal(token.to_owned()),
    }
}

/// The number in `wildcard(1)`, in any letter case.
fn wildcard(function: &str) -> Option<&str> {
    let (name, rest) = function.trim().split_once('(')?;
    let number = rest.strip_suffix(')')?;
    name.eq_ignore_ascii_case("wildcard").then_some(number)
}

fn number(token: &Token) -> Option<usize> {
    match token {
        Token::Wildcard(number) => Some(*number),
        Token::Literal(_) | Token::Tail | Token::Function(_) => None,
    }
}

fn text(token: &Token) -> String {
    match token {
        Token::Literal(text) | Token::Function(text) => text.clone(),
        Token::Wildcard(_) => "*".to_owned(),
        Token::Tail => ">".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pattern: &str, transforms: &[(&str, &str)]) -> Option<(String, String)> {
        let start = Some(SubjectMapping::unchanged(pattern));
        let end = transforms.iter().fold(start, |mapping, (src, dest)| {
            let (src, dest) = ((*src).to_owned(), (*dest).to_owned());
            mapping?.followed_by(&SubjectTransform {
                src,
                dest,
                ..SubjectTransform::default()
            })
        });
        end.map(|mapping| mapping.to_patterns())
    }

    #[test]
    fn transforms_one_after_another_are_one() {
        for (pattern, transforms, from, to) in [
            (
                "a.*",
                &[("a.*", "b.{{wildcard(1)}}")][..],
                "a.*",
                "b.{{wildcard(1)}}",
            ),
            ("a.>", &[("a.>", "b.>"), ("b.>", "c.>")], "a.>", "c.>"),
            ("a.>", &[("", "b.>"), ("b.a.>", "c.>")], "a.>", "c.>"),
            (
                ">",
                &[("a.*.>", "b.$1.>"), ("b.x.>", "c.>")],
                "a.x.>",
                "c.>",
            ),
            (
                "a.>",
                &[("a.*.*", "b.$2.$1")],
                "a.*.*",
                "b.{{wildcard(2)}}.{{wildcard(1)}}",
            ),
            ("a.*", &[("a.*", "b.$1"), ("b.x", "c")], "a.x", "c"),
            ("a.x", &[("a.*", "b.$1"), (">", "c.>")], "a.x", "c.b.x"),
            (
                "*.*",
                &[("a.*", "b.$1"), ("b.*", "c.{{Wildcard(1)}}")],
                "a.*",
                "c.{{wildcard(1)}}",
            ),
            (
                "a.*",
                &[("a.*", "b.{{partition(3,1)}}"), ("b.*", "c.$1")],
                "a.*",
                "c.{{partition(3,1)}}",
            ),
        ] {
            let expected = Some((from.to_owned(), to.to_owned()));
            assert_eq!(through(pattern, transforms), expected, "{transforms:?}");
        }
    }

    #[test]
    fn transform_of_something_else_takes_nothing() {
        assert_eq!(through("a.>", &[("b.>", "c.>")]), None);
        assert_eq!(through("a", &[("a.>", "c.>")]), None);
        assert_eq!(through("a.b.c", &[("a.*", "c.$1")]), None);
    }
}
