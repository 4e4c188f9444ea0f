//! Replaces a number in a configuration: alone, in the `config` of a request, or in an answer, which has one `config`, or one in each
//! element of a list.

use super::super::Buffer;
use super::super::json::{Elements, Member, Members, key_is};
use super::super::write::Decimal;
use super::integer;

/// A number in a JSON text.
#[derive(Clone, Copy)]
pub(super) struct Number {
    pub(super) value: i64,
    /// Where its digits begin.
    pub(super) at: usize,
    /// How many there are.
    len: usize,
}

/// A number in a JSON text, and what it becomes.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) number: Number,
    pub(super) new: i64,
}

impl Number {
    /// The number of a member; `None` for any other value.
    pub(super) fn of(member: &Member<'_>) -> Option<Self> {
        Some(Self {
            value: integer(member.value)?,
            at: member.at,
            len: member.value.len(),
        })
    }

    pub(super) const fn end(self) -> usize {
        self.at.saturating_add(self.len)
    }

    /// `None` if that is no change.
    pub(super) fn becomes(self, new: i64) -> Option<Change> {
        (new != self.value).then_some(Change { number: self, new })
    }
}

impl Change {
    pub(super) fn digits(self) -> Decimal {
        Decimal::new(usize::try_from(self.new).unwrap_or_default())
    }

    /// The same change in a text that has this one at `at`.
    const fn within(self, at: usize) -> Self {
        let at = self.number.at.saturating_add(at);
        Self {
            number: Number { at, ..self.number },
            ..self
        }
    }
}

/// Appends `json` with the changes, in their order, made. `false`: there are none, and `out` is as it was.
pub(super) fn write(
    json: &[u8],
    changes: impl IntoIterator<Item = Change>,
    out: &mut Buffer,
) -> bool {
    let mut copied = 0;
    for change in changes {
        out.put(json.get(copied..change.number.at).unwrap_or_default());
        out.put(change.digits().digits());
        copied = change.number.end();
    }
    if copied != 0 {
        out.put(json.get(copied..).unwrap_or_default());
    }
    copied != 0
}

/// Appends `request` with the change that `change` makes in its `config`.
///
/// `false`: nothing to change, and `out` is as it was.
pub(super) fn change_config(
    request: &[u8],
    change: impl FnOnce(&[u8]) -> Option<Change>,
    out: &mut Buffer,
) -> bool {
    let mut members = Members::new(request).flatten();
    let config = members.find(|member| key_is(member.key, b"config"));
    let changed = config.and_then(|config| Some(change(config.value)?.within(config.at)));
    write(request, changed, out)
}

/// Appends `answer` with the changes that `change` makes in its `config`, and in the `config` of each element of `list`.
///
/// `false`: nothing to change, and `out` is as it was.
pub(super) fn change_configs(
    answer: &[u8],
    list: &[u8],
    mut change: impl FnMut(&[u8]) -> Option<Change>,
    out: &mut Buffer,
) -> bool {
    let mut changes = Vec::new();
    let mut config = |json: &[u8], at: usize| changes.extend(change(json).map(|it| it.within(at)));
    for member in Members::new(answer) {
        let Ok(Member { key, value, at, .. }) = member else {
            return false;
        };
        if key_is(key, b"config") {
            config(value, at);
        } else if key_is(key, list) {
            // An element that is no object holds no configuration.
            for (offset, element) in Elements::new(value).flatten() {
                let at = at.saturating_add(offset);
                let members = Members::new(element).flatten();
                members
                    .filter(|member| key_is(member.key, b"config"))
                    .for_each(|member| config(member.value, at.saturating_add(member.at)));
            }
        }
    }
    write(answer, changes, out)
}
