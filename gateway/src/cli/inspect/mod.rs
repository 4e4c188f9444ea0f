//! `keyway inspect`: the header of an envelope, and with the state directory its plaintext.

mod input;

use serde::Serialize;

use crate::catalogue::{Version, View};
use crate::config::GatewayConfig;
use crate::envelope::{Binding, Flags, Header, OVERHEAD};
use crate::later::wait;
use crate::policy::KeyringName;
use crate::printable;

use super::args::Inspect;
use super::exit::Exit;
use super::failure::Failure;
use super::load;
use super::output::{self, Output, eprint_line};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    format: u8,
    suite: &'static str,
    bound: bool,
    /// `answers`, `passes-on`, `bound-to-reply`.
    request: Vec<&'static str>,
    kid: String,
    lane: String,
    counter: u32,
    envelope_bytes: usize,
    plaintext_bytes: usize,
    /// `null` when this state directory does not know the kid.
    key_version: Option<KeyVersion>,
    /// Only with `--open`.
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext_base64: Option<String>,
}

/// The flags about requests: their words in JSON, and their explanations.
const REQUEST: [(Flags, &str, &str); 3] = [
    (
        Flags::ANSWER,
        "answers",
        "answers a request: --open needs --request",
    ),
    (
        Flags::PASSED_ON,
        "passes-on",
        "its reply subject stands for several requests",
    ),
    (
        Flags::REPLY,
        "bound-to-reply",
        "bound to its reply subject: --open needs --reply",
    ),
];

/// The key version that the kid names.
#[derive(Serialize)]
struct KeyVersion {
    keyring: String,
    number: u32,
    label: String,
    state: &'static str,
}

pub(super) fn run(args: &Inspect, out: &mut Output) -> Result<(), Failure> {
    let envelope = input::read(args)?;
    if !args.open && input::without_line_end(&envelope).is_some() {
        eprint_line(
            "warning: it ends in a line end, which counts as a byte of the envelope here; tools that print messages add one (--open tries both)",
        );
    }
    let header = Header::parse(&envelope).map_err(|error| Failure::of(&error))?;
    let checked = load::configuration(&args.options)?;
    if args.open {
        return open_envelope(args, &checked, &header, &envelope, out);
    }
    // The header can be shown without a state directory.
    let view = load::view(&checked);
    let known = view.as_ref().ok();
    let known = known.and_then(|view| view.find_by_kid(header.kid));
    let report = report(&header, envelope.len(), known);
    if args.json {
        out.json(&report)?;
    } else {
        let why = match &view {
            Ok(_searched) => format!("not in {}", checked.state.display()),
            Err(failure) => failure.what().to_owned(),
        };
        out.lines(page(&report, &why))?;
    }
    Ok(())
}

fn open_envelope(
    args: &Inspect,
    checked: &GatewayConfig,
    header: &Header,
    envelope: &[u8],
    out: &mut Output,
) -> Result<(), Failure> {
    let request = input::request(args)?;
    let wanted = [
        (
            Flags::BOUND,
            args.subject.is_none(),
            "the envelope is bound to the subject it was published on",
            "add --subject SUBJECT",
        ),
        (
            Flags::ANSWER,
            request.is_none(),
            "the envelope answers a request, and is bound to it",
            "add --request FILE, with the request's envelope",
        ),
        (
            Flags::REPLY,
            args.reply.is_none(),
            "the envelope is bound to the reply subject it was published with",
            "add --reply SUBJECT",
        ),
    ];
    for (flag, missing, what, help) in wanted {
        if header.flags.has(flag) && missing {
            return Err(Failure::new(Exit::Usage, what, help));
        }
    }
    let view = load::view(checked)?;
    let known = view
        .find_by_kid(header.kid)
        .ok_or_else(|| unknown(header, checked))?;
    let subject = args.subject.as_ref().map(String::as_bytes);
    let subject = subject.map(|subject| checked.policy.normalise(subject));
    let binding = Binding {
        subject,
        answers: request,
        passes_on: false,
        reply: args.reply.as_ref().map(String::as_bytes),
    };
    let attempt = |envelope: &[u8]| open(&view, known, (header, binding), envelope);
    // Trying it again without an appended line end is safe: what opens is authentic.
    let plaintext = attempt(envelope).or_else(|failure| {
        let shorter = input::without_line_end(envelope);
        shorter
            .and_then(|shorter| attempt(shorter).ok())
            .ok_or(failure)
    })?;
    if args.json {
        let mut report = report(header, envelope.len(), Some(known));
        report.plaintext_base64 = Some(data_encoding::BASE64.encode(&plaintext));
        out.json(&report)?;
    } else if output::stdout_is_terminal() {
        out.line(printable::bytes(&plaintext))?;
    } else {
        out.bytes(&plaintext)?;
    }
    Ok(())
}

fn open(
    view: &View,
    (keyring, version): (&KeyringName, &Version),
    (header, binding): (&Header, Binding<'_>),
    envelope: &[u8],
) -> Result<Vec<u8>, Failure> {
    let key = wait(view.version_key(keyring, version.number))?;
    let mut plaintext = vec![0; envelope.len().saturating_sub(OVERHEAD)];
    let lane = key.lane(header.suite, header.lane);
    let opened = lane.open(header, binding, envelope, &mut plaintext);
    opened.map_err(|error| {
        let help = "--subject, --request and --reply must be those it was published on, for and with, to the letter";
        Failure::new(Exit::Data, error.to_string(), help)
    })?;
    Ok(plaintext)
}

fn report(header: &Header, len: usize, known: Option<(&KeyringName, &Version)>) -> Report {
    Report {
        format: 1,
        suite: header.suite.name(),
        bound: header.flags.has(Flags::BOUND),
        request: REQUEST
            .into_iter()
            .filter(|(flag, ..)| header.flags.has(*flag))
            .map(|(_, word, _)| word)
            .collect(),
        kid: header.kid.to_string(),
        lane: header.lane.to_string(),
        counter: header.counter,
        envelope_bytes: len,
        plaintext_bytes: len.saturating_sub(OVERHEAD),
        key_version: known.map(|(keyring, version)| KeyVersion {
            keyring: keyring.to_string(),
            number: version.number,
            label: version.label.to_string(),
            state: version.state.into(),
        }),
        plaintext_base64: None,
    }
}

/// `why`: the reason for which the key version is unknown, where it is.
fn page(report: &Report, why: &str) -> [String; 8] {
    let version = match &report.key_version {
        Some(known) => {
            let (label, state, keyring) = (&known.label, known.state, &known.keyring);
            format!("{label} ({state}), keyring {keyring}")
        }
        None => format!("unknown: {why}"),
    };
    let bound = if report.bound {
        "to the subject it was published on: --open needs --subject"
    } else {
        "to its keyring, not to a subject"
    };
    let said = REQUEST.iter();
    let said = said.filter(|(_, word, _)| report.request.contains(word));
    let said: Vec<_> = said.map(|(_, _, meaning)| *meaning).collect();
    let request = if said.is_empty() {
        "nothing is said".to_owned()
    } else {
        said.join("; ")
    };
    [
        format!("envelope     format {}, {}", report.format, report.suite),
        format!(
            "size         {} bytes: {} of plaintext, {OVERHEAD} added",
            report.envelope_bytes, report.plaintext_bytes
        ),
        format!("bound        {bound}"),
        format!("request      {request}"),
        format!("lane         {}", report.lane),
        format!("counter      {}", report.counter),
        format!("kid          {}", report.kid),
        format!("key version  {version}"),
    ]
}

fn unknown(header: &Header, checked: &GatewayConfig) -> Failure {
    let state = checked.state.display();
    Failure::new(
        Exit::Data,
        format!("{state} has no key version with kid {}", header.kid),
        "name the state directory of the gateway that sealed it with --state",
    )
}
