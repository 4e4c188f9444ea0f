//! Requests of processes that drain: budget is reserved for them, and what they give back is counted.

use crate::catalogue::RotateError;
use crate::envelope::{Kid, Volume};
use crate::fault::Faulty;
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Event, LimitHeadroom};

use super::keyring::ManagedKeyring;
use super::reservation::{LEAST, fair};
use super::shared::Shared;
use super::tick::Driver;

impl Driver {
    pub(super) fn handle_drainers(&mut self) {
        for (name, message) in self.shared.drainers.receive_all() {
            self.handle(name, message);
        }
    }

    fn handle(&mut self, name: usize, message: DrainMessage) {
        match message {
            DrainMessage::NeedBudget(kid, wish) => {
                let part = self.lend(kid, wish);
                let drainers = &mut self.shared.drainers;
                drainers.lent(name, kid, part);
                drainers.send_to(name, DrainMessage::Granted(kid, part));
            }
            DrainMessage::Unused(kid, unused) => self.shared.drainers.note(name, kid, unused),
            DrainMessage::Stopped(kid, unused) => {
                let Shared {
                    drainers, loaded, ..
                } = &mut self.shared;
                drainers.returned(name, (kid, unused), loaded);
            }
            DrainMessage::Granted(..)
            | DrainMessage::Stop(_)
            | DrainMessage::Halted(_)
            | DrainMessage::Restored(_)
            | DrainMessage::CatalogueChanged
            | DrainMessage::Policy(_) => {}
        }
    }

    /// Reserves a part of the active version's budget for another process; zero while nothing may be sealed under it.
    fn lend(&mut self, kid: Kid, wish: Volume) -> Volume {
        let active = |keyring: &&mut ManagedKeyring| {
            keyring.engine.active().map(|version| version.kid) == Some(kid)
        };
        let Some(keyring) = self.keyrings.iter_mut().find(active) else {
            return Volume::default();
        };
        keyring.lend(&mut self.shared, kid, wish).unwrap_or_else(|error| {
            tracing::error!(error = %error.with_help(), "nothing can be reserved for a process that drains; it asks again");
            self.shared.refresh_catalogue();
            self.sync_engines();
            Volume::default()
        })
    }
}

impl ManagedKeyring {
    fn lend(&mut self, shared: &mut Shared, kid: Kid, wish: Volume) -> Result<Volume, RotateError> {
        let Some((number, left)) = self.left(shared) else {
            return Ok(Volume::default());
        };
        let part = fair(wish, left, self.soft());
        if part.messages == 0 || part.bytes == 0 {
            let left = shared.drainers.unused(kid);
            if left.messages < LEAST.messages || left.bytes < LEAST.bytes {
                self.spent(shared);
            }
            return Ok(Volume::default());
        }
        if let Some(kid) = self.write_reserved(shared, number, part)? {
            shared.loaded.lent(kid, part);
            // A lane may have seen too little for a moment: it tries again.
            shared.keys.replenished();
        }
        Ok(part)
    }

    /// Reports to the engine that all of the limit is reserved and another process needs more.
    fn spent(&mut self, shared: &mut Shared) {
        if let Some(mut event) = self.usage(shared) {
            if let Event::Usage { headroom, .. } = &mut event {
                *headroom = LimitHeadroom::Spent;
            }
            self.feed(shared, event);
        }
    }
}
