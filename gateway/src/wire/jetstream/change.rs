//! Replaces a number in a configuration: alone, in the `config` of a request, or in an answer, which has one `config`, or one in each
//! element of a list.

use super::super::Buffer;
use super::super::json::{Elements, Members, NotAnObject, key_is};
use super::super::write::Decimal;

/// A number in a JSON text, and what it becomes.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// Where its digits begin.
    pub(super) at: usize,
    /// How many there are.
    pub(super) len: usize,
    pub(super) new: i64,
}

impl Change {
    /// Appends `json` with the change made.
    pub(super) fn write(self, json: &[u8], out: &mut Buffer) {
        let digits = Decimal::new(usize::try_from(self.new).unwrap_or_default());
        out.put(json.get(..self.at).unwrap_or_default());
        out.put(digits.digits());
        let behind = self.at.saturating_add(self.len);
        out.put(json.get(behind..).unwrap_or_default());
    }
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
    let changed = config.and_then(|config| {
        let change = change(config.value)?;
        let at = config.at.saturating_add(change.at);
        Some(Change { at, ..change })
    });
    if let Some(changed) = changed {
        changed.write(request, out);
    }
    changed.is_some()
}

/// Appends `answer` with the changes that `change` makes in its `config`, and in the `config` of each element of `list`.
///
/// `false`: nothing to change, and `out` is as it was.
pub(super) fn change_configs(
    answer: &[u8],
    list: &[u8],
    change: impl FnMut(&[u8]) -> Option<Change>,
    out: &mut Buffer,
) -> bool {
    let start = out.len();
    let mut copy = Copy {
        answer,
        copied: 0,
        change,
        out,
    };
    let read = copy.answer(list);
    let copied = copy.copied;
    if read.is_err() || copied == 0 {
        out.truncate(start);
        return false;
    }
    out.put(answer.get(copied..).unwrap_or_default());
    true
}

/// A walk through an answer that copies it, except for what it changes.
struct Copy<'a, 'b, F> {
    answer: &'a [u8],
    /// How much of `answer` is accounted for in `out`; 0 until something is changed.
    copied: usize,
    change: F,
    out: &'b mut Buffer,
}

impl<F: FnMut(&[u8]) -> Option<Change>> Copy<'_, '_, F> {
    fn answer(&mut self, list: &[u8]) -> Result<(), NotAnObject> {
        for member in Members::new(self.answer) {
            let member = member?;
            if key_is(member.key, b"config") {
                self.config(member.value, member.at);
            } else if key_is(member.key, list) {
                self.list(member.value, member.at);
            }
        }
        Ok(())
    }

    /// The list begins at `at` of the answer. An element that is no object holds no configuration.
    fn list(&mut self, list: &[u8], at: usize) {
        for (offset, element) in Elements::new(list).flatten() {
            let at = at.saturating_add(offset);
            let members = Members::new(element).flatten();
            for member in members.filter(|member| key_is(member.key, b"config")) {
                self.config(member.value, at.saturating_add(member.at));
            }
        }
    }

    /// The configuration begins at `at` of the answer.
    fn config(&mut self, config: &[u8], at: usize) {
        let Some(change) = (self.change)(config) else {
            return;
        };
        let at = at.saturating_add(change.at);
        self.out
            .put(self.answer.get(self.copied..at).unwrap_or_default());
        let new = usize::try_from(change.new).unwrap_or_default();
        self.out.put(Decimal::new(new).digits());
        self.copied = at.saturating_add(change.len);
    }
}
