//! Runs that answer one question about the gateway alone, with tables of their own.

pub(crate) mod hostile;
pub(crate) mod outstanding;
pub(crate) mod rotation;
pub(crate) mod soak;
pub(crate) mod versions;

use std::io::{self, Write};

use serde::Serialize;

/// Their results.
#[derive(Default, Serialize)]
pub(crate) struct Trials {
    pub(crate) outstanding: Option<outstanding::Outstanding>,
    pub(crate) rotation: Option<rotation::Rotation>,
    pub(crate) versions: Vec<versions::Versions>,
    pub(crate) hostile: Vec<hostile::Hostile>,
    pub(crate) soak: Option<soak::Soak>,
}

impl Trials {
    /// For people.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut of = self.outstanding.iter();
        of.try_for_each(|of| of.print(out))?;
        let mut of = self.rotation.iter();
        of.try_for_each(|of| of.print(out))?;
        versions::print(out, &self.versions)?;
        hostile::print(out, &self.hostile)?;
        self.soak.iter().try_for_each(|of| of.print(out))
    }
}
