//! Commands and options, as clap reads them. The doc comments here are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::audit::VerifierKey;
use crate::operations::Event;

use super::exit::Exit;

/// Encryption gateway for NATS: unchanged clients, a sealed bus, keys that rotate under live traffic.
#[derive(Debug, Parser)]
#[command(name = "keyway", version, after_long_help = Exit::table(), after_help = "`keyway --help` lists the exit codes.")]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show a bus, a gateway and agents side by side; ends and cleans up by itself
    Demo(Demo),
    /// Run the gateway until SIGTERM or SIGINT
    Run(Run),
    /// Create the state directory: key-encryption key, catalogue and audit log; overwrites nothing
    Init(Init),
    /// Make the key of a proxy that NATS servers trust, and print what they need to know of it
    ProxyKey(StateOptions),
    /// Check a configuration file, and the files that it names, and report every mistake at once
    Check(Check),
    /// Look at a deployment from the outside: what does not work, what does not protect, and what would help
    Doctor(Doctor),
    /// Show every keyring: its active version, budget, forecast, overlap
    Status(Status),
    /// Watch the running gateway: rates, budgets, states; q ends it
    Top(StateOptions),
    /// List the key versions and their states, also while a gateway runs; or say what keeps one
    Keys(Keys),
    /// Explain an envelope, and open it for whoever holds the state directory
    Inspect(Inspect),
    /// Switch a keyring to a new key version now
    Rotate(Rotate),
    /// Stop sealing under a key version for good, switch to a new one, and report what is exposed
    Revoke(Revoke),
    /// Stop sealing under a key version while somebody investigates
    Suspend(Change),
    /// Give a suspended key version back its place
    Restore(Change),
    /// End the overlap of a key version now
    Archive(Change),
    /// Destroy the secret of a key version, if nothing stored needs it
    Destroy(Destroy),
    /// End the rotation under way without a successor, unless one is needed
    Abort(Abort),
    /// Rehearse a revocation: everything that one needs, and no revocation
    Drill(Drill),
    /// Have the running gateway read its configuration again
    Reload(CommonOptions),
    /// Check the audit log, or show what it says; needs no gateway and no key-encryption key
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the completions for a shell
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

/// Which state directory, and what opens it.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StateOptions {
    /// Configuration file; without one the embedded defaults apply
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// State directory, instead of the configuration's; the gateway's admin.sock is looked for there, too
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Read the passphrase of the key-encryption key from this file
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Read the passphrase of the key-encryption key from this file descriptor
    #[arg(long, value_name = "FD", value_parser = descriptor)]
    pub(super) passphrase_fd: Option<u32>,
}

/// A file descriptor that can be read from: not standard output or error.
fn descriptor(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ (1 | 2)) => Err(format!(
            "{number} is where keyway writes; open another, for example `--passphrase-fd 3 3<FILE`"
        )),
        Ok(number) => Ok(number),
        Err(error) => Err(format!(
            "{error}; give the number of an open file descriptor"
        )),
    }
}

/// `keyway demo`
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// The nats-server to start; without it the one on the PATH
    #[arg(long, value_name = "PROGRAM")]
    pub(super) nats_server: Option<PathBuf>,
}

/// `keyway run`
#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) options: StateOptions,
    /// Take over from the gateway that runs on the same state directory, without refusing a connection; it drains and ends
    #[arg(long)]
    pub(super) take_over: bool,
}

/// `keyway init`
#[derive(Args, Debug)]
pub(super) struct Init {
    #[command(flatten)]
    pub(super) options: StateOptions,
    /// Make the key of a trusted proxy, too: see `keyway proxy-key`
    #[arg(long)]
    pub(super) proxy_key: bool,
}

/// `keyway check`
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The configuration file
    #[arg(value_name = "CONFIG")]
    pub(super) config: PathBuf,
    /// Print the findings as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// `keyway doctor`
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that somebody types"
)]
pub(super) struct Doctor {
    #[command(flatten)]
    pub(super) options: StateOptions,
    #[command(flatten)]
    pub(super) agent: AgentLogin,
    /// Publish a marked message on a subject of each keyring, to see whether the account maps it
    #[arg(long)]
    pub(super) probe: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// As whom an agent connects. Secrets come from files.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct AgentLogin {
    /// Come as this user of the agents'; with --password-file
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(super) user: Option<String>,
    /// The file that holds the user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(super) password_file: Option<PathBuf>,
    /// Come with the token in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "creds", "nkey_seed_file"])]
    pub(super) token_file: Option<PathBuf>,
    /// Come with the JWT and seed in this `.creds` file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "nkey_seed_file"])]
    pub(super) creds: Option<PathBuf>,
    /// Come with the nkey whose seed this file holds
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub(super) nkey_seed_file: Option<PathBuf>,
}

/// `keyway status`
#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) options: StateOptions,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `keyway keys`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Keys {
    #[command(subcommand)]
    pub(super) command: Option<KeysCommand>,
    #[command(flatten)]
    pub(super) options: StateOptions,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `keyway inspect`
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that somebody types"
)]
pub(super) struct Inspect {
    /// The envelope: raw bytes, hex or base64, told apart by themselves; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Read the input as hex
    #[arg(long, conflicts_with = "base64")]
    pub(super) hex: bool,
    /// Read the input as base64
    #[arg(long)]
    pub(super) base64: bool,
    /// Write the plaintext to standard output, and nothing else; takes the state directory
    #[arg(long)]
    pub(super) open: bool,
    /// The subject it was published on; a bound envelope does not open without it
    #[arg(long, value_name = "SUBJECT", requires = "open")]
    pub(super) subject: Option<String>,
    /// The envelope of the request that it answers, in any of the forms; an answer does not open without it
    #[arg(long, value_name = "FILE", requires = "open")]
    pub(super) request: Option<PathBuf>,
    /// The reply subject it was published with, where it is bound to that
    #[arg(long, value_name = "SUBJECT", requires = "open")]
    pub(super) reply: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) options: StateOptions,
}

/// What else is to be known of key versions.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Say what keeps a key version from being destroyed
    Why(KeysWhy),
}

/// `keyway keys why`
#[derive(Args, Debug)]
pub(super) struct KeysWhy {
    /// The version, by number or label
    #[arg(value_name = "VERSION")]
    pub(super) version: String,
    /// Its keyring; may be left out where there is only one, and with a label
    #[arg(long, value_name = "KEYRING")]
    pub(super) keyring: Option<String>,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// How it is answered, and where the state directory is.
#[derive(Args, Clone, Debug)]
pub(super) struct CommonOptions {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) options: StateOptions,
}

/// Which key version.
#[derive(Args, Debug)]
pub(super) struct VersionSelector {
    /// The keyring; may be left out where there is only one, and before a label
    #[arg(value_name = "KEYRING")]
    pub(super) first: Option<String>,
    /// The version, by number or label; only `revoke` takes the active one without it
    #[arg(value_name = "VERSION")]
    pub(super) second: Option<String>,
}

/// `keyway rotate`
#[derive(Args, Debug)]
pub(super) struct Rotate {
    /// The keyring; may be left out where there is only one
    #[arg(value_name = "KEYRING")]
    pub(super) keyring: Option<String>,
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    /// What set it off
    #[arg(long, value_name = "EVENT", value_enum, default_value_t = Event::Manual)]
    pub(super) event: Event,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway revoke`
#[derive(Args, Debug)]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) which: VersionSelector,
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub(super) why: Option<String>,
    /// Print the report and revoke nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway suspend`, `restore`, `archive`
#[derive(Args, Debug)]
pub(super) struct Change {
    #[command(flatten)]
    pub(super) which: VersionSelector,
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway destroy`
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
pub(super) struct Destroy {
    #[command(flatten)]
    pub(super) which: VersionSelector,
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    /// Destroy it whatever is stored, and during its overlap too: what still needs it can never be opened again. With --approve: agree to
    /// a destruction that was asked for with --force; any other is checked all the same
    #[arg(long)]
    pub(super) force: bool,
    /// Agree to the destruction that somebody else has asked for, or that the gateway wants. Without it, where the keyring says
    /// `destroy = "approved"`, the order asks for the destruction and destroys nothing yet
    #[arg(long)]
    pub(super) approve: bool,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway abort`
#[derive(Args, Debug)]
pub(super) struct Abort {
    /// The keyring; may be left out where there is only one
    #[arg(value_name = "KEYRING")]
    pub(super) keyring: Option<String>,
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway drill`
#[derive(Args, Debug)]
pub(super) struct Drill {
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT", default_value = "a drill")]
    pub(super) why: String,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// What is to be done with the audit log.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check every line and checkpoint; name the first line that was changed, moved, removed or cut off
    Verify(AuditVerify),
    /// Show what happened to keys, the latest last
    Show(AuditShow),
    /// Show the last lines of a running gateway's log, as the gateway has them
    Tail(AuditTail),
    /// Begin a new log in the place of one that is gone, or was moved away; the records are believed as they are
    Begin(AuditBegin),
}

/// Which audit log.
#[derive(Args, Debug)]
pub(super) struct AuditLogOptions {
    /// Configuration file; without one the embedded defaults apply
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// State directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// The log itself, or a copy; its checkpoints are looked for beside it
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `keyway audit verify`
#[derive(Args, Debug)]
pub(super) struct AuditVerify {
    #[command(flatten)]
    pub(super) options: AuditLogOptions,
    /// A checkpoint that is kept elsewhere: cutting back log and checkpoints together is noticed with it
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Vec<PathBuf>,
    /// The verifier key that `keyway init` printed, instead of the one in the state directory
    #[arg(long, value_name = "VKEY")]
    pub(super) key: Option<VerifierKey>,
}

/// `keyway audit show`
#[derive(Args, Debug)]
pub(super) struct AuditShow {
    #[command(flatten)]
    pub(super) options: AuditLogOptions,
    /// Only what concerns this keyring
    #[arg(long, value_name = "KEYRING")]
    pub(super) keyring: Option<String>,
    /// How many events and facts at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) lines: usize,
}

/// `keyway audit tail`
#[derive(Args, Debug)]
pub(super) struct AuditTail {
    /// How many lines at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) lines: usize,
    #[command(flatten)]
    pub(super) common: CommonOptions,
}

/// `keyway audit begin`
#[derive(Args, Debug)]
pub(super) struct AuditBegin {
    /// Why, in words that an auditor will read
    #[arg(long, value_name = "TEXT")]
    pub(super) why: String,
    #[command(flatten)]
    pub(super) options: StateOptions,
}
