//! Requests of processes that drain: budget is reserved for them, and what they give back is counted.

use crate::catalogue::RotateError;
use crate::envelope::{Kid, Volume};
use crate::fault::Faulty;
use crate::rotation::engine::{Event, LimitHeadroom};

use super::drainers::Wish;
use super::keyring::{Actor, ManagedKeyring};
use super::reservation::{LEAST, fair};
use super::shared::Shared;
use super::tick::Driver;

impl Driver {
    pub(super) fn handle_drainers(&self) {
        self.context.with(Shared::hear_drainers);
        for wish in self.context.with(|shared| shared.drainers.take_wishes()) {
            let active =
                |keyring: &&Actor| keyring.with(|keyring, _shared| keyring.seals_under(wish.kid));
            match self.keyrings.iter().find(active) {
                Some(keyring) => self.context.spawn(keyring.clone().grant(wish)),
                None => self
                    .context
                    .with(|shared| shared.drainers.give(wish, Volume::default())),
            }
        }
    }
}

impl Actor {
    /// Reserves a part of the active version's budget for another process; none while nothing may be sealed under it.
    async fn grant(self, wish: Wish) {
        let lent = self.lend(wish).await;
        let part = lent.as_ref().copied().unwrap_or_default();
        self.with(|_keyring, shared| shared.drainers.give(wish, part));
        if let Err(error) = lent {
            tracing::error!(error = %error.with_help(), "nothing can be reserved for a process that drains; it asks again");
            self.read_again().await;
        }
    }

    async fn lend(&self, wish: Wish) -> Result<Volume, RotateError> {
        let left = self.with(|keyring, shared| {
            let (number, left) = keyring
                .left(shared)
                .filter(|_left| keyring.seals_under(wish.kid))?;
            Some((number, fair(wish.part, left, keyring.soft())))
        });
        let Some((number, part)) = left else {
            return Ok(Volume::default());
        };
        if part.messages == 0 || part.bytes == 0 {
            let spent = self.with(|keyring, shared| keyring.spent(shared, wish.kid));
            if let Some(event) = spent {
                self.feed(event);
            }
            return Ok(Volume::default());
        }
        let lent = self.write_reserved(number, part, |_keyring, shared, kid| {
            shared.loaded.lent(kid, part);
            // A lane may have seen too little for a moment: it tries again.
            shared.keys.replenished();
        });
        let lent = lent.await?;
        Ok(if lent { part } else { Volume::default() })
    }
}

impl ManagedKeyring {
    fn seals_under(&self, kid: Kid) -> bool {
        self.engine
            .active()
            .is_some_and(|version| version.kid == kid)
    }

    /// For the engine: all of the limit is reserved, and another process needs more than it has.
    fn spent(&self, shared: &Shared, kid: Kid) -> Option<Event> {
        let left = shared.drainers.unused(kid);
        let mut event = self.usage(shared)?;
        if let Event::Usage { headroom, .. } = &mut event {
            *headroom = LimitHeadroom::Spent;
        }
        (left.messages < LEAST.messages || left.bytes < LEAST.bytes).then_some(event)
    }
}
