//! Prints the demo: the rows of its table, and the text around it.

use std::collections::HashMap;
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::envelope::{HEADER_LEN, Header, Kid};

use super::layout::{Cell, Rule, Style, Tone};

/// The pause after each row on a terminal, so that a person can follow.
const PACE: Duration = Duration::from_millis(260);

/// The width of a line, in characters, without a terminal.
const LOG_WIDTH: usize = 100;

/// The output of the demo.
pub(super) struct Screen {
    out: Output,
    style: Style,
    pace: Duration,
    /// Label and colour of the key versions.
    keys: HashMap<String, (String, Tone)>,
    newest: Option<String>,
    /// The rule above the next row.
    open: Rule,
}

/// A row: one message, as agents, the bus and an outsider have it.
pub(super) struct MessageRow<'a> {
    /// Sender and receiver.
    pub(super) title: [&'a str; 2],
    /// What the agent receives.
    pub(super) heard: (Tone, &'a str),
    /// The subject on the bus.
    pub(super) subject: &'a str,
    /// What the bus carries.
    pub(super) carried: &'a [u8],
    /// A remark, or empty.
    pub(super) remark: &'a str,
    /// What an outsider that bypasses the gateway gets.
    pub(super) outside: Cell,
}

impl Screen {
    pub(super) fn new(out: Output) -> Self {
        let terminal = output::width();
        let width = terminal.unwrap_or(LOG_WIDTH);
        Self {
            out,
            style: if output::wants_colour() {
                Style::fancy(width)
            } else {
                Style::plain(width)
            },
            pace: terminal.map_or(Duration::ZERO, |_width| PACE),
            keys: HashMap::new(),
            newest: None,
            open: Rule::Middle,
        }
    }

    pub(super) const fn style(&self) -> &Style {
        &self.style
    }

    /// Shows `kid` as `label` from now on.
    pub(super) fn learn(&mut self, kid: &str, label: &str) {
        let tone = Tone::Sealed(self.keys.len());
        self.newest = Some(label.to_owned());
        self.keys.insert(kid.to_owned(), (label.to_owned(), tone));
    }

    /// Whether this version has a label.
    pub(super) fn knows(&self, kid: Kid) -> bool {
        self.keys.contains_key(&kid.to_string())
    }

    /// The label added last.
    pub(super) fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    /// A line outside the table.
    pub(super) fn say(&mut self, tone: Tone, text: &str) -> Result<(), Failure> {
        Ok(self.out.line(self.style.paint(tone, text))?)
    }

    /// The head of the table.
    pub(super) fn head(&mut self) -> Result<(), Failure> {
        let head = ["agents say", "the bus carries", "an outsider gets"];
        let cells = head.map(|text| vec![(Tone::Strong, text.to_owned())]);
        self.out.line(self.style.rule(Rule::Top))?;
        self.out.lines(self.style.row(cells))?;
        Ok(self.out.flush()?)
    }

    /// A row of the table.
    pub(super) async fn show(&mut self, message_row: MessageRow<'_>) -> Result<(), Failure> {
        let bus = self.on_the_bus(&message_row);
        let [from, to] = message_row.title;
        let arrow = self.style.glyphs.arrow;
        let agents = vec![
            (Tone::Strong, format!("{from} {arrow} {to}")),
            (message_row.heard.0, message_row.heard.1.to_owned()),
        ];
        let rule = std::mem::replace(&mut self.open, Rule::Middle);
        self.out.line(self.style.rule(rule))?;
        self.out
            .lines(self.style.row([agents, bus, message_row.outside]))?;
        self.out.flush()?;
        tokio::time::sleep(self.pace).await;
        Ok(())
    }

    /// Lines across the table.
    pub(super) async fn announce(&mut self, lines: &[&str]) -> Result<(), Failure> {
        self.out.line(self.style.rule(Rule::Closing))?;
        for line in lines {
            self.out.lines(self.style.banner(Tone::Good, line))?;
        }
        self.open = Rule::Opening;
        self.out.flush()?;
        tokio::time::sleep(self.pace).await;
        Ok(())
    }

    /// The end of the table.
    pub(super) fn foot(&mut self) -> Result<(), Failure> {
        Ok(self.out.line(self.style.rule(Rule::Bottom))?)
    }

    fn on_the_bus(&self, message_row: &MessageRow<'_>) -> Cell {
        let [_, width, _] = self.style.columns();
        let mut cell = vec![(
            Tone::Strong,
            clip(message_row.subject, width, self.style.glyphs.more),
        )];
        let size = message_row.carried.len();
        if let Ok(header) = Header::parse(message_row.carried) {
            let unknown = || (header.kid.to_string(), Tone::Sealed(0));
            let key = self.keys.get(&header.kid.to_string());
            let (label, tone) = key.cloned().unwrap_or_else(unknown);
            cell.extend(
                self.hex(message_row.carried, width)
                    .map(|line| (tone, line)),
            );
            cell.push((tone, format!("{size} B {label}")));
        } else {
            cell.push((Tone::Plain, self.text(message_row.carried)));
            cell.push((Tone::Outside, format!("{size} B not sealed")));
        }
        if !message_row.remark.is_empty() {
            cell.push((Tone::Faint, message_row.remark.to_owned()));
        }
        cell
    }

    /// The head of an envelope, and the first bytes of its ciphertext.
    fn hex(&self, envelope: &[u8], width: usize) -> [String; 2] {
        let more = self.style.glyphs.more;
        let line = |bytes: &[u8], width: usize| {
            // Three characters per byte, except for the last.
            let fit = width.saturating_add(1).saturating_div(3);
            let pairs = bytes.iter().take(fit).map(|byte| format!("{byte:02x}"));
            pairs.collect::<Vec<_>>().join(" ")
        };
        let room = width.saturating_sub(more.len()).saturating_sub(1);
        let (head, rest) = envelope.split_at_checked(HEADER_LEN).unwrap_or_default();
        [
            format!("{} {more}", line(head, room)),
            format!("{more} {}", line(rest, room)),
        ]
    }

    /// Bytes as text, with the unprintable ones replaced.
    pub(super) fn text(&self, bytes: &[u8]) -> String {
        let shown = |byte: &u8| {
            if byte.is_ascii_graphic() || *byte == b' ' {
                char::from(*byte)
            } else {
                self.style.glyphs.hidden
            }
        };
        bytes.iter().map(shown).collect()
    }

    /// The first characters that an outsider gets, and whether it can read them.
    pub(super) fn outside(&self, seen: &[u8], said: &str) -> Cell {
        let [_, _, width] = self.style.columns();
        let some = seen.get(..seen.len().min(width.saturating_mul(2)));
        // `row` would wrap at spaces.
        let text = self.text(some.unwrap_or_default()).replace(' ', "_");
        let verdict = if seen == said.as_bytes() {
            (Tone::Outside, "READS IT".to_owned())
        } else {
            (Tone::Outside, "cannot read it".to_owned())
        };
        vec![(Tone::Faint, text), verdict]
    }
}

/// At most `width` characters, with a mark where something was cut off.
fn clip(text: &str, width: usize, more: &str) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(more.chars().count());
    text.chars().take(keep).chain(more.chars()).collect()
}
