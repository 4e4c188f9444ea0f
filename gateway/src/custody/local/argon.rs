//! The file `kek.json`: the parameters for deriving the KEK from a passphrase, and for noticing a wrong one.
//!
//! Argon2id, version 0x13, with the second recommended option of RFC 9106, section 4: 3 passes, 4 lanes, 64 MiB, a salt of
//! 128 bits, 256 bits of output.

use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{InitError, KeyDerivationFailed, OpenError};
use super::kek::Kek;
use crate::custody::Passphrase;
use crate::secret::{NoEntropy, Secret};

const FORMAT: u64 = 1;
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// The highest parameters that a file may have, so that an altered one cannot exhaust the host: 4 GiB, 64 passes, 64 lanes.
const MAX_COST: (u32, u32, u32) = (4 * 1024 * 1024, 64, 64);

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    format: u64,
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// 16 bytes, base64.
    salt: String,
    /// The id of the derived KEK, hex: tells a wrong passphrase.
    kek: String,
    /// A checksum of the fields above, hex: tells a damaged file from a wrong passphrase.
    checksum: String,
}

/// Read first, so that a later format is reported as such.
#[derive(Deserialize)]
struct Probe {
    format: u64,
}

pub(super) fn create(path: &Path, passphrase: &Passphrase) -> Result<(Kek, String), InitError> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_unspecified| NoEntropy)?;
    let mut parameters = Parameters {
        format: FORMAT,
        algorithm: "argon2id".to_owned(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: BASE64.encode(&salt),
        kek: String::new(),
        checksum: String::new(),
    };
    let kek = Kek::new(&derive(&parameters, &salt, passphrase)?, "passphrase", path)?;
    parameters.kek = kek.id().to_string();
    parameters.checksum = parameters.compute_checksum();
    let mut json =
        serde_json::to_string_pretty(&parameters).map_err(|_never| KeyDerivationFailed)?;
    json.push('\n');
    Ok((kek, json))
}

pub(super) fn open(path: &Path, json: &[u8], passphrase: &Passphrase) -> Result<Kek, OpenError> {
    let parameters = parse(path, json)?;
    let salt = BASE64
        .decode(parameters.salt.as_bytes())
        .map_err(|_where| damaged(path, "the salt is not base64"))?;
    let secret = derive(&parameters, &salt, passphrase)?;
    let kek = Kek::new(&secret, "passphrase", path)?;
    if kek.id().to_string() == parameters.kek {
        Ok(kek)
    } else {
        Err(OpenError::WrongPassphrase(path.to_owned()))
    }
}

fn parse(path: &Path, json: &[u8]) -> Result<Parameters, OpenError> {
    let not_json = |e: serde_json::Error| damaged(path, &e.to_string());
    let Probe { format } = crate::strict_json::from_slice(json).map_err(not_json)?;
    if format > FORMAT {
        return Err(OpenError::Newer(path.to_owned(), format));
    }
    let parameters: Parameters = crate::strict_json::from_slice(json).map_err(not_json)?;
    let asked = (parameters.memory_kib, parameters.passes, parameters.lanes);
    if parameters.algorithm != "argon2id" {
        return Err(damaged(path, "the algorithm is not argon2id"));
    }
    if parameters.checksum != parameters.compute_checksum() {
        return Err(damaged(path, "its checksum does not fit"));
    }
    if asked.0 > MAX_COST.0 || asked.1 > MAX_COST.1 || asked.2 > MAX_COST.2 {
        return Err(damaged(
            path,
            "it asks for more than 4 GiB, 64 passes or 64 lanes",
        ));
    }
    Ok(parameters)
}

impl Parameters {
    fn compute_checksum(&self) -> String {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.format,
            self.algorithm,
            self.memory_kib,
            self.passes,
            self.lanes,
            self.salt,
            self.kek
        );
        let digest = digest(&SHA256, text.as_bytes());
        HEXLOWER.encode(digest.as_ref().first_chunk::<8>().map_or(&[], |sum| sum))
    }
}

fn derive(
    parameters: &Parameters,
    salt: &[u8],
    passphrase: &Passphrase,
) -> Result<Secret, KeyDerivationFailed> {
    let params = Params::new(
        parameters.memory_kib,
        parameters.passes,
        parameters.lanes,
        Some(crate::secret::LEN),
    )
    .map_err(|_refused| KeyDerivationFailed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    // The library does not wipe blocks that it allocates itself.
    let mut blocks = Zeroizing::new(Vec::new());
    let count = argon2.params().block_count();
    blocks
        .try_reserve_exact(count)
        .map_err(|_no_memory| KeyDerivationFailed)?;
    blocks.resize(count, Block::new());
    Secret::build(|out| {
        argon2
            .hash_password_into_with_memory(passphrase.expose(), salt, out, blocks.as_mut_slice())
            .map_err(|_refused| KeyDerivationFailed)
    })
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged(path.to_owned(), what.to_owned())
}
