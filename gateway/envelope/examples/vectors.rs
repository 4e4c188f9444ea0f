//! Opens every published vector, as another implementation would. `cargo run -p keyway-envelope --example vectors`

use std::error::Error;
use std::io::Write;

use data_encoding::HEXLOWER;
use keyway_envelope::secret::Secret;
use keyway_envelope::{Binding, EnvelopeId, Header, LaneId, VersionKey};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    opens: Vec<Vector>,
}

/// The inputs of a vector, and what comes of them.
#[derive(Deserialize)]
struct Vector {
    name: String,
    keyring: String,
    number: u32,
    root: String,
    subject: Option<String>,
    answers: Option<String>,
    reply: Option<String>,
    plaintext: String,
    envelope: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file: File = serde_json::from_str(include_str!("../../../docs/envelope-vectors.json"))?;
    for vector in &file.opens {
        let opened = vector.open()?;
        if HEXLOWER.encode(&opened) != vector.plaintext {
            return Err(format!("{}: another plaintext", vector.name).into());
        }
    }
    Ok(writeln!(
        std::io::stdout(),
        "{} vectors open",
        file.opens.len()
    )?)
}

impl Vector {
    fn open(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let root = HEXLOWER.decode(self.root.as_bytes())?;
        let root = Secret::build(|bytes| root.try_into().map(|root| *bytes = root))
            .map_err(|_length| "a root secret has 32 bytes")?;
        let envelope = HEXLOWER.decode(self.envelope.as_bytes())?;
        let header = Header::parse(&envelope)?;
        let known = Binding {
            answers: self.answers.as_deref().map(request).transpose()?,
            reply: self.reply.as_deref().map(str::as_bytes),
            ..Binding::to(self.subject.as_deref().map(str::as_bytes))
        };
        let mut plaintext = vec![0; self.plaintext.len() / 2];
        VersionKey::derive(&self.keyring, self.number, &root)
            .lane(header.suite, header.lane)
            .open(&header, known, &envelope, &mut plaintext)?;
        Ok(plaintext)
    }
}

/// Lane id, then counter.
fn request(hex: &str) -> Result<EnvelopeId, Box<dyn Error>> {
    let bytes = HEXLOWER.decode(hex.as_bytes())?;
    let (lane, counter) = bytes.split_first_chunk().ok_or("a lane id has 16 bytes")?;
    Ok(EnvelopeId {
        lane: LaneId(*lane),
        counter: u32::from_be_bytes(counter.try_into()?),
    })
}
