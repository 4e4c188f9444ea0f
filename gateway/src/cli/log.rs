//! Logging to standard error, as text or JSON.

use std::fmt::Debug;
use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};
use crate::printable::{self, Printable};

/// Changes the level of a running log.
#[derive(Clone)]
pub(super) struct Levels(reload::Handle<Targets, Registry>);

impl Levels {
    /// Logs `level` and what is more severe.
    pub(super) fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(levels(level)) {
            tracing::debug!(%error, "the log goes on with the level that it has");
        }
    }
}

/// Other crates log warnings and errors at most.
fn levels(level: Level) -> Targets {
    Targets::new()
        .with_target("keyway", level)
        .with_default(level.min(Level::WARN))
}

/// The fields of a text line, with values escaped: none ends the line or controls the terminal.
fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value = Printable(format_args!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name if writer.has_ansi_escapes() => {
                write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value}")
            }
            name => write!(writer, "{name}={value}"),
        }
    };
    debug_fn(field).delimited(" ")
}

/// A writer of whole JSON lines that escapes terminal control characters.
struct Json<W>(W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = printable::json(&String::from_utf8_lossy(line));
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts logging.
pub(super) fn start(log: Log) -> Levels {
    let (levels, handle) = reload::Layer::new(levels(log.level));
    let lines = fmt::layer();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => {
            let lines = lines.with_writer(|| Json(io::stderr()));
            lines.json().flatten_event(true).boxed()
        }
        LogFormat::Text => {
            let lines = lines.with_writer(io::stderr).fmt_fields(fields());
            lines.with_ansi(io::stderr().is_terminal()).boxed()
        }
    };
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(levels))
        .try_init();
    if started.is_err() {
        tracing::debug!("something else in this process logs already");
    }
    Levels(handle)
}
