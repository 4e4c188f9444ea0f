//! Terminal output: colours, bars, time spans, and the alternate screen.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use super::failure::Failure;
use super::output::{Line, wants_colour};

/// Colours text, if `colour` is set.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    /// As wanted on standard output.
    pub(super) fn of_process() -> Self {
        Self {
            colour: wants_colour(),
        }
    }

    pub(super) fn good(self, text: impl fmt::Display) -> Line {
        self.with("32", text)
    }

    pub(super) fn warning(self, text: impl fmt::Display) -> Line {
        self.with("33", text)
    }

    pub(super) fn bad(self, text: impl fmt::Display) -> Line {
        self.with("31", text)
    }

    pub(super) fn quiet(self, text: impl fmt::Display) -> Line {
        self.with("2", text)
    }

    fn with(self, code: &'static str, text: impl fmt::Display) -> Line {
        if self.colour {
            Line::coloured(text, code)
        } else {
            Line::from(text)
        }
    }
}

/// A bar of ten characters.
pub(super) fn bar(thousandths: u64, paint: Paint) -> String {
    let full = usize::try_from(thousandths / 100).unwrap_or(10).min(10);
    let (used, left) = if paint.colour {
        ("█", "░")
    } else {
        ("#", "-")
    };
    let empty = 10_usize.saturating_sub(full);
    let bar = format!("{}{}", used.repeat(full), left.repeat(empty));
    if paint.colour {
        bar
    } else {
        format!("[{bar}]")
    }
}

/// A span of time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

/// The terminal's alternate screen with unbuffered key input; restored on drop.
pub(super) struct FullScreen {
    before: Termios,
    keys: mpsc::UnboundedReceiver<u8>,
}

impl FullScreen {
    /// Switches the terminal over; `None` where stdin or stdout is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(super) fn enter() -> Result<Option<Self>, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
        let mut during = before.clone();
        // ISIG stays: Ctrl-C ends the program, which restores the terminal.
        during
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &during).map_err(io::Error::from)?;
        write("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(Some(Self {
            before,
            keys: keys(),
        }))
    }

    /// Replaces what is shown by these lines, cut to the size of the terminal.
    ///
    /// # Errors
    /// When the terminal takes no more.
    pub(super) fn show(&self, lines: &[Line]) -> Result<(), Failure> {
        let height = rustix::termios::tcgetwinsize(io::stdout());
        let height = height.map_or(24, |size| usize::from(size.ws_row)).max(1);
        let mut frame = "\u{1b}[H".to_owned();
        for (index, line) in lines.iter().take(height).enumerate() {
            if index != 0 {
                frame.push_str("\r\n");
            }
            // Without auto-wrap (DECAWM) the terminal cuts long lines.
            frame.push_str(&format!("\u{1b}[?7l{}\u{1b}[K\u{1b}[?7h", line.as_str()));
        }
        frame.push_str("\u{1b}[J");
        Ok(write(&frame)?)
    }

    /// The next key; pending for ever after the end of input.
    pub(super) async fn key(&mut self) -> u8 {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        drop(write("\u{1b}[?25h\u{1b}[?1049l"));
        if tcsetattr(io::stdin(), OptionalActions::Now, &self.before).is_err() {
            tracing::debug!("the terminal is gone");
        }
    }
}

/// Reads keys on a thread that ends with the process, because a blocking read cannot be cancelled.
fn keys() -> mpsc::UnboundedReceiver<u8> {
    let (typed, keys) = mpsc::unbounded_channel();
    let reader = std::thread::Builder::new().name("keys".to_owned());
    let started = reader.spawn(move || {
        let mut key = [0];
        while io::stdin().read_exact(&mut key).is_ok() && typed.send(key[0]).is_ok() {}
    });
    drop(started);
    keys
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_has_its_two_largest_units() {
        let spans = [
            (0, "0 s"),
            (59, "59 s"),
            (600, "10 min"),
            (3725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, shown) in spans {
            assert_eq!(span(seconds), shown);
        }
    }
}
