//! Three columns side by side, in a terminal or in a log.

use crate::cli::output::Line;

/// The role of a piece of text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Plain text.
    Plain,
    /// A name, a heading.
    Strong,
    /// Less important text.
    Faint,
    /// Ciphertext under the key version with this index, from 0.
    Sealed(usize),
    /// A success.
    Good,
    /// What an outsider without keys gets, and failures.
    Outside,
}

/// Characters for borders and marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyphs {
    pub(super) across: char,
    pub(super) down: char,
    /// Corners and crossings: rows top, middle, bottom; in each left, middle, right.
    pub(super) corners: [[char; 3]; 3],
    pub(super) arrow: &'static str,
    pub(super) back: &'static str,
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    pub(super) more: &'static str,
    pub(super) hidden: char,
}

/// A horizontal rule, by where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Above the table.
    Top,
    /// Between rows.
    Middle,
    /// Between a row and a banner.
    Closing,
    /// Between a banner and a row.
    Opening,
    /// Below the table.
    Bottom,
}

/// Width, colours and characters to draw with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Columns of the terminal that are used.
    pub(super) width: usize,
    /// Whether to use colours.
    pub(super) colour: bool,
    /// Lines and marks.
    pub(super) glyphs: Glyphs,
}

/// Lines of one column.
pub(super) type Cell = Vec<(Tone, String)>;

/// Borders and their spaces: `│ a │ b │ c │`.
const FRAME: usize = 10;

/// Bounds of the width: narrower, nothing fits a column; wider, rows are hard to follow.
const NARROWEST: usize = 60;
const WIDEST: usize = 132;

const BOX: Glyphs = Glyphs {
    across: '─',
    down: '│',
    corners: [['┌', '┬', '┐'], ['├', '┼', '┤'], ['└', '┴', '┘']],
    arrow: "→",
    back: "←",
    good: "✓",
    bad: "✗",
    more: "…",
    hidden: '·',
};

const ASCII: Glyphs = Glyphs {
    across: '-',
    down: '|',
    corners: [['+', '+', '+'], ['+', '+', '+'], ['+', '+', '+']],
    arrow: "->",
    back: "<-",
    good: "ok:",
    bad: "FAILED:",
    more: "...",
    hidden: '.',
};

impl Style {
    /// Colours and boxes, for a terminal of this width.
    pub(super) fn fancy(width: usize) -> Self {
        Self {
            width: width.clamp(NARROWEST, WIDEST),
            colour: true,
            glyphs: BOX,
        }
    }

    /// Plain text, for a log or a terminal that wants no colours.
    pub(super) fn plain(width: usize) -> Self {
        Self {
            width: width.clamp(NARROWEST, WIDEST),
            colour: false,
            glyphs: ASCII,
        }
    }

    /// How many characters each column holds.
    pub(super) fn columns(&self) -> [usize; 3] {
        let room = self.width.saturating_sub(FRAME);
        let share = |percent: usize| room.saturating_mul(percent).saturating_div(100);
        let (first, second) = (share(36), share(38));
        let third = room.saturating_sub(first).saturating_sub(second);
        [first, second, third]
    }

    /// `text` as it looks in `tone`.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> Line {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Sealed(place) => match place % 4 {
                0 => "33",
                1 => "35",
                2 => "36",
                _ => "34",
            },
            Tone::Good => "32",
            Tone::Outside => "31",
        };
        if !self.colour || code.is_empty() || text.trim().is_empty() {
            return text.into();
        }
        Line::coloured(text, code)
    }

    /// A horizontal rule.
    pub(super) fn rule(&self, rule: Rule) -> Line {
        let [top, middle, bottom] = self.glyphs.corners;
        let [start, crossing, end] = match rule {
            Rule::Top => top,
            Rule::Middle => middle,
            Rule::Closing => [middle[0], bottom[1], middle[2]],
            Rule::Opening => [middle[0], top[1], middle[2]],
            Rule::Bottom => bottom,
        };
        let spans = self.columns().map(|width| {
            String::from_iter(std::iter::repeat_n(
                self.glyphs.across,
                width.saturating_add(2),
            ))
        });
        let line = spans.join(&crossing.to_string());
        self.paint(Tone::Faint, &format!("{start}{line}{end}"))
    }

    /// A row: every cell wrapped to its column, as high as the highest.
    pub(super) fn row(&self, cells: [Cell; 3]) -> Vec<Line> {
        let widths = self.columns();
        let mut columns = cells.into_iter().zip(widths).map(|(cell, width)| {
            let lines = cell
                .into_iter()
                .flat_map(|(tone, text)| wrap(&text, width).into_iter().map(move |l| (tone, l)));
            lines.collect::<Vec<_>>()
        });
        let columns: [Vec<_>; 3] = std::array::from_fn(|_| columns.next().unwrap_or_default());
        let height = columns.iter().map(Vec::len).max().unwrap_or_default();
        let lines = (0..height).map(|line| self.line(&columns, widths, line));
        lines.collect()
    }

    fn line(&self, columns: &[Vec<(Tone, String)>; 3], widths: [usize; 3], line: usize) -> Line {
        let bar = self.paint(Tone::Faint, &self.glyphs.down.to_string());
        let mut text = bar.clone();
        for (column, width) in columns.iter().zip(widths) {
            let (tone, words) = column
                .get(line)
                .map_or((Tone::Plain, ""), |(tone, words)| (*tone, words.as_str()));
            let padded = format!("{words:width$}");
            let padded = Line::from(" ").and(self.paint(tone, &padded)).and(" ");
            text = text.and(padded).and(bar.clone());
        }
        text
    }

    /// A text that spans all columns.
    pub(super) fn banner(&self, tone: Tone, text: &str) -> Vec<Line> {
        let width = self.width.saturating_sub(4);
        let bar = self.paint(Tone::Faint, &self.glyphs.down.to_string());
        let lines = wrap(text, width);
        let lines = lines.iter().map(|line| {
            let painted = self.paint(tone, &format!("{line:width$}"));
            let painted = Line::from(" ").and(painted).and(" ");
            bar.clone().and(painted).and(bar.clone())
        });
        lines.collect()
    }
}

/// Wraps at spaces to `width` characters; longer words are split.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let fits = |line: &str, word: &str| {
            let space = usize::from(!line.is_empty());
            let taken = line.chars().count().saturating_add(space);
            taken.saturating_add(word.chars().count()) <= width
        };
        if !line.is_empty() && !fits(&line, &word) {
            lines.push(std::mem::take(&mut line));
        }
        while word.chars().count() > width {
            lines.push(word.chars().take(width).collect());
            word = word.chars().skip(width).collect();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell {
        vec![(Tone::Strong, text.to_owned())]
    }

    #[test]
    fn every_line_of_a_row_is_as_wide_as_the_terminal() {
        for width in [60, 80, 81, 100, 132] {
            let mut style = Style::fancy(width);
            style.colour = false;
            let words = "a few words that have to be wrapped somewhere, averylongwordthatfitsnowhereatallinanycolumnofthetable";
            let row = style.row([cell(words), cell("short"), cell("")]);
            let rule = vec![style.rule(Rule::Middle)];
            let lines = [row, rule, style.banner(Tone::Plain, words)];
            for line in lines.iter().flatten() {
                assert_eq!(line.as_str().chars().count(), width, "{line:?}");
            }
        }
    }

    #[test]
    fn log_has_neither_colours_nor_box_drawing() {
        let style = Style::plain(100);
        let mut lines = style.row([cell("a"), cell("b"), cell("c")]);
        lines.push(style.rule(Rule::Top));
        for line in lines.iter().map(Line::as_str) {
            assert!(line.is_ascii() && !line.contains('\x1b'), "{line}");
        }
    }

    #[test]
    fn wrapping_loses_nothing() {
        let text = "one two three fourteen";
        assert_eq!(wrap(text, 8), ["one two", "three", "fourteen"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
