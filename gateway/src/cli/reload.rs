//! `keyway reload`: the running gateway reads its configuration again.

use crate::operations::Reloaded;

use super::admin_client::AdminClient;
use super::args::CommonOptions;
use super::failure::Failure;
use super::load;
use super::output::{Output, eprint_line};
use super::runtime::block_on;
use super::target::Target;

pub(super) fn run(args: &CommonOptions, out: &mut Output) -> Result<(), Failure> {
    let socket = match load::check(&args.options) {
        // The gateway reports the warnings.
        Ok((checked, _warnings)) => checked.admin.socket,
        // Sent all the same: the gateway refuses it and audits the attempt.
        Err(errors) => Target::running(&args.options, &errors)?.socket,
    };
    let reloaded: Reloaded = block_on(async {
        let help = "start one with `keyway run`, which reads its configuration then; or name the `--config` of the one that runs";
        let client = AdminClient::required(&socket, help).await?;
        client.post("/v1/reload", Ok(b"{}".to_vec())).await
    })?;
    if args.json {
        return Ok(out.json(&reloaded)?);
    }
    for warning in &reloaded.warnings {
        eprint_line(format_args!("warning: {}", warning.what));
        eprint_line(format_args!("  help: {}", warning.help));
    }
    if reloaded.applied.is_empty() {
        out.line("nothing has changed that takes effect while the gateway runs")?;
    }
    for change in &reloaded.applied {
        out.line(format_args!("in force: {change}"))?;
    }
    for key in &reloaded.restart {
        out.line(format_args!("takes a restart: {key}"))?;
    }
    Ok(())
}
