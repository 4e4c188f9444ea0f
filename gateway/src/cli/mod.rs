//! The command line.
//!
//! | you look for | it is in |
//! |---|---|
//! | commands and options | `args` |
//! | exit codes and failures | [`Exit`], `failure` |
//! | output to terminal and scripts | `output`, `terminal` |
//! | a command | the module of its name |
//! | requests to a running gateway | `admin_client` |
//! | which gateway that is | `target` |
//! | orders, with or without a running gateway; their reports | `order`, `report` |

mod admin_client;
mod args;
mod audit;
mod check;
#[expect(
    clippy::large_stack_frames,
    reason = "the client library's futures are large; the demo runs once, on the main thread"
)]
mod demo;
mod doctor;
mod exit;
mod exposure;
mod failure;
mod init;
mod inspect;
mod keys;
mod load;
mod log;
mod lost;
mod order;
mod output;
mod proxy_key;
mod reload;
mod report;
mod run;
mod runtime;
mod status;
mod target;
mod terminal;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::app::process;
use crate::operations::Order;

pub use exit::Exit;

use args::{Cli, Command, Completions};
use failure::Failure;
use output::Output;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = process::disable_core_dumps() {
        output::eprint_line(format_args!(
            "warning: core dumps cannot be switched off: {error}"
        ));
    }
    let exit = match Cli::try_parse() {
        Ok(cli) => concluded(dispatch(cli.command)),
        Err(error) => misused(&error),
    };
    exit.into()
}

fn dispatch(command: Command) -> Result<(), Failure> {
    let mut out = Output::of_process();
    match command {
        Command::Demo(args) => demo::run(&args, out),
        Command::Run(args) => run::run(&args),
        Command::Init(args) => init::run(&args, &mut out),
        Command::ProxyKey(args) => proxy_key::run(&args, &mut out),
        Command::Doctor(args) => doctor::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Keys(args) => keys::run(&args, &mut out),
        Command::Inspect(args) => inspect::run(&args, &mut out),
        Command::Status(args) => status::run(&args, &mut out),
        Command::Top(args) => top::run(&args, &mut out),
        Command::Rotate(args) => order::rotate(&args, &mut out),
        Command::Revoke(args) => order::revoke(&args, &mut out),
        Command::Suspend(args) => order::change(&args, Order::Suspend, &mut out),
        Command::Restore(args) => order::change(&args, Order::Restore, &mut out),
        Command::Archive(args) => order::change(&args, Order::Archive, &mut out),
        Command::Destroy(args) => order::destroy(&args, &mut out),
        Command::Abort(args) => order::abort(&args, &mut out),
        Command::Drill(args) => order::drill(&args, &mut out),
        Command::Reload(args) => reload::run(&args, &mut out),
        Command::Audit(args) => audit::run(&args.command, &mut out),
        Command::Completions(args) => completions(&args, &mut out),
    }
}

/// Reports a failure on stderr, if there is something to report.
fn concluded(result: Result<(), Failure>) -> Exit {
    result.map_or_else(
        |failure| {
            failure.report().into_iter().for_each(output::eprint_line);
            failure.exit
        },
        |()| Exit::Done,
    )
}

/// Prints what clap says: `--help` and `--version` on stdout, anything else is a usage error on stderr.
fn misused(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let text = error.render().to_string();
        output::lines_of(text.trim_end()).for_each(output::eprint_line);
        return Exit::Usage;
    }
    drop(error.print());
    Exit::Done
}

fn completions(args: &Completions, out: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keyway", &mut script);
    Ok(out.bytes(&script)?)
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn long_help_ends_with_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        for exit in Exit::VARIANTS {
            assert!(help.contains(exit.meaning()), "{help}");
        }
    }

    #[test]
    fn page_names_every_command_and_option() {
        let page = include_str!("../../../docs/cli.md");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(page.contains(&format!("## keyway {name}\n")), "{name}");
            let inner = command.get_subcommands();
            let all = std::iter::once(command).chain(inner);
            let options = all.flat_map(clap::Command::get_arguments);
            for option in options.filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("`--{option}")), "{name} --{option}");
            }
        }
    }

    /// The options of a command and of its subcommands.
    fn options(command: &clap::Command) -> Vec<&str> {
        let own = command.get_arguments().filter_map(clap::Arg::get_long);
        let inner = command.get_subcommands().flat_map(options);
        own.chain(inner).chain(["help", "version"]).collect()
    }

    /// What follows `keyway` in each command that a page shows.
    fn commands(page: &str) -> impl Iterator<Item = &str> {
        let pieces = page
            .lines()
            .flat_map(|line| line.split(['`', '|', '#', '…']));
        pieces.filter_map(|piece| {
            let piece = piece.trim_start().trim_start_matches("$ ");
            let piece = piece.trim_start_matches("target/release/");
            piece.strip_prefix("keyway ")
        })
    }

    #[test]
    fn no_page_names_an_option_that_a_command_does_not_have() {
        let root = Cli::command();
        let pages = [
            include_str!("../../../README.md"),
            include_str!("../../../docs/audit.md"),
            include_str!("../../../docs/cli.md"),
            include_str!("../../../docs/configuration.md"),
            include_str!("../../../docs/deployment.md"),
            include_str!("../../../docs/identity.md"),
            include_str!("../../../docs/keys.md"),
            include_str!("../../../docs/metrics.md"),
            include_str!("../../../docs/nats.md"),
            include_str!("../../../docs/operating.md"),
            include_str!("../../../docs/rotation.md"),
            include_str!("../../../docs/tls.md"),
        ];
        let mut count = 0;
        for text in pages.into_iter().flat_map(commands) {
            let name = text.split_whitespace().next().unwrap_or_default();
            let Some(command) = root.find_subcommand(name) else {
                let is_example = ["COMMAND", "control"].contains(&name);
                assert!(is_example || !text.contains("--"), "keyway {text}");
                continue;
            };
            let known = options(command);
            for option in text.split([' ', '[', ']', ',', '(', ')']) {
                let option = option
                    .strip_prefix("--")
                    .filter(|option| !option.is_empty());
                let option = option.map(|option| option.split('=').next().unwrap_or_default());
                assert!(
                    option.is_none_or(|option| known.contains(&option)),
                    "keyway {text}"
                );
                count += usize::from(option.is_some());
            }
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn page_gives_a_command_no_option_that_it_does_not_have() {
        let root = Cli::command();
        let page = include_str!("../../../docs/cli.md");
        let mut count = 0;
        for section in page.split("\n## keyway ").skip(1) {
            let section = section.split("\n## ").next().unwrap();
            let (name, text) = section.split_once('\n').unwrap();
            let known = options(root.find_subcommand(name).unwrap());
            let spans = text.split('`').skip(1).step_by(2);
            let spans = spans.filter(|span| span.starts_with("--"));
            let words = spans.flat_map(|span| span.split(' '));
            for option in words.filter_map(|word| word.strip_prefix("--")) {
                assert!(known.contains(&option), "{name} --{option}");
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
    }
}
